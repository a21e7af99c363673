// What the page holds, and how numbers and names are written.

const data = JSON.parse(byId("data").textContent);
const several = data.runs.length > 1;

const number = (value) => (value == null ? NaN : Number(value === "inf" ? Infinity : value === "-inf" ? -Infinity : value));

// A metric in few digits; counts are whole.
const format = (value, digits = 4) => {
  const x = number(value), size = Math.abs(x);
  if (Number.isNaN(x)) return "n/a";
  if (size === Infinity) return x > 0 ? "∞" : "−∞";
  const short = Number.isInteger(x) && size < 1e9 ? x : Number(x.toPrecision(digits));
  const text = short !== 0 && (size < 1e-4 || size >= 1e9) ? short.toExponential().replace("e+", "e") : String(short);
  return text.replaceAll("-", "−");
};

// A hyperparameter as the config has it: no digit of a seed may be lost.
const exact = (value) => String(value);

// Numbers in as few digits as tell apart all that differ.
const labelsOf = (values, least = 3) => {
  const different = new Set(values).size;
  for (let digits = least; digits <= 17; digits += 1) {
    const labels = values.map((value) => format(value, digits));
    if (new Set(labels).size === different) return labels;
  }
  return values.map(exact);
};

// Plotly reads some markup in texts; these are none.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const metricOf = (point, key) => number(point.mean[key]);
const title = (key) => data.metrics[key].title;
const known = Object.keys(data.metrics).filter((key) =>
  data.runs.some((run) => run.metrics[key] || run.imported.some((one) => one.metrics[key] != null)));
// Every point of every run, with the run that it is of.
const points = data.runs.flatMap((run, index) => run.points.map((point) => ({ ...point, run, index })))
  .map((point, order) => ({ ...point, order }));
const axes = new Map(data.runs.flatMap((run) => run.axes.map((axis) => [axis.key, axis])));
const models = new Set(points.map((point) => point.model));

const nameOf = (point) => (several ? `${point.run.label}: ${point.name}` : point.name);
// As "3 failed" or "1/3 done, 2 failed": what has become of the seeds of a point.
const stateWords = (point) => {
  if (point.cells.length === 1) return point.state;
  const counts = new Map();
  for (const index of point.cells) {
    const { state } = point.run.cells[index];
    counts.set(state, (counts.get(state) || 0) + 1);
  }
  counts.delete("done");
  const others = [...counts].map(([state, count]) => `${count} ${state}`);
  return [...(point.done ? [`${point.done}/${point.cells.length} done`] : []), ...others].join(", ");
};
const logOf = (cell) => (cell.log == null ? "" : data.logs[cell.log]);

// What sets a point apart from others of its kind: its variant too, where runs differ in it and have no axis of it.
const variantOf = (point) => {
  const unsaid = models.size > 1 && !("model.variant" in point.apart);
  return [unsaid ? point.model : "", point.variant].filter(Boolean).join(", ");
};

const spreadOf = (point, key) => {
  const spread = number(point.spread[key]);
  return Number.isNaN(spread) ? "" : ` ± ${format(spread, 2)}`;
};

// The points that are marked as the best of their run; and how many tie where so many do that a mark tells nothing.
const MOST_TIES = 8;
const bestIn = (key) => {
  const marked = new Set(), tied = [];
  for (const run of data.runs) {
    const done = points.filter((point) => point.run === run && Number.isFinite(metricOf(point, key)));
    const best = done.filter((point) => point.best.includes(key));
    if (best.length > Math.max(MOST_TIES, done.length / 3)) tied.push([run, best.length]);
    else best.forEach((point) => marked.add(point));
  }
  return { marked, tied };
};

// What is trained: the same penalty means different things under different losses.
const lossWords = (runs) => {
  const trained = new Map();
  for (const { loss, label } of runs) for (const words of loss) trained.set(words, [...(trained.get(words) || []), label]);
  return [...trained].map(([words, labels]) => `Trained with ${words}${several ? ` (${labels.join(", ")})` : ""}.`).join("\n");
};

const wantsLog = (values) => {
  const finite = values.filter(Number.isFinite);
  return finite.length > 1 && Math.min(...finite) > 0 && Math.max(...finite) / Math.min(...finite) > 100;
};

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// What to do about cells that are not done: in words, and as a command.
const FAILED = ["failed", "damaged"];
const adviceOf = (run, state) => {
  const at = quoted(run.path);
  if (FAILED.includes(state)) return ["Train it again", `saesweep resume ${at} --retry-failed`];
  if (["running", "queued"].includes(state)) return ["Follow it", `saesweep status ${at} --watch`];
  return ["Go on", `saesweep resume ${at}`];
};
