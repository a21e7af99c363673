// One cell, opened: what it is, how it came to be, and how to take it away.

// What is open: its point, its index in the run, its details once they are unpacked, and what it was opened from.
let opened = null;

const openPoint = (point) => openCell(point, point.cells[0]);

const openCell = async (point, index) => {
  hideTip();
  const section = byId("cell"), focused = document.activeElement;
  const mine = { point, index, details: null, from: section.contains(focused) ? opened?.from : focused };
  opened = mine;
  const { run } = point, cell = run.cells[index];
  section.hidden = false;
  fill(byId("cell-title"), breakable(several ? `${run.label}: ${cell.name}` : cell.name));
  const body = byId("cell-body"), note = make("p", { class: "quiet" });
  discardPlots(body);
  fill(body, seedsOf(point, index), stateOf(cell),
    make("div", { class: "facts" }, animationOf(cell), settingsOf(run, cell), numbersOf(point, index)),
    make("div", { class: "plots" }), note, commandsOf(run, cell));
  history.replaceState(null, "", `#${addressOf(run.label)}/${addressOf(cell.name)}`);
  byId("cell-title").focus({ preventScroll: true });
  section.scrollIntoView({ block: "start" });
  say(`${cell.name} opened`);
  const details = JSON.parse(await unpack(run.details[index]));
  await plotlyIsThere;
  if (opened !== mine) return; // closed or another one opened meanwhile
  mine.details = details;
  note.textContent = thinned(details);
  drawOpened();
};

const drawOpened = () => {
  if (!opened?.details) return;
  const plots = byId("cell-body").querySelector(".plots");
  discardPlots(plots);
  const made = plotsOf(opened.details);
  fill(plots, made.map((plot) => plot.holder));
  made.forEach((plot) => plot.draw());
};

const thinned = ({ curves, of }) => (curves && curves.epoch.length < of
  ? `${curves.epoch.length} of ${of} snapshots are drawn; what changed is summed over those between. `
    + "history.csv of the cell and metrics/tracking.csv of the run have all."
  : "");

// Names of folders need not be Unicode, addresses must.
const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "\ufffd");
const addressOf = (text) => encodeURIComponent(wellFormed(text));

const closeCell = () => {
  const { from } = opened;
  opened = null;
  discardPlots(byId("cell-body"));
  byId("cell").hidden = true;
  history.replaceState(null, "", "#");
  // Back to where the reader was, unless that has been drawn anew.
  const target = from?.isConnected && from !== document.body ? from : byId("matrices-title");
  target.focus();
  target.scrollIntoView({ block: "nearest" });
};

// Escape closes; but it clears what is searched for, and leaves what fills the screen.
const closeOnEscape = (event) => {
  const own = event.target.matches?.("input, select") || document.fullscreenElement;
  if (event.key === "Escape" && opened && !event.defaultPrevented && !own) closeCell();
};

const seedsOf = (point, index) => {
  const seeds = point.cells.length > 1 ? point.cells : [];
  const step = (by) => {
    const all = points.filter((other) => other.run === point.run);
    openPoint(all[(all.indexOf(point) + by + all.length) % all.length]);
  };
  const button = (words, onclick, extra) => make("button", { type: "button", onclick, ...extra }, words);
  return make("p", { class: "controls" },
    button("← Previous", () => step(-1)), button("Next →", () => step(1)), button("Close", closeCell),
    seeds.map((other) => button(`${other === index ? "● " : ""}${seedName(point.run, other)}`,
      () => openCell(point, other), { "aria-pressed": String(other === index) })));
};

const seedName = (run, index) => `seed ${exact(run.cells[index].axes[run.columns.indexOf("seed")])}`;

const stateOf = (cell) => {
  if (cell.state === "done") return null;
  const log = logOf(cell);
  const alarm = FAILED.includes(cell.state) ? "alarm" : null;
  return make("div", { class: alarm }, make("b", {}, cell.state), cell.reason ? `: ${cell.reason}` : "",
    log ? make("pre", { tabindex: 0 }, log) : null);
};

const animationOf = (cell) => {
  if (!cell.animation) return null;
  const { kind, source } = cell.animation;
  const words = `The dictionary of ${cell.name} as it is learned`;
  if (kind === "video/mp4") return make("video", { src: source, "aria-label": words, controls: true, muted: true, loop: true });
  const holder = make("div", {}, make("img", { src: source, alt: words, loading: "lazy", width: 330 }));
  stoppable(holder);
  return holder;
};

const rowsOf = (pairs) => make("table", {}, make("tbody", {}, pairs.map(([name, ...values]) =>
  make("tr", {}, make("th", { scope: "row" }, name), values.map((value) => make("td", {}, value))))));

const settingsOf = (run, cell) => {
  const pairs = run.columns.map((name, i) => [name, cell.axes[i]]).filter(([, value]) => value != null && value !== "")
    .map(([name, value]) => [name, exact(value)]);
  return make("div", { class: "settings" }, make("h3", {}, "Hyperparameters"), rowsOf(pairs));
};

const numbersOf = (point, index) => {
  const { run } = point, seeds = point.cells.length > 1;
  const keys = Object.keys(run.metrics).filter((key) => run.metrics[key][index] != null);
  if (!keys.length) return null;
  const mean = (key) => make("span", { class: "quiet" }, `mean ${format(point.mean[key])}${spreadOf(point, key)}`);
  const row = (key) => [make("span", { title: data.metrics[key].definition }, key), format(run.metrics[key][index], 5),
    ...(seeds ? [mean(key)] : [])];
  const half = Math.ceil(keys.length / 2), halves = [keys.slice(0, half), keys.slice(half)];
  const wide = { class: "facts wide", tabindex: 0, role: "region", "aria-label": "Metrics" };
  return make("div", { class: "numbers" }, make("h3", {}, "Metrics"),
    make("div", wide, halves.map((some) => rowsOf(some.map(row)))));
};

const commandsOf = (run, cell) => {
  const at = quoted(run.path), name = quoted(cell.name);
  const commands = cell.state === "done" ? [
    ["Hand it on", `saesweep export ${at} ${name} --to saelens`],
    ["What it is", `saesweep sae ${at} ${name}`],
    ...(run.known ? [["Watch it learn", `saesweep gif ${at} ${name}`]] : []),
    ["In Python", `saesweep.Run(${JSON.stringify(run.path)}).sae(${JSON.stringify(cell.name)})`],
  ] : [
    ...(cell.log !== null || cell.state !== "waiting" ? [["Its log", `saesweep logs ${at} ${name}`]] : []),
    adviceOf(run, cell.state),
  ];
  const files = ["Its files", `${run.folder}/cells/${cell.name}`];
  return make("div", { class: "commands" }, [...commands, files].map(([what, command]) =>
    make("div", {}, make("b", {}, what), make("code", {}, command), copyButton(command))));
};

const copyButton = (text) => {
  const button = make("button", { type: "button", class: "copy", "aria-label": `Copy: ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
};
