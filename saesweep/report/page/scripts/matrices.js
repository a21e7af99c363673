// The points of all runs as matrices: one for each run and variant, rows sizes and columns penalties.

const sorted = (values) => [...new Set(values)].sort((a, b) => a - b);

const matricesOf = (axisKey) => {
  const groups = new Map();
  for (const point of points.filter((one) => one.axis === axisKey)) {
    const key = `${point.index} ${point.variant}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(point);
  }
  return [...groups.values()].map((some) => matrixOf(some, axes.get(axisKey)));
};

const matrixOf = (some, axis) => {
  const { run, variant } = some[0];
  const [sizes, columns] = [sorted(some.map((point) => point.size)), sorted(some.map((point) => point.sparsity))];
  const places = new Map(some.map((point) => [`${sizes.indexOf(point.size)},${columns.indexOf(point.sparsity)}`, point]));
  const ratios = new Map(some.map((point) => [point.size, point.ratio]));
  return {
    name: [several ? run.label : "", variant].filter(Boolean).join("; "), run, axis, sizes, columns, points: some,
    rowNames: sizes.map((size) => `${format(ratios.get(size), 3)}× (${size})`),
    at: (row, column) => places.get(`${row},${column}`),
  };
};

const BLANKS = { failed: "failed", damaged: "damaged" };
const wordOf = (point, key) => (point.state === "done" ? format(metricOf(point, key), 3) : BLANKS[point.state] || "–");

const referencesOf = (run, key) => run.references[key] || { rows: {}, marks: {} };
