// Any metric against any other, coloured by any axis, with the Pareto front of the cells.

const tradeOff = { x: known.includes("l0") ? "l0" : known[0], y: data.main.metric, colour: `axis:${[...axes.keys()][0]}` };
const MOST_NAMES = 12;
const SPARSER = ["l0", "l1"];  // Fewer active latents are better, where it is a trade-off.

const wayOf = (key) => data.metrics[key].direction || (SPARSER.includes(key) ? "lower" : null);

// A colouring for each axis of sparsity: what they measure has no common scale.
const colourings = () => {
  const apart = [...new Set(points.flatMap((point) => Object.keys(point.apart)))].filter((axis) => axis !== "model.variant");
  return [
    ...[...axes].map(([key, axis]) => [`axis:${key}`, axis.title]),
    ["size", "dictionary size"],
    ...(models.size > 1 ? [["model", "variant"]] : []),
    ...apart.map((axis) => [`apart:${axis}`, axis]),
    ...(several ? [["run", "run"]] : []),
  ];
};

// What a point is coloured by; null where it has no such value.
const shadeOf = (point, by) => {
  const [kind, ...parts] = by.split(":"), key = parts.join(":");
  if (kind === "axis") return point.axis === key ? point.sparsity : null;
  if (kind === "apart") return point.apart[key] ?? null;
  return by === "run" ? point.run.label : point[by];
};

// The points that no other is as good as in both metrics and better than in one; from left to right.
const paretoFront = (shown, x, y) => {
  const [signX, signY] = [wayOf(x), wayOf(y)].map((way) => (way === "lower" ? 1 : -1));
  const bestFirst = [...shown].sort((a, b) => signX * (a.x - b.x) || signY * (a.y - b.y));
  const front = [];
  for (const point of bestFirst) {
    const last = front.at(-1);
    const alike = last && point.x === last.x && point.y === last.y;
    if (!last || alike || signY * point.y < signY * last.y) front.push(point);
  }
  return front.sort((a, b) => a.x - b.x);
};

const drawTradeOff = () => {
  const { x, y, colour: by } = tradeOff, plot = byId("trade-off");
  const shown = points.map((point) => ({ point, x: metricOf(point, x), y: metricOf(point, y), by: shadeOf(point, by) }))
    .filter((one) => Number.isFinite(one.x) && Number.isFinite(one.y));
  const brought = data.runs.flatMap((run) => run.imported)
    .map((one) => ({ name: one.name, x: number(one.metrics[x]), y: number(one.metrics[y]) }))
    .filter((one) => Number.isFinite(one.x) && Number.isFinite(one.y));
  const front = wayOf(x) && wayOf(y) && x !== y ? paretoFront(shown, x, y) : [];
  const traces = [...frontOf(front), ...groupsOf(shown, by), ...importedOf(brought)];
  Plotly.newPlot(plot, traces, tradeOffLayout(traces, [...shown, ...brought]), CONFIG);
  plot.setAttribute("aria-label",
    `${title(y)} against ${title(x)} for ${shown.length} points; the table of cells has the numbers`);
  const pointAt = (hit) => (hit.customdata ? points[hit.customdata[0]] : null);
  plot.on("plotly_hover", ({ points: [hit], event }) => {
    if (pointAt(hit)) showTip(pointAt(hit), y, event.clientX, event.clientY);
  });
  plot.on("plotly_unhover", hideTip);
  plot.on("plotly_click", ({ points: [hit] }) => { if (pointAt(hit)) openPoint(pointAt(hit)); });
  const runs = [...new Set(shown.map((one) => one.point.run))];
  byId("trade-off-note").textContent = `${frontWords(front, shown, brought)}\n${lossWords(runs)}`;
};

const tradeOffLayout = (traces, placed) => {
  const { x, y, colour: by } = tradeOff;
  const axisFor = (key, values) => axisStyle({
    ...(wantsLog(values) ? { type: "log", dtick: 1 } : {}), title: { text: plain(title(key)), standoff: 8 },
  });
  const heading = { text: plain(new Map(colourings()).get(by)), font: { size: 11 } };
  return layoutOf({
    margin: { l: 64, r: 12, t: 44, b: 52 }, dragmode: "zoom", showlegend: traces.length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 }, title: heading },
    xaxis: axisFor(x, placed.map((one) => one.x)), yaxis: axisFor(y, placed.map((one) => one.y)),
  });
};

const frontWords = (front, shown, brought) => {
  const { x, y } = tradeOff;
  if (x === y) return "No Pareto front: this is one metric against itself.";
  const without = [x, y].filter((key) => !wayOf(key));
  if (without.length) return `No Pareto front: of ${without.join(" and ")} neither more nor less is better.`;
  const words = (key) => `${key}: ${wayOf(key)} is better`;
  return `Dashed: the Pareto front, ${front.length} of ${shown.length} points of the grid. `
    + `No other is at least as good in both and better in one (${words(x)}; ${words(y)}).`
    + `${brought.length ? " Imported autoencoders are not counted." : ""}`;
};

const frontOf = (front) => (front.length ? [{
  type: "scatter", mode: "lines", name: "Pareto front", x: front.map((p) => p.x), y: front.map((p) => p.y),
  line: { color: colour("quiet"), width: 1.5, dash: "dash" }, hoverinfo: "skip",
}] : []);

const groupsOf = (shown, by) => {
  const having = shown.filter((one) => one.by !== null), others = shown.filter((one) => one.by === null);
  const rest = others.length ? [dots(others, "others", { color: colour("line") })] : [];
  const numeric = having.every((one) => typeof one.by === "number");
  const values = numeric ? increasing(having.map((one) => one.by)) : [...new Set(having.map((one) => one.by))];
  if (numeric && values.length > MOST_NAMES) return [...rest, onScale(having, values)];
  const names = numeric ? labelsOf(values) : values.map(exact);
  const shade = (i) => (numeric ? shadeAt(values.length > 1 ? (0.92 * i) / (values.length - 1) : 0.4) : telling(i));
  return [...rest, ...values.map((value, i) => dots(having.filter((one) => one.by === value), names[i], { color: shade(i) }))];
};

// Smaller and with thinner edges where there are many: they lie over one another.
const CROWDED = 300;
const dotStyle = () => {
  const [size, width] = points.length > CROWDED ? [6, 0.4] : [9, 0.8];
  return { size, line: { width, color: colour("ink") } };
};

const dots = (some, name, marker) => ({
  type: "scatter", mode: "markers", name: plain(name), showlegend: name !== "",
  x: some.map((p) => p.x), y: some.map((p) => p.y), customdata: some.map((p) => [p.point.order]),
  hoverinfo: "none", marker: { ...dotStyle(), ...marker },
});

const onScale = (some, values) => {
  const [low, high] = [values[0], values.at(-1)], log = low > 0 && high / low > 20;
  const at = log ? Math.log10 : (x) => x, back = log ? (x) => 10 ** x : (x) => x;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => at(low) + share * (at(high) - at(low)));
  const colorbar = { thickness: 12, tickvals: ticks, ticktext: labelsOf(ticks.map(back)) };
  return dots(some, "", { color: some.map((p) => at(p.by)), colorscale: COLOURSCALE, showscale: true, colorbar });
};

const importedOf = (brought) => (brought.length ? [{
  type: "scatter", mode: "markers", name: "imported", x: brought.map((one) => one.x), y: brought.map((one) => one.y),
  text: brought.map((one) => plain(one.name)), hovertemplate: "%{text}<extra></extra>",
  marker: { symbol: "diamond-open", size: 11, color: colour("ink") },
}] : []);
