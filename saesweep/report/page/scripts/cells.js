// The points of all runs as a table that can be sorted and searched.

const PAGE = 100;
const list = { by: null, down: false, most: PAGE, find: "", all: false };

const columnsOf = () => [
  { key: "name", head: "cell", value: nameOf, text: (point) => make("button", { type: "button", onclick: () => openPoint(point) }, nameOf(point)) },
  { key: "state", head: "state", value: (point) => point.state, text: (point) => (point.cells.length > 1 ? `${point.done}/${point.cells.length} done` : point.state) },
  ...(list.all ? known : mainMetrics).map((key) => ({
    key, head: key, metric: true, value: (point) => metricOf(point, key),
    text: (point) => (point.state === "done" ? format(point.mean[key]) + spreadOf(point, key) : ""),
  })),
];

const inOrder = (shown, column) => {
  const sign = list.down ? -1 : 1;
  const compare = (a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (typeof x === "string") return sign * x.localeCompare(y, undefined, { numeric: true });
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x === y ? 0 : sign * (x - y); // infinities have no difference
  };
  return [...shown].sort(compare);
};

const sortBy = (key) => {
  list.down = list.by === key ? !list.down : data.metrics[key]?.direction === "higher";
  list.by = key;
  drawCells();
  byId("cells").querySelector(`[data-key="${key}"]`).focus();
};

const drawCells = () => {
  const columns = columnsOf(), words = list.find.toLowerCase().split(/\s+/).filter(Boolean);
  const found = points.filter((point) => words.every((word) => `${nameOf(point)} ${point.state}`.toLowerCase().includes(word)));
  const column = columns.find((one) => one.key === list.by);
  const sorted = column ? inOrder(found, column) : found;
  const tops = new Map(columns.filter((one) => one.metric).map((one) => [one.key, bestOfFew(points.map(one.value), data.metrics[one.key].direction).top]));
  const heads = columns.map((one) => make("th", { scope: "col", "aria-sort": one.key === list.by ? (list.down ? "descending" : "ascending") : "none" },
    make("button", { type: "button", "data-key": one.key, title: data.metrics[one.key]?.definition, onclick: () => sortBy(one.key) },
      one.head + (one.key === list.by ? (list.down ? " ↓" : " ↑") : ""))));
  const rows = sorted.slice(0, list.most).map((point) => make("tr", {}, columns.map((one) =>
    make("td", { class: one.metric && one.value(point) === tops.get(one.key) ? "best" : null }, one.text(point)))));
  fill(byId("cells"), make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows));
  byId("found").textContent = words.length ? `${found.length} of ${points.length}` : "";
  const more = byId("more");
  more.hidden = sorted.length <= list.most;
  more.textContent = `Show all ${sorted.length}`;
};
