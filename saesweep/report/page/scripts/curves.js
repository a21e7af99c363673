// What a cell did over training, as small plots.

const FIRST = ["loss", "recon_loss", "mmcs", "fvu", "l0", "dead_neurons"];
const NOT_DRAWN = ["epoch", "step", "dead_fraction"];
const titleOf = (key) => (data.metrics[key] ? title(key) : key === "loss" ? "Loss (what is trained)" : key);

const small = (heading, draw, { names = [], words = heading, note = "" } = {}) => {
  const plot = make("div", { class: "small", role: "img", "aria-label": words });
  const key = names.map((name, i) => make("span", {}, make("i", { style: `background:${telling(i)}` }), name));
  const holder = make("div", {}, make("h3", { title: words }, heading), make("div", { class: "key" }, key, note), plot);
  return { holder, draw: () => draw(plot) };
};

const smallLayout = (extra) =>
  layoutOf({ margin: { l: 46, r: 8, t: 6, b: 36 }, font: { ...layoutOf().font, size: 11 }, ...extra });

const over = (epochs, series, rangemode = "nonnegative") => (plot) => {
  const steps = epochs.length > 2 ? [epochs[1] - epochs[0], epochs.at(-1) - epochs.at(-2)] : [1, 1];
  const type = steps[1] > 8 * steps[0] && epochs[0] > 0 ? "log" : "linear";
  const all = series.flatMap(([, values]) => values.map(number));
  const range = { rangemode: all.some((value) => value < 0) ? "normal" : rangemode, nticks: 5 };
  const traces = series.map(([name, values], i) => ({
    x: epochs, y: values.map((v) => (Number.isFinite(number(v)) ? number(v) : null)), name,
    mode: epochs.length > 1 ? "lines" : "markers", line: { color: telling(i), width: 1.8 },
    hovertemplate: `%{y:.4g}${series.length > 1 ? ` ${name}` : ""}<extra>epoch %{x}</extra>`,
  }));
  Plotly.newPlot(plot, traces, smallLayout({
    xaxis: axisStyle({ type, title: { text: "epoch", standoff: 4 }, nticks: 5 }),
    yaxis: axisStyle(wantsLog(all) ? { type: "log", dtick: 1 } : range),
  }), { ...CONFIG, displayModeBar: false });
};

const histogram = ({ low, counts }) => (plot) => {
  const wide = -low / counts.length;
  const [left, right] = [counts.map((_, i) => low + i * wide), counts.map((_, i) => low + (i + 1) * wide)];
  const decades = Array.from({ length: -low + 1 }, (_, i) => low + i);
  Plotly.newPlot(plot, [{
    type: "bar", x: left.map((x, i) => (x + right[i]) / 2), y: counts, width: wide * 0.95, marker: { color: telling(0) },
    customdata: left.map((x, i) => [format(10 ** x, 2), format(10 ** right[i], 2)]),
    hovertemplate: "%{y} latents fire in %{customdata[0]} to %{customdata[1]} of samples<extra></extra>",
  }], smallLayout({
    yaxis: axisStyle({ nticks: 4 }),
    xaxis: axisStyle({ range: [low, 0], tickvals: decades, ticktext: decades.map((d) => `10<sup>${d}</sup>`),
      title: { text: "share of samples", standoff: 4 } }),
  }), { ...CONFIG, displayModeBar: false });
};

const plotsOf = ({ curves, tracking, density }) => [
  ...(curves ? curvesOf(curves) : []),
  ...(tracking ? trackingOf(tracking) : []),
  ...(density ? [small("How often latents fire", histogram(density), { note: neverWords(density) })] : []),
];

const neverWords = ({ dead }) => (dead ? `${dead} ${dead === 1 ? "latent never fires" : "latents never fire"}` : "");

const curvesOf = (curves) => {
  const has = (key) => curves[key] && curves[key].some((value) => Number.isFinite(number(value)));
  const rest = Object.keys(curves).filter((key) => !FIRST.includes(key) && !NOT_DRAWN.includes(key));
  return [...FIRST, ...rest].filter(has).map((key) => {
    const words = `${titleOf(key)}: first ${format(curves[key][0])}, last ${format(curves[key].at(-1))}`;
    return small(key.replaceAll("_", " "), over(curves.epoch, [[key, curves[key]]]), { words });
  });
};

const trackingOf = (tracking) => {
  const counted = (heading, wanted, words = heading) => {
    const keys = wanted.filter((key) => tracking[key]);
    const names = keys.map((key) => key.replace("_", " "));
    return small(heading, over(tracking.epoch, keys.map((key, i) => [names[i], tracking[key]]), "tozero"), { names, words });
  };
  const ofFeatures = tracking.learned ? [
    counted("True features: learned", ["learned", "same_atom"]),
    counted("True features: what changed", ["newly_learned", "unlearned", "moved"],
      "True features: what changed since the point before"),
  ] : [];
  return [...ofFeatures, counted("Latents: dead and revived", ["dead", "newly_dead", "revived"])];
};
