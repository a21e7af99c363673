// The points of all runs as a table that can be sorted and searched.

const PAGE = 100;
const list = { by: null, down: false, most: PAGE, find: "", all: false };

const nameButton = (point) => make("button", { type: "button", onclick: () => openPoint(point) }, breakable(nameOf(point)));

const columnsOf = () => [
  { key: "name", head: "cell", value: (point) => point.order, text: nameButton },
  { key: "state", head: "state", value: stateWords, text: stateWords },
  ...(list.all ? known : data.main.metrics).map((key) => ({
    key, head: key, value: (point) => metricOf(point, key), best: bestIn(key).marked,
    text: (point) => (point.state === "done" ? format(point.mean[key]) + spreadOf(point, key) : ""),
  })),
];

const inOrder = (shown, column) => {
  const sign = list.down ? -1 : 1;
  const compare = (a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (typeof x === "string") return sign * x.localeCompare(y);
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

const headOf = ({ key, head }) => {
  const chosen = key === list.by, arrow = list.down ? " ↓" : " ↑";
  const sort = chosen ? (list.down ? "descending" : "ascending") : "none";
  return make("th", { scope: "col", "aria-sort": sort },
    make("button", { type: "button", "data-key": key, title: data.metrics[key]?.definition, onclick: () => sortBy(key) },
      breakable(head), chosen ? arrow : ""));
};

const rowOf = (point, columns) => make("tr", {}, columns.map(({ key, text, best }) => {
  if (key === "name") return make("th", { scope: "row" }, text(point));
  return best?.has(point) ? make("td", { class: "best" }, text(point), " ★") : make("td", {}, text(point));
}));

const drawCells = () => {
  const columns = columnsOf(), words = list.find.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (point) => words.every((word) => `${nameOf(point)} ${stateWords(point)}`.toLowerCase().includes(word));
  const found = points.filter(fits), column = columns.find((one) => one.key === list.by);
  const rows = (column ? inOrder(found, column) : found).slice(0, list.most).map((point) => rowOf(point, columns));
  fill(byId("cells"), make("thead", {}, make("tr", {}, columns.map(headOf))), make("tbody", {}, rows));
  byId("found").textContent = words.length ? `${found.length} of ${points.length}` : "";
  const more = byId("more");
  more.hidden = found.length <= list.most;
  more.textContent = `Show all ${found.length}`;
  const best = several ? "the best of its run" : "the best";
  byId("cells-note").textContent = `${byId("cells").querySelector(".best") ? `★ is ${best}.\n` : ""}${lossWords(data.runs)}`;
};
