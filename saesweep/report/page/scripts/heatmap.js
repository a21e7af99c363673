// A metric over the grid: a heatmap for each matrix, or the same as tables.

const WORDS_FROM = 40, MARGIN_COLUMN = 62, MOST_ROWS = 40, NARROW = 520;
const matrices = { metric: mainMetric, axis: [...axes.keys()][0], asTables: false };

const drawMatrices = () => {
  const key = matrices.metric, { direction, definition } = data.metrics[key];
  const shown = matricesOf(matrices.axis);
  const values = shown.flatMap((matrix) => matrix.points.map((point) => metricOf(point, key)));
  const { top, ties } = bestOfFew(values, direction), scale = scaleOf(values);
  fill(byId("definition"), make("b", {}, title(key)), `: ${definition}${direction ? `; ${direction} is better` : ""}.`);
  const holders = shown.map(() => make("div", { class: "panel" }));
  fill(byId("panels"), holders);
  const draw = matrices.asTables ? drawTable : drawHeatmap;
  shown.forEach((matrix, i) => draw(holders[i], matrix, key, scale, top));
  drawScale(matrices.asTables ? null : scale, marksOf(shown, key));
  byId("matrices-note").textContent = noteOf(shown, top, ties, direction);
};

// Baselines on the scale: those that stand alone, and those of each size where these are few.
const marksOf = (shown, key) => {
  const runs = [...new Set(shown.map((matrix) => matrix.run))];
  return runs.flatMap((run) => {
    const { marks, rows } = referencesOf(run, key), owner = runs.length > 1 ? `${run.label}: ` : "";
    const alone = Object.entries(marks).map(([name, value]) => [owner + name, number(value)]);
    const bySize = Object.entries(rows).flatMap(([name, values]) =>
      Object.entries(values).map(([size, value]) => [`${owner}${name} (${size})`, number(value)]));
    return [...alone, ...(bySize.length > 4 ? [] : bySize)].filter(([, value]) => Number.isFinite(value));
  });
};

const noteOf = (shown, top, ties, direction) => {
  const seeds = Math.max(...shown.map((matrix) => matrix.run.seeds));
  return [
    Number.isNaN(top) ? (direction && ties > 1 ? `${ties} cells tie for the best.` : "") : "The best is outlined.",
    seeds > 1 ? `Means over up to ${seeds} seeds; ± is their standard deviation.` : "",
    matrices.asTables ? "" : "A click opens a cell; so does Enter, after arrow keys.",
  ].filter(Boolean).join(" ");
};

const captionOf = (matrix, key) =>
  [matrix.name, `${title(key)}, rows: dictionary size, columns: ${matrix.axis.title}`].filter(Boolean).join("; ");

const drawTable = (holder, matrix, key, scale, top) => {
  const references = Object.entries(referencesOf(matrix.run, key).rows);
  const cellOf = (point) => {
    if (!point) return make("td", {});
    const isBest = metricOf(point, key) === top, words = wordOf(point, key) + spreadOf(point, key) + (isBest ? " ★" : "");
    return make("td", { class: isBest ? "best" : null }, make("button", { type: "button", onclick: () => openPoint(point) }, words));
  };
  const heads = [matrix.axis.short, ...matrix.columns.map((x) => format(x)), ...references.map(([name]) => name)];
  const rows = matrix.sizes.map((size, row) => make("tr", {}, make("th", { scope: "row" }, matrix.rowNames[row]),
    matrix.columns.map((_, column) => cellOf(matrix.at(row, column))),
    references.map(([, bySize]) => make("td", { class: "quiet" }, format(bySize[size], 3)))));
  const wide = { class: "wide", tabindex: 0, role: "region", "aria-label": captionOf(matrix, key) };
  fill(holder, make("div", wide, make("table", {}, make("caption", { class: "quiet" }, captionOf(matrix, key)),
    make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, rows))));
};

// Where the parts of a heatmap stand, in pixels.
const planOf = (matrix, key) => {
  const { sizes, columns } = matrix;
  const room = byId("panels").clientWidth;
  const references = sizes.length > MOST_ROWS || room < NARROW ? [] : Object.entries(referencesOf(matrix.run, key).rows);
  const margin = { l: 96, r: 12 + MARGIN_COLUMN * references.length, t: matrix.name || references.length ? 30 : 8, b: 52 };
  const width = Math.min(room, Math.max(300, margin.l + margin.r + columns.length * 66));
  const cell = (width - margin.l - margin.r) / columns.length;
  const high = Math.max(sizes.length > MOST_ROWS ? 9 : 18, Math.min(54, 640 / sizes.length));
  return { references, margin, width, cell, high, inner: width - margin.l - margin.r };
};

const drawHeatmap = (holder, matrix, key, scale, top) => {
  const plan = planOf(matrix, key);
  const name = `${captionOf(matrix, key)}. Arrow keys move, Enter opens a cell.`;
  const plot = make("div", { tabindex: 0, role: "group", "aria-label": name });
  fill(holder, plot);
  const outlines = allPlaces(matrix).filter(({ point }) => metricOf(point, key) === top).map((place) => outline(place, colour("best")));
  Plotly.newPlot(plot, tracesOf(matrix, key, scale, plan), frameOf(matrix, plan, outlines), { ...CONFIG, responsive: false, displayModeBar: false });
  listen(plot, matrix, key, outlines);
};

