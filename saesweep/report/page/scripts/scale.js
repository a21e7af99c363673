// The colour scale, with chance, classical baselines and the truth marked on it.

const scaleOf = (values) => {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return null;
  const log = wantsLog(finite);
  const at = log ? Math.log10 : (x) => x;
  let [low, high] = [at(Math.min(...finite)), at(Math.max(...finite))];
  // Differences that the written digits do not show should not span all colours.
  const spare = log ? 0 : Math.max(0, 0.004 * Math.max(Math.abs(low), Math.abs(high)) - (high - low)) / 2;
  [low, high] = [low - spare, high + spare];
  if (low === high) high = low + 1;
  return { log, low, high, place: (x) => (at(x) - low) / (high - low), z: (x) => (Number.isFinite(x) ? at(x) : null) };
};

const drawScale = (scale, marks) => {
  const holder = byId("scale");
  if (!scale) return fill(holder);
  const back = scale.log ? (x) => 10 ** x : (x) => x;
  const on = (kind, share, words) => ({ share, line: make("i", { class: kind, style: `left:${100 * share}%` }),
    label: make("span", { class: kind }, words) });
  const shares = [0, 0.25, 0.5, 0.75, 1];
  const texts = labelsOf(shares.map((share) => back(scale.low + share * (scale.high - scale.low))));
  const below = shares.map((share, i) => on("tick", share, texts[i]));
  const above = marks.map(([name, value]) => on("mark", scale.place(value), `${name} ${format(value, 3)}`))
    .filter(({ share }) => share >= 0 && share <= 1).sort((a, b) => a.share - b.share);
  const bar = make("div", { class: "scale", style: `background:linear-gradient(90deg,${VIRIDIS.join(",")})` },
    [...below, ...above].map(({ line, label }) => [line, label]));
  const words = marks.map(([name, value]) => `${name} ${format(value, 3)}`).join("; ");
  fill(holder, bar, make("p", { class: "quiet" },
    `${scale.log ? "Logarithmic scale. " : ""}${words ? `To compare with: ${words}.` : ""}`));
  setApart(bar, below);
  setApart(bar, above);
};

// Labels where their lines are, as far as the bar goes; one that would lie over another is not shown, its line is.
const ROOM = 8, BEYOND = 20;
const setApart = (bar, placed) => {
  const width = bar.clientWidth;
  let end = -Infinity;
  for (const { share, label } of placed) {
    const wide = label.offsetWidth;
    const left = Math.max(-BEYOND, Math.min(width + BEYOND - wide, share * width - wide / 2));
    label.style.left = `${(100 * left) / width}%`;
    label.style.visibility = left < end + ROOM ? "hidden" : "visible";
    if (left >= end + ROOM) end = left + wide;
  }
};
