// The points of all runs as matrices, one for each run and variant (rows are sizes, columns penalties); what is told
// of these; and the same as tables.

const matrices = { metric: data.main.metric, axis: [...axes.keys()][0], asTables: false };

const increasing = (values) => [...new Set(values)].sort((a, b) => a - b);

const matricesOf = (axisKey) => {
  const groups = new Map();
  for (const point of points.filter((one) => one.axis === axisKey)) {
    const key = `${point.index} ${variantOf(point)}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(point);
  }
  return [...groups.values()].map((some) => matrixOf(some, axes.get(axisKey)));
};

const matrixOf = (some, axis) => {
  const { run } = some[0];
  const [sizes, columns] = [increasing(some.map((point) => point.size)), increasing(some.map((point) => point.sparsity))];
  const places = new Map(some.map((point) => [`${sizes.indexOf(point.size)},${columns.indexOf(point.sparsity)}`, point]));
  const ratios = new Map(some.map((point) => [point.size, point.ratio]));
  const rowLabels = labelsOf(sizes.map((size) => ratios.get(size)));
  return {
    name: [several ? run.label : "", variantOf(some[0])].filter(Boolean).join("; "), run, axis, sizes, columns, points: some,
    rowNames: sizes.map((size, row) => `${rowLabels[row]}× (${size})`),
    columnNames: labelsOf(columns),
    at: (row, column) => places.get(`${row},${column}`),
  };
};

const allPlaces = (matrix) => matrix.sizes.flatMap((_, row) => matrix.columns.flatMap((_, column) => {
  const point = matrix.at(row, column);
  return point ? [{ row, column, point }] : [];
}));

const wordOf = (point, key) => {
  if (point.state === "done") return format(metricOf(point, key), 3);
  return FAILED.includes(point.state) ? point.state : "–";
};

const referencesOf = (run, key) => run.references[key] || { rows: {}, marks: {} };

// Baselines on the scale: those that stand alone, and those of each size where these are few; those of all runs once.
const marksOf = (shown, key) => {
  const runs = [...new Set(shown.map((matrix) => matrix.run))];
  const owners = new Map();
  const add = (run, name, value) => {
    const mark = JSON.stringify([name, number(value)]);
    if (Number.isFinite(number(value))) owners.set(mark, [...(owners.get(mark) || []), run.label]);
  };
  for (const run of runs) {
    const { marks, rows } = referencesOf(run, key);
    Object.entries(marks).forEach(([name, value]) => add(run, name, value));
    const bySize = Object.entries(rows).flatMap(([name, values]) =>
      Object.entries(values).map(([size, value]) => [`${name} (${size})`, value]));
    if (bySize.length <= 4) bySize.forEach(([name, value]) => add(run, name, value));
  }
  return [...owners].map(([mark, labels]) => {
    const [name, value] = JSON.parse(mark);
    return [labels.length === runs.length ? name : `${labels.join(", ")}: ${name}`, value];
  });
};

const noteOf = (shown, best) => {
  const runs = [...new Set(shown.map((matrix) => matrix.run))], seeds = Math.max(...runs.map((run) => run.seeds));
  const words = [
    ...bestWords(shown, best),
    seeds > 1 ? `Means over up to ${seeds} seeds; ± is their standard deviation.` : "",
    matrices.asTables || isPaper() ? "" : "A click opens a cell; so does Enter, after arrow keys.",
  ].filter(Boolean).join(" ");
  return [words, lossWords(runs)].filter(Boolean).join("\n");
};

const bestWords = (shown, { marked, tied }) => {
  const seen = shown.flatMap((matrix) => matrix.points).filter((point) => marked.has(point));
  const elsewhere = [...marked].filter((point) => !seen.some((one) => one.run === point.run));
  const of = (run) => (several ? ` of ${run.label}` : "");
  return [
    seen.length ? `The best${several ? " of each run" : ""} ${matrices.asTables ? "has a ★" : "is outlined"}.` : "",
    ...new Set(elsewhere.map((point) => `The best cell${of(point.run)} is in the matrices over ${axes.get(point.axis).title}.`)),
    ...tied.map(([run, count]) => `${count} tie for the best${of(run)}.`),
  ];
};

const captionOf = (matrix, key) =>
  [matrix.name, `${title(key)}, rows: dictionary size, columns: ${matrix.axis.title}`].filter(Boolean).join("; ");

const drawTable = (holder, matrix, key, best) => {
  const references = Object.entries(referencesOf(matrix.run, key).rows);
  const cellOf = (point) => {
    if (!point) return make("td", {});
    const isBest = best.has(point), words = wordOf(point, key) + spreadOf(point, key) + (isBest ? " ★" : "");
    const button = make("button", { type: "button", onclick: () => openPoint(point) }, words);
    return make("td", { class: isBest ? "best" : null }, button);
  };
  const heads = [matrix.axis.short, ...matrix.columnNames, ...references.map(([name]) => name)];
  const rows = matrix.sizes.map((size, row) => make("tr", {}, make("th", { scope: "row" }, matrix.rowNames[row]),
    matrix.columns.map((_, column) => cellOf(matrix.at(row, column))),
    references.map(([, bySize]) => make("td", { class: "quiet" }, format(bySize[size], 3)))));
  const caption = captionOf(matrix, key);
  fill(holder, make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": caption }, make("table", {},
    make("caption", { class: "quiet" }, caption),
    make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, rows))));
};
