// What a cell did over training, as small plots.

const FIRST = ["loss", "recon_loss", "mmcs", "fvu", "l0", "dead_neurons"];
const titleOf = (key) => (data.metrics[key] ? title(key) : key === "loss" ? "Loss (what is trained)" : key);

const small = (heading, draw, { names = [], words = heading } = {}) => {
  const plot = make("div", { class: "small", role: "img", "aria-label": words });
  const key = names.map((name, i) => make("span", {}, make("i", { style: `background:${telling(i)}` }), name));
  const holder = make("div", {}, make("h3", { title: words }, heading), make("div", { class: "key" }, key), plot);
  return { holder, draw: () => draw(plot) };
};

const lines = (epochs, series, rangemode = "normal") => (plot) => {
  const steps = epochs.length > 2 ? [epochs[1] - epochs[0], epochs.at(-1) - epochs.at(-2)] : [1, 1];
  const x = { type: steps[1] > 8 * steps[0] && epochs[0] > 0 ? "log" : "linear", title: { text: "epoch", standoff: 4 }, nticks: 5 };
  const all = series.flatMap(([, values]) => values.map(number));
  const shown = series.map(([name, values], i) => ({
    x: epochs, y: values.map((v) => (Number.isFinite(number(v)) ? number(v) : null)), name, mode: epochs.length > 1 ? "lines" : "markers",
    line: { color: telling(i), width: 1.8 }, hovertemplate: `%{y:.4g}${series.length > 1 ? ` ${name}` : ""}<extra>epoch %{x}</extra>`,
  }));
  Plotly.newPlot(plot, shown, layoutOf({
    margin: { l: 46, r: 8, t: 6, b: 36 }, font: { ...layoutOf().font, size: 11 }, xaxis: axisStyle(x),
    yaxis: axisStyle(wantsLog(all) ? { type: "log", dtick: 1 } : { rangemode, nticks: 5 }),
  }), { ...CONFIG, displayModeBar: false });
};

const histogram = ({ low, counts, dead }) => (plot) => {
  const wide = -low / counts.length;
  const [left, right] = [counts.map((_, i) => low + i * wide), counts.map((_, i) => low + (i + 1) * wide)];
  Plotly.newPlot(plot, [{
    type: "bar", x: left.map((x, i) => (x + right[i]) / 2), y: counts, width: wide * 0.95, marker: { color: telling(0) },
    customdata: left.map((x, i) => [format(10 ** x, 2), format(10 ** right[i], 2)]),
    hovertemplate: "%{y} latents fire in %{customdata[0]} to %{customdata[1]} of samples<extra></extra>",
  }], layoutOf({
    margin: { l: 46, r: 8, t: 6, b: 36 }, font: { ...layoutOf().font, size: 11 }, yaxis: axisStyle({ nticks: 4 }),
    xaxis: axisStyle({ range: [low, 0], tickvals: decades(low), ticktext: decades(low).map((d) => `10<sup>${d}</sup>`), title: { text: `share of samples${dead ? `; ${dead} latents never` : ""}`, standoff: 4 } }),
  }), { ...CONFIG, displayModeBar: false });
};

const decades = (low) => Array.from({ length: -low + 1 }, (_, i) => low + i);

const plotsOf = (details) => {
  const plots = [];
  const { curves, tracking, density } = details;
  if (curves) {
    const has = (key) => curves[key] && curves[key].some((value) => Number.isFinite(number(value)));
    const rest = Object.keys(curves).filter((key) => !FIRST.includes(key) && !["epoch", "step", "dead_fraction"].includes(key));
    plots.push(...[...FIRST, ...rest].filter(has).map((key) =>
      small(key.replaceAll("_", " "), lines(curves.epoch, [[key, curves[key]]]), { words: titleOf(key) })));
  }
  if (tracking) {
    const counted = (heading, names) => {
      const series = names.map((name) => [name.replace("_", " "), tracking[name]]);
      plots.push(small(heading, lines(tracking.epoch, series, "tozero"), { names: series.map(([name]) => name) }));
    };
    counted("True features: learned", ["learned", "same_atom"]);
    counted("True features: what changed", ["newly_learned", "unlearned", "moved"]);
    counted("Latents: dead and revived", ["dead", "newly_dead", "revived"]);
  }
  if (density) plots.push(small("How often latents fire", histogram(density)));
  return plots;
};
