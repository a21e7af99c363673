// What the reader's system asks for: light or dark, which Plotly is told, and little motion.

const root = document.documentElement;
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const prefersCalm = window.matchMedia("(prefers-reduced-motion: reduce)");
const isDark = () => (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
// While it is printed: see `unfold`.
const isPaper = () => "paper" in root.dataset;
const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

// From the palette of Okabe and Ito, which colour-blind readers can tell apart; lighter ones first on dark.
const TELLING = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const ON_DARK = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442"];
const telling = (i) => (isDark() ? ON_DARK : TELLING)[i % TELLING.length];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const COLOURSCALE = VIRIDIS.map((shade, i) => [i / (VIRIDIS.length - 1), shade]);
const shadeAt = (share) => VIRIDIS[Math.round(Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1))];
// Where white on these colours and black on them have the same contrast, 4.5 to 1.
const DARK_UNTIL = 0.44;

// The buttons by name, not those to leave out: a later Plotly may bring more that send a chart away, as "Share chart…"
// does. It has nowhere to send one either.
const CONFIG = {
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtons: [["zoom2d", "pan2d"], ["resetScale2d"], ["toImage"]],
};

const axisStyle = (extra) => ({
  gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, ticks: "outside", tickcolor: colour("line"),
  automargin: true, exponentformat: "power", ...extra,
});

const layoutOf = (extra) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', size: 12, color: colour("ink") },
  margin: { l: 56, r: 12, t: 12, b: 44 }, hovermode: "closest", dragmode: false,
  modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") }, showlegend: false, ...extra,
});

// Plotly keeps what it has drawn until it is told that it is gone.
const discardPlots = (holder) => holder.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.purge(plot));

// A button that stops the animation in ``holder``, whose first picture then stays.
const stoppable = (holder) => {
  const image = holder.querySelector("img");
  const still = make("canvas", { role: "img", "aria-label": image.alt, hidden: true });
  const button = make("button", { type: "button", class: "stop", hidden: true }, "Pause");
  const stop = (stopped) => {
    if (stopped) {
      [still.width, still.height] = [image.naturalWidth, image.naturalHeight];
      still.getContext("2d").drawImage(image, 0, 0);
      still.style.width = `${image.clientWidth}px`;
    }
    [still.hidden, image.hidden] = [!stopped, stopped];
    button.textContent = stopped ? "Play" : "Pause";
  };
  let begun = false;
  const begin = () => {
    if (begun) return; // a picture that is hidden has no width
    begun = true;
    button.hidden = false;
    stop(prefersCalm.matches);
  };
  button.addEventListener("click", () => stop(still.hidden));
  image.addEventListener("load", begin, { once: true });
  holder.append(still, make("div", {}, button));
  // Not before whoever made ``holder`` has put it into the page, where the picture gets its width.
  if (image.complete && image.naturalWidth) queueMicrotask(begin);
};
