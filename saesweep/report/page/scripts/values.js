// What the page holds, and how numbers and names are written.

const data = JSON.parse(byId("data").textContent);
const several = data.runs.length > 1;
const WITHOUT_TRUTH = "fvu";
const MAIN = ["recon_loss", "mmcs", "mmcs_larger", "dead_neurons", "l0", "fvu", "ce_recovered_mean"];

const number = (value) => (value == null ? NaN : Number(value === "inf" ? Infinity : value === "-inf" ? -Infinity : value));

const format = (value, digits = 4) => {
  if (typeof value === "string" && value !== "inf" && value !== "-inf") return value;
  const x = number(value);
  if (Number.isNaN(x)) return "n/a";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  const text = String(Number(x.toPrecision(digits)));
  return (text.length > 9 ? x.toExponential(2) : text).replace("-", "−");
};

// Plotly reads some markup in texts; these are none.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const metricOf = (point, key) => number(point.mean[key]);
const title = (key) => data.metrics[key].title;
const known = Object.keys(data.metrics).filter((key) =>
  data.runs.some((run) => run.metrics[key] || run.imported.some((one) => one.metrics[key] != null)));
const mainMetric = known.includes("mmcs") ? "mmcs" : known.includes(WITHOUT_TRUTH) ? WITHOUT_TRUTH : known[0];
const mainMetrics = MAIN.filter((key) => known.includes(key));

// Every point of every run, with the run that it is of.
const points = data.runs.flatMap((run, index) => run.points.map((point) => ({ ...point, run, index })));
const axes = new Map(data.runs.flatMap((run) => run.axes.map((axis) => [axis.key, axis])));

const nameOf = (point) => (several ? `${point.run.label}: ${point.name}` : point.name);

const spreadOf = (point, key) => {
  const spread = number(point.spread[key]);
  return Number.isNaN(spread) ? "" : ` ± ${format(spread, 2)}`;
};

const best = (values, direction) => {
  const finite = values.filter(Number.isFinite);
  if (!direction || !finite.length) return NaN;
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  return low === high ? NaN : direction === "lower" ? low : high;
};

// What is best of some values, where few enough share it that a mark tells something.
const MOST_TIES = 8;
const bestOfFew = (values, direction) => {
  const top = best(values, direction), ties = values.filter((value) => value === top).length;
  return { top: ties <= Math.max(MOST_TIES, values.filter(Number.isFinite).length / 3) ? top : NaN, ties };
};

const wantsLog = (values) => {
  const finite = values.filter(Number.isFinite);
  return finite.length > 1 && Math.min(...finite) > 0 && Math.max(...finite) / Math.min(...finite) > 100;
};

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
