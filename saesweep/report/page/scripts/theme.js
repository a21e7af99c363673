// Light and dark: the page's colours are those of its style, and Plotly is told them.

const root = document.documentElement;
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

// From the palette of Okabe and Ito, which colour-blind readers can tell apart; lighter ones first on dark.
const TELLING = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const ON_DARK = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442"];
const telling = (i) => (isDark() ? ON_DARK : TELLING)[i % TELLING.length];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const COLOURSCALE = VIRIDIS.map((shade, i) => [i / (VIRIDIS.length - 1), shade]);
const shadeAt = (share) => VIRIDIS[Math.round(Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1))];

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

const axisStyle = (extra) => ({
  gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, ticks: "outside", tickcolor: colour("line"),
  automargin: true, exponentformat: "power", ...extra,
});

const layoutOf = (extra) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', size: 12, color: colour("ink") },
  margin: { l: 56, r: 12, t: 12, b: 44 }, hovermode: "closest", dragmode: false, showlegend: false, ...extra,
});
