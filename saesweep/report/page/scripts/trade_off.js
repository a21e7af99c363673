// Any metric against any other, coloured by any axis, with what no other point beats.

const tradeOff = { x: known.includes("l0") ? "l0" : known[0], y: mainMetric, colour: "sparsity" };
const MOST_NAMES = 12;
const SPARSER = ["l0", "l1"];  // Fewer active latents are better, where it is a trade-off.

const wayOf = (key) => data.metrics[key].direction || (SPARSER.includes(key) ? "lower" : null);

const colourings = () => {
  const apart = [...new Set(points.flatMap((point) => Object.keys(point.apart)))].filter((axis) => axis !== "model.variant");
  const variants = new Set(points.map((point) => point.variant)).size > 1;
  return [["sparsity", [...axes.values()].map((axis) => axis.title).join(", ")], ["size", "dictionary size"],
    ...(variants ? [["variant", "variant"]] : []), ...apart.map((axis) => [`apart:${axis}`, axis]), ...(several ? [["run", "run"]] : [])];
};

const shadeOf = (point, by) => {
  if (by === "run") return point.run.label;
  if (by === "variant") return point.variant || "relu";
  if (by.startsWith("apart:")) return point.apart[by.slice(6)] ?? "none";
  return point[by];
};

// The points that no other is as good as in one metric and better in the other; from left to right.
const paretoFront = (shown, x, y) => {
  const [signX, signY] = [wayOf(x), wayOf(y)].map((way) => (way === "lower" ? 1 : -1));
  const sorted = [...shown].sort((a, b) => signX * (a.x - b.x) || signY * (a.y - b.y));
  const front = [];
  for (const point of sorted) if (!front.length || signY * point.y < signY * front.at(-1).y) front.push(point);
  return front.sort((a, b) => a.x - b.x);
};

const drawTradeOff = () => {
  const { x, y, colour: by } = tradeOff;
  const shown = points.map((point) => ({ point, x: metricOf(point, x), y: metricOf(point, y), by: shadeOf(point, by) }))
    .filter((one) => Number.isFinite(one.x) && Number.isFinite(one.y));
  const ways = wayOf(x) && wayOf(y) && x !== y;
  const front = ways ? paretoFront(shown, x, y) : [];
  const traces = [...groupsOf(shown, by), ...importedOf(x, y)];
  if (front.length) traces.unshift({ x: front.map((p) => p.x), y: front.map((p) => p.y), mode: "lines", name: "Pareto front", line: { color: colour("quiet"), width: 1.5, dash: "dash" }, hoverinfo: "skip" });
  const plot = byId("trade-off");
  const scaleFor = (key, values) => axisStyle({ ...(wantsLog(values) ? { type: "log", dtick: 1 } : {}), title: { text: plain(title(key)), standoff: 8 } });
  Plotly.newPlot(plot, traces, layoutOf({
    margin: { l: 64, r: 12, t: 44, b: 52 }, showlegend: traces.length > 1, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 }, title: { text: plain(new Map(colourings()).get(by)), font: { size: 11 } } },
    dragmode: "zoom", xaxis: scaleFor(x, shown.map((p) => p.x)), yaxis: scaleFor(y, shown.map((p) => p.y)),
  }), CONFIG);
  plot.setAttribute("aria-label", `${title(y)} against ${title(x)} for ${shown.length} points; the table of cells has the numbers`);
  plot.on("plotly_hover", ({ points: [hit], event }) => { if (hit.customdata) showTip(points[hit.customdata[0]], y, event.clientX, event.clientY); });
  plot.on("plotly_unhover", hideTip);
  plot.on("plotly_click", ({ points: [hit] }) => { if (hit.customdata) openPoint(points[hit.customdata[0]]); });
  const words = (key) => `${key}: ${wayOf(key)} is better`;
  byId("trade-off-note").textContent = ways
    ? `Dashed: the Pareto front, ${front.length} of ${shown.length} points that no other beats in both (${words(x)}; ${words(y)}).`
    : "No Pareto front: not both of these have a better way.";
};

const groupsOf = (shown, by) => {
  const numeric = shown.every((one) => typeof one.by === "number");
  const names = [...new Set(shown.map((one) => one.by))].sort((a, b) => (numeric ? a - b : 0));
  const trace = (some, name, marker) => ({ type: "scatter", mode: "markers", name: plain(name), showlegend: name !== "", x: some.map((p) => p.x), y: some.map((p) => p.y),
    customdata: some.map((p) => [points.indexOf(p.point)]), hoverinfo: "none", marker: { size: 9, line: { width: 0.6, color: colour("paper") }, ...marker } });
  if (numeric && names.length > MOST_NAMES) {
    const log = names[0] > 0 && names.at(-1) / names[0] > 20, at = log ? Math.log10 : (x) => x;
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => at(names[0]) + share * (at(names.at(-1)) - at(names[0])));
    return [trace(shown, "", { color: shown.map((p) => at(p.by)), colorscale: COLOURSCALE, showscale: true,
      colorbar: { thickness: 12, tickvals: ticks, ticktext: ticks.map((t) => format(log ? 10 ** t : t, 3)) } })];
  }
  return names.map((name, i) => trace(shown.filter((p) => p.by === name), numeric ? format(name, 3) : name,
    { color: numeric ? shadeAt(names.length > 1 ? (0.92 * i) / (names.length - 1) : 0.4) : telling(i) }));
};

const importedOf = (x, y) => {
  const found = data.runs.flatMap((run) => run.imported).filter((one) => one.metrics[x] != null && one.metrics[y] != null);
  return found.length ? [{ type: "scatter", mode: "markers", name: "imported", x: found.map((one) => number(one.metrics[x])), y: found.map((one) => number(one.metrics[y])),
    text: found.map((one) => plain(one.name)), hovertemplate: "%{text}<extra></extra>", marker: { symbol: "diamond-open", size: 11, color: colour("ink") } }] : [];
};
