// One cell, opened: what it is, how it came to be, and how to take it away.

let opened = null;

const openPoint = (point) => openCell(point, point.cells[0]);

const openCell = async (point, index, move = true) => {
  hideTip();
  opened = { point, index };
  const { run } = point, cell = run.cells[index];
  const section = byId("cell");
  section.hidden = false;
  fill(byId("cell-title"), several ? `${run.label}: ${cell.name}` : cell.name);
  const body = byId("cell-body");
  const plots = make("div", { class: "plots" });
  fill(body, seedsOf(point, index), stateOf(cell),
    make("div", { class: "facts" }, animationOf(cell), settingsOf(run, cell), numbersOf(point, index)),
    plots, make("p", { class: "quiet" }), commandsOf(run, cell));
  if (move) {
    history.replaceState(null, "", `#${encodeURIComponent(run.label)}/${encodeURIComponent(cell.name)}`);
    byId("cell-title").focus({ preventScroll: true });
    section.scrollIntoView({ block: "start" });
    say(`${cell.name} opened`);
  }
  const details = JSON.parse(await unpack(run.details[index]));
  await plotlyIsThere;
  if (opened.index !== index || opened.point !== point) return;
  const made = plotsOf(details);
  fill(plots, made.map((plot) => plot.holder));
  made.forEach((plot) => plot.draw());
  const shown = details.curves ? details.curves.epoch.length : 0;
  if (shown < details.of) body.querySelector("p.quiet:last-of-type").textContent = `${shown} of ${details.of} snapshots are drawn; history.csv has all.`;
};

const closeCell = () => {
  opened = null;
  byId("cell").hidden = true;
  history.replaceState(null, "", "#");
  byId("matrices").scrollIntoView({ block: "start" });
};

const seedsOf = (point, index) => {
  const cells = point.cells.length > 1 ? point.cells : [];
  const step = (by) => {
    const all = points.filter((other) => other.run === point.run);
    openPoint(all[(all.indexOf(all.find((p) => p.cells.includes(index))) + by + all.length) % all.length]);
  };
  return make("p", { class: "controls" },
    make("button", { type: "button", onclick: () => step(-1) }, "← Previous"), make("button", { type: "button", onclick: () => step(1) }, "Next →"),
    make("button", { type: "button", onclick: closeCell }, "Close"),
    cells.map((other) => make("button", { type: "button", "aria-pressed": String(other === index), onclick: () => openCell(point, other) },
      `${other === index ? "● " : ""}${seedName(point.run, other)}`)));
};

const seedName = (run, index) => `seed ${run.cells[index].axes[run.columns.indexOf("seed")]}`;

const stateOf = (cell) => {
  if (cell.state === "done") return null;
  return make("div", { class: "alarm" }, make("b", {}, cell.state), cell.reason ? `: ${cell.reason}` : "", cell.log ? make("pre", { tabindex: 0 }, cell.log) : null);
};

const animationOf = (cell) => {
  if (!cell.animation) return null;
  const { kind, source } = cell.animation;
  const words = `The dictionary of ${cell.name} as it is learned`;
  return kind === "video/mp4" ? make("video", { src: source, controls: true, muted: true, loop: true }) : make("img", { src: source, alt: words, loading: "lazy", width: 330 });
};

const rowsOf = (pairs) => make("table", {}, make("tbody", {}, pairs.map(([name, ...values]) =>
  make("tr", {}, make("th", { scope: "row" }, name), values.map((value) => make("td", {}, value))))));

const settingsOf = (run, cell) => {
  const pairs = run.columns.map((name, i) => [name, cell.axes[i]]).filter(([, value]) => value != null && value !== "");
  return make("div", {}, make("h3", {}, "Hyperparameters"), rowsOf(pairs.map(([name, value]) => [name, format(value)])));
};

const numbersOf = (point, index) => {
  const { run } = point, seeds = point.cells.length > 1;
  const keys = Object.keys(run.metrics).filter((key) => run.metrics[key][index] != null);
  if (!keys.length) return null;
  const half = Math.ceil(keys.length / 2);
  const table = (some) => rowsOf(some.map((key) => [make("span", { title: data.metrics[key].definition }, key), format(run.metrics[key][index], 5),
    ...(seeds ? [make("span", { class: "quiet" }, `mean ${format(point.mean[key])}${spreadOf(point, key)}`)] : [])]));
  return make("div", { class: "numbers" }, make("h3", {}, "Metrics"), make("div", { class: "facts wide" }, table(keys.slice(0, half)), table(keys.slice(half))));
};

const commandsOf = (run, cell) => {
  const at = quoted(run.path), name = quoted(cell.name);
  const commands = cell.state === "done" ? [
    ["Hand it on", `saesweep export ${at} ${name} --to saelens`],
    ["What it is", `saesweep sae ${at} ${name}`],
    ...(run.known ? [["Watch it learn", `saesweep gif ${at} ${name}`]] : []),
    ["In Python", `saesweep.Run(${JSON.stringify(run.path)}).sae(${JSON.stringify(cell.name)})`],
    ["Its files", `${run.folder}/cells/${cell.name}`],
  ] : [["Its log", `saesweep logs ${at} ${name}`], ["Train it again", `saesweep resume ${at} --retry-failed`], ["Its files", `${run.folder}/cells/${cell.name}`]];
  return make("div", { class: "commands" }, commands.map(([what, command]) => make("div", {}, make("b", {}, what), make("code", {}, command), copyButton(command))));
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
