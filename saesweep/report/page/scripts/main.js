// The page put together: choices, links to cells, themes and print.

const plotlyIsThere = new Promise((begun) => {
  // Two frames later what there is has been painted.
  requestAnimationFrame(() => requestAnimationFrame(() => loadPlotly().then(begun)));
});
let plotlyBegun = false;

// Drawn when it comes into sight: it takes as long as the matrices of 2,000 cells.
let inSight = false;
const watchTradeOff = () => new IntersectionObserver((seen, observer) => {
  if (!seen.some((one) => one.isIntersecting)) return;
  observer.disconnect();
  inSight = true;
  drawTradeOff();
}, { rootMargin: "200px" }).observe(byId("trade-off"));

// All that is drawn in colours or to a width.
const drawPlots = () => {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  if (!plotlyBegun) return;
  if (known.length) {
    drawMatrices();
    if (inSight) drawTradeOff();
  }
  drawOpened();
};

const choose = (id, choices, state, name, draw) => {
  fillSelect(byId(id), choices, state[name]);
  byId(id).addEventListener("change", (event) => { state[name] = event.target.value; draw(); });
};

const openFromAddress = () => {
  let label, name;
  try {
    [label, name] = location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch (error) {
    return; // an address that somebody cut short
  }
  const isIt = (point) => (i) => wellFormed(point.run.label) === label && wellFormed(point.run.cells[i].name) === name;
  const point = points.find((one) => one.cells.some(isIt(one)));
  if (point) openCell(point, point.cells.find(isIt(point)));
};

const useTheme = (name) => {
  if (name) root.dataset.theme = name;
  else delete root.dataset.theme;
  drawPlots();
};

// Tables that are wider than paper, made to fit.
const shrinkTables = () => [...document.querySelectorAll(".wide table")].filter((table) => {
  const share = table.closest(".wide").clientWidth / table.scrollWidth;
  if (share < 1) table.style.zoom = share;
  return share < 1;
});

// For paper: light, as wide as paper, and with all that is folded or cut short. Returns how to go back.
const unfold = () => {
  const folded = [...document.querySelectorAll("details:not([open])")];
  const { most } = list, { theme } = root.dataset, wasInSight = inSight;
  hideTip();
  folded.forEach((details) => { details.open = true; });
  list.most = Infinity;
  inSight = true;
  root.dataset.paper = "";
  drawCells();
  useTheme("light");
  const shrunk = shrinkTables();
  return () => {
    shrunk.forEach((table) => { table.style.zoom = ""; });
    folded.forEach((details) => { details.open = false; });
    list.most = most;
    inSight = wasInSight;
    delete root.dataset.paper;
    drawCells();
    useTheme(theme);
  };
};

const wire = () => {
  byId("theme").addEventListener("click", () => useTheme(isDark() ? "light" : "dark"));
  prefersDark.addEventListener("change", () => { if (!root.dataset.theme) drawPlots(); });
  let foldAgain = null;
  window.addEventListener("beforeprint", () => { foldAgain ??= unfold(); });
  window.addEventListener("afterprint", () => { foldAgain?.(); foldAgain = null; });
  window.addEventListener("hashchange", openFromAddress);
  document.addEventListener("keydown", closeOnEscape);
  document.querySelectorAll(".animation img").forEach((image) => stoppable(image.parentElement));
  byId("all-metrics").addEventListener("change", (event) => { list.all = event.target.checked; drawCells(); });
  byId("find").addEventListener("input", (event) => { list.find = event.target.value; list.most = PAGE; drawCells(); });
  byId("more").addEventListener("click", () => { list.most = Infinity; drawCells(); });
};

const wireMatrices = () => {
  const metrics = known.map((key) => [key, title(key)]);
  choose("metric", metrics, matrices, "metric", drawMatrices);
  choose("axis", [...axes].map(([key, axis]) => [key, axis.title]), matrices, "axis", drawMatrices);
  byId("axis-label").hidden = axes.size < 2;
  choose("x", metrics, tradeOff, "x", drawTradeOff);
  choose("y", metrics, tradeOff, "y", drawTradeOff);
  choose("colour", colourings(), tradeOff, "colour", drawTradeOff);
  byId("as-tables").addEventListener("change", (event) => { matrices.asTables = event.target.checked; drawMatrices(); });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // the keyboard of a telephone
    width = window.innerWidth;
    drawMatrices();
  });
};

// Each command once, for what there is to do about each run.
const adviceOfAll = () => {
  const advice = data.runs.flatMap((run) => run.cells.map(({ state }) => adviceOf(run, state)));
  const commands = [...new Map(advice.map(([words, command]) => [command, words.replace(" it", "")]))];
  return make("div", { class: "commands" }, commands.map(([command, words]) =>
    make("div", {}, make("b", {}, words), make("code", {}, command), copyButton(command))));
};

wire();
drawPlots();
drawCells();
document.body.dataset.listed = Math.round(performance.now());
if (!known.length) {
  fill(byId("panels"), make("p", {}, "No cell is done yet: there is nothing to draw."), adviceOfAll());
  document.querySelectorAll("#matrices .controls, #trade-off-section, #all-metrics-label").forEach((part) => {
    part.hidden = true;
  });
}
plotlyIsThere.then(() => {
  plotlyBegun = true;
  if (known.length) {
    wireMatrices();
    drawMatrices();
    watchTradeOff();
  }
  openFromAddress();
  document.body.dataset.ready = Math.round(performance.now());
});
