// A metric over the grid: a heatmap for each matrix, or the same as tables.

const LETTER = 6.6, MARGIN_COLUMN = 62, MOST_ROWS = 40, NARROW = 520;

const drawMatrices = () => {
  const key = matrices.metric, { direction, definition } = data.metrics[key];
  const shown = matricesOf(matrices.axis);
  const values = shown.flatMap((matrix) => matrix.points.map((point) => metricOf(point, key)));
  const best = bestIn(key), scale = scaleOf(values);
  fill(byId("definition"), make("b", {}, title(key)), `: ${definition}${direction ? `; ${direction} is better` : ""}.`);
  const holders = shown.map(() => make("div", { class: "panel" }));
  discardPlots(byId("panels"));
  fill(byId("panels"), holders);
  const draw = matrices.asTables ? drawTable : drawHeatmap;
  shown.forEach((matrix, i) => draw(holders[i], matrix, key, best.marked, scale));
  drawScale(matrices.asTables ? null : scale, marksOf(shown, key));
  byId("matrices-note").textContent = noteOf(shown, best);
};

// Where the parts of a heatmap stand, in pixels.
const planOf = (matrix, key) => {
  const { sizes, columns } = matrix;
  const room = byId("panels").clientWidth;
  const references = sizes.length > MOST_ROWS || room < NARROW ? [] : Object.entries(referencesOf(matrix.run, key).rows);
  const margin = { l: 96, r: 12 + MARGIN_COLUMN * references.length, t: references.length ? 26 : 8, b: 52 };
  const width = Math.min(room, Math.max(300, margin.l + margin.r + columns.length * 66));
  const inner = width - margin.l - margin.r;
  const high = Math.max(sizes.length > MOST_ROWS ? 9 : 18, Math.min(54, 640 / sizes.length));
  return { references, margin, width, inner, high, cell: inner / columns.length };
};

const drawHeatmap = (holder, matrix, key, best, scale) => {
  const plan = planOf(matrix, key);
  const name = `${captionOf(matrix, key)}. Arrow keys move, Enter opens a cell.`;
  const plot = make("div", { tabindex: 0, role: "group", "aria-label": name });
  // Not a title of Plotly, which does not wrap: it would lie over the heads of the margin.
  fill(holder, matrix.name ? make("h3", {}, matrix.name) : null, plot);
  const outlines = allPlaces(matrix).filter(({ point }) => best.has(point)).flatMap((place) => outline(place, plan));
  const traces = [blanksOf(matrix, key), coloursOf(matrix, key, scale), wordsOf(matrix, key, scale, plan)].filter(Boolean);
  Plotly.newPlot(plot, traces, frameOf(matrix, plan, outlines), { ...CONFIG, responsive: false, displayModeBar: false });
  listen(plot, { matrix, key, best, plan, outlines });
};

const isKnown = (point, key) => point.state === "done" && Number.isFinite(metricOf(point, key));

const tiles = (matrix, zOf, extra) => ({
  type: "heatmap", x: matrix.columns.map((_, i) => i), y: matrix.sizes.map((_, i) => i),
  z: matrix.sizes.map((_, row) => matrix.columns.map((_, column) => {
    const point = matrix.at(row, column);
    return point ? zOf(point) : null;
  })),
  hoverinfo: "none", showscale: false, xgap: 1, ygap: 1, ...extra,
});

const coloursOf = (matrix, key, scale) =>
  tiles(matrix, (point) => (isKnown(point, key) ? scale.z(metricOf(point, key)) : null),
    { name: "values", colorscale: COLOURSCALE, zmin: scale ? scale.low : 0, zmax: scale ? scale.high : 1 });

const blanksOf = (matrix, key) => {
  if (matrix.points.every((point) => isKnown(point, key))) return null;
  const blank = colour("blank");
  return tiles(matrix, (point) => (isKnown(point, key) ? null : 0), { name: "blanks", colorscale: [[0, blank], [1, blank]] });
};

// Values in their cells, where all of them fit; states only where they do.
const wordsOf = (matrix, key, scale, plan) => {
  const fits = (word) => LETTER * word.length + 3 <= plan.cell;
  const all = allPlaces(matrix).map((place) => ({ ...place, known: isKnown(place.point, key), word: wordOf(place.point, key) }));
  if (plan.high < 16 || all.some(({ known, word }) => known && !fits(word))) return null;
  const shown = all.filter(({ word }) => fits(word));
  const onDark = (point) => scale.place(metricOf(point, key)) < DARK_UNTIL;
  const shade = ({ known, point }) => (!known ? colour("ink") : onDark(point) ? "#ffffff" : "#000000");
  return {
    type: "scatter", mode: "text", hoverinfo: "skip", cliponaxis: false,
    x: shown.map(({ column }) => column), y: shown.map(({ row }) => row),
    text: shown.map(({ word }) => plain(word)), textfont: { size: 11, color: shown.map(shade) },
  };
};

