// The page put together: choices, links to cells, themes and print.

// Drawn when it comes into sight: it takes as long as the matrices of 2,000 cells.
let inSight = false;
const drawTradeOffInSight = () => { if (inSight) drawTradeOff(); };
const watchTradeOff = () => new IntersectionObserver((seen, observer) => {
  if (!seen.some((one) => one.isIntersecting)) return;
  observer.disconnect();
  inSight = true;
  drawTradeOff();
}, { rootMargin: "200px" }).observe(byId("trade-off"));

const plotlyIsThere = new Promise((begun) => {
  // Two frames later what there is has been painted.
  requestAnimationFrame(() => requestAnimationFrame(() => loadPlotly().then(begun)));
});

const drawAll = () => {
  drawMatrices();
  drawTradeOffInSight();
  drawCells();
  if (opened) openCell(opened.point, opened.index, false);
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
  const point = points.find((one) => one.run.label === label && one.cells.some((i) => one.run.cells[i].name === name));
  if (point) openCell(point, point.cells.find((i) => point.run.cells[i].name === name));
};

const useTheme = (name) => {
  root.dataset.theme = name;
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  drawAll();
};

const prepare = () => {
  const metrics = known.map((key) => [key, title(key)]);
  choose("metric", metrics, matrices, "metric", drawMatrices);
  choose("axis", [...axes].map(([key, axis]) => [key, axis.title]), matrices, "axis", drawMatrices);
  byId("axis-label").hidden = axes.size < 2;
  choose("x", metrics, tradeOff, "x", drawTradeOff);
  choose("y", metrics, tradeOff, "y", drawTradeOff);
  choose("colour", colourings(), tradeOff, "colour", drawTradeOff);
  byId("as-tables").addEventListener("change", (event) => { matrices.asTables = event.target.checked; drawMatrices(); });
  byId("theme").addEventListener("click", () => useTheme(isDark() ? "light" : "dark"));
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  prefersDark.addEventListener("change", () => { if (!root.dataset.theme) drawAll(); });
  let before = "";
  window.addEventListener("beforeprint", () => { before = root.dataset.theme || ""; inSight = true; useTheme("light"); });
  window.addEventListener("afterprint", () => { if (before) useTheme(before); else { delete root.dataset.theme; drawAll(); } });
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; drawMatrices(); } });
  window.addEventListener("hashchange", openFromAddress);
};

byId("all-metrics").addEventListener("change", (event) => { list.all = event.target.checked; drawCells(); });
byId("find").addEventListener("input", (event) => { list.find = event.target.value; list.most = PAGE; drawCells(); });
byId("more").addEventListener("click", () => { list.most = Infinity; drawCells(); });
drawCells();
document.body.dataset.listed = Math.round(performance.now());
if (known.length) {
  plotlyIsThere.then(() => {
    prepare();
    drawMatrices();
    watchTradeOff();
    openFromAddress();
    document.body.dataset.ready = Math.round(performance.now());
  });
} else {
  fill(byId("panels"), make("p", {}, "No cell is done yet: there is nothing to draw. ", make("code", {}, "saesweep resume RUN"), " goes on."));
  byId("trade-off").closest("section").hidden = true;
  document.body.dataset.ready = Math.round(performance.now());
}