const allPlaces = (matrix) => matrix.sizes.flatMap((_, row) => matrix.columns.flatMap((_, column) => {
  const point = matrix.at(row, column);
  return point ? [{ row, column, point }] : [];
}));

const tracesOf = (matrix, key, scale, plan) => {
  const places = allPlaces(matrix);
  const isKnown = (point) => point.state === "done" && Number.isFinite(metricOf(point, key));
  const on = (see) => matrix.sizes.map((_, row) => matrix.columns.map((_, column) => {
    const point = matrix.at(row, column);
    return point ? see(point) : null;
  }));
  const shared = { type: "heatmap", x: matrix.columns.map((_, i) => i), y: matrix.sizes.map((_, i) => i), hoverinfo: "none", showscale: false, xgap: 1, ygap: 1 };
  const traces = [{ ...shared, z: on((point) => (isKnown(point) ? scale.z(metricOf(point, key)) : null)), colorscale: COLOURSCALE,
    zmin: scale ? scale.low : 0, zmax: scale ? scale.high : 1 }];
  if (places.some(({ point }) => !isKnown(point))) {
    traces.unshift({ ...shared, z: on((point) => (isKnown(point) ? null : 0)), colorscale: [[0, colour("blank")], [1, colour("blank")]] });
  }
  if (plan.cell >= WORDS_FROM && plan.high >= 16) {
    const shade = (point) => (!isKnown(point) ? colour("ink") : scale.place(metricOf(point, key)) < 0.6 ? "#ffffff" : "#111111");
    traces.push({ type: "scatter", mode: "text", hoverinfo: "skip", cliponaxis: false, x: places.map((p) => p.column), y: places.map((p) => p.row),
      text: places.map(({ point }) => plain(wordOf(point, key))), textfont: { size: 11, color: places.map(({ point }) => shade(point)) } });
  }
  return traces;
};

const frameOf = (matrix, plan, outlines) => {
  const { sizes, columns } = matrix;
  const named = (texts, length) => {
    const kept = texts.map((_, i) => i).filter((i) => i % Math.ceil(14 / length) === 0);
    return { tickvals: kept, ticktext: kept.map((i) => plain(texts[i])), showgrid: false, fixedrange: true, automargin: false };
  };
  const heading = { text: plain(matrix.name), font: { size: 13 }, x: 0, xref: "paper", y: 1, yref: "container", yanchor: "top", pad: { t: 6 } };
  return layoutOf({
    width: plan.width, height: plan.margin.t + plan.margin.b + plan.high * sizes.length, margin: plan.margin,
    title: matrix.name ? heading : undefined,
    xaxis: axisStyle({ ...named(columns.map((x) => format(x, 3)), plan.cell * 0.4), range: [-0.5, columns.length - 0.5], title: { text: plain(matrix.axis.title), standoff: 8 } }),
    yaxis: axisStyle({ ...named(matrix.rowNames, plan.high), range: [sizes.length - 0.5, -0.5], title: { text: sizes.length > 2 ? "dictionary size" : "size", standoff: 6 } }),
    shapes: outlines,
    annotations: plan.references.flatMap(([name, bySize], i) => marginOf(name, bySize, sizes, 1 + (8 + MARGIN_COLUMN * i) / plan.inner)),
  });
};

const outline = ({ row, column }, shade) =>
  ({ type: "rect", x0: column - 0.47, x1: column + 0.47, y0: row - 0.44, y1: row + 0.44, line: { color: shade, width: 3 } });

const marginOf = (name, bySize, sizes, x) => {
  const style = { xref: "paper", x, xanchor: "left", showarrow: false, font: { size: 11, color: colour("quiet") } };
  return [
    { ...style, text: plain(name), yref: "paper", y: 1, yanchor: "bottom" },
    ...sizes.map((size, row) => ({ ...style, text: format(bySize[size], 3), yref: "y", y: row, yanchor: "middle" })),
  ];
};

const listen = (plot, matrix, key, outlines) => {
  const pointOf = (event) => matrix.at(event.points[0].y, event.points[0].x);
  plot.on("plotly_hover", (event) => showTip(pointOf(event), key, event.event.clientX, event.event.clientY));
  plot.on("plotly_unhover", hideTip);
  plot.on("plotly_click", (event) => openPoint(pointOf(event)));
  let at = null;
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      event.preventDefault();
      at = at ? [within(at[0] + step[0], matrix.sizes.length), within(at[1] + step[1], matrix.columns.length)] : [0, 0];
      visit(plot, matrix, key, at, outlines);
    } else if (event.key === "Enter" && at && matrix.at(...at)) {
      openPoint(matrix.at(...at));
    } else if (event.key === "Escape") hideTip();
  });
  plot.addEventListener("blur", () => { hideTip(); Plotly.relayout(plot, { shapes: outlines }); });
};

const visit = (plot, matrix, key, [row, column], outlines) => {
  Plotly.relayout(plot, { shapes: [...outlines, outline({ row, column }, colour("ink"))] });
  const point = matrix.at(row, column), { x, y } = plot.getBoundingClientRect(), { margin, cell, high } = planOf(matrix, key);
  if (point) showTip(point, key, x + margin.l + (column + 0.5) * cell, y + margin.t + (row + 0.5) * high); else hideTip();
  const words = point ? wordOf(point, key) + spreadOf(point, key) : "no cell";
  say(`${matrix.rowNames[row]}, ${matrix.axis.short} ${format(matrix.columns[column])}: ${words}`);
};