const frameOf = (matrix, plan, outlines) => {
  const { sizes, columns } = matrix;
  const named = (texts, needs, room) => {
    const kept = texts.map((_, i) => i).filter((i) => i % Math.ceil(needs / room) === 0);
    const ticks = { tickvals: kept, ticktext: kept.map((i) => plain(texts[i])), tickangle: 0 };
    return { ...ticks, showgrid: false, fixedrange: true, automargin: false };
  };
  const longest = Math.max(...matrix.columnNames.map((text) => text.length));
  return layoutOf({
    width: plan.width, height: plan.margin.t + plan.margin.b + plan.high * sizes.length, margin: plan.margin,
    xaxis: axisStyle({ ...named(matrix.columnNames, LETTER * longest + 6, plan.cell), range: [-0.5, columns.length - 0.5],
      title: { text: plain(matrix.axis.title), standoff: 8 } }),
    yaxis: axisStyle({ ...named(matrix.rowNames, 14, plan.high), range: [sizes.length - 0.5, -0.5],
      title: { text: sizes.length > 2 ? "dictionary size" : "size", standoff: 6 } }),
    shapes: outlines,
    annotations: plan.references.flatMap(([name, bySize], i) =>
      marginOf(name, bySize, sizes, 1 + (8 + MARGIN_COLUMN * i) / plan.inner)),
  });
};

// A light line in a dark one: one of the two is seen on any colour of the scale.
const outline = ({ row, column }, plan, dash = "solid") => {
  const [wide, fine] = plan.high < 24 || plan.cell < 54 ? [3, 1] : [6, 2.5]; // where there is a number in it too
  const [across, up] = [plan.cell, plan.high].map((length) => 0.5 - (wide / 2 + 0.5) / length);
  const place = { type: "rect", x0: column - across, x1: column + across, y0: row - up, y1: row + up };
  return [{ ...place, line: { color: "#000000", width: wide } }, { ...place, line: { color: "#ffffff", width: fine, dash } }];
};

const marginOf = (name, bySize, sizes, x) => {
  const style = { xref: "paper", x, xanchor: "left", showarrow: false, font: { size: 11, color: colour("quiet") } };
  return [
    { ...style, text: plain(name), yref: "paper", y: 1, yanchor: "bottom" },
    ...sizes.map((size, row) => ({ ...style, text: format(bySize[size], 3), yref: "y", y: row, yanchor: "middle" })),
  ];
};

const ENDS = { Home: () => 0, End: (columns) => columns.length - 1 };
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const listen = (plot, drawn) => {
  const { matrix, key, outlines } = drawn;
  const pointOf = (event) => matrix.at(event.points[0].y, event.points[0].x);
  plot.on("plotly_hover", (event) => showTip(pointOf(event), key, event.event.clientX, event.event.clientY));
  plot.on("plotly_unhover", hideTip);
  plot.on("plotly_click", (event) => {
    plot.focus({ preventScroll: true }); // to come back to
    openPoint(pointOf(event));
  });
  let at = null;
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  plot.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return; // those are the browser's
    const step = STEPS[event.key];
    if (step) {
      event.preventDefault();
      at = at ? [within(at[0] + step[0], matrix.sizes.length), within(at[1] + step[1], matrix.columns.length)] : [0, 0];
      visit(plot, drawn, at);
    } else if (ENDS[event.key]) {
      event.preventDefault();
      at = [at ? at[0] : 0, ENDS[event.key](matrix.columns)];
      visit(plot, drawn, at);
    } else if (event.key === "Enter" && at && matrix.at(...at)) {
      openPoint(matrix.at(...at));
    } else if (event.key === "Escape" && !byId("tip").hidden) {
      event.preventDefault(); // and does not close the cell too
      hideTip();
    }
  });
  plot.addEventListener("blur", () => {
    hideTip();
    if (at) Plotly.relayout(plot, { shapes: outlines });
  });
};

const visit = (plot, { matrix, key, best, plan, outlines }, [row, column]) => {
  Plotly.relayout(plot, { shapes: [...outlines, ...outline({ row, column }, plan, "dot")] });
  const point = matrix.at(row, column), { x, y } = plot.getBoundingClientRect(), { margin, cell, high } = plan;
  if (point) showTip(point, key, x + margin.l + (column + 0.5) * cell, y + margin.t + (row + 0.5) * high);
  else hideTip();
  const words = point ? wordOf(point, key) + spreadOf(point, key) + (best.has(point) ? ", best" : "") : "no cell";
  say(`${matrix.rowNames[row]}, ${matrix.axis.short} ${matrix.columnNames[column]}: ${words}`);
};
