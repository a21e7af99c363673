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
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) =>
    make("span", { class: "tick", style: `left:${100 * share}%` }, format(back(scale.low + share * (scale.high - scale.low)), 3)));
  const bar = make("div", { class: "scale", style: `background:linear-gradient(90deg,${VIRIDIS.join(",")})` }, ticks);
  const inside = marks.map(([name, value]) => [name, value, scale.place(value)]).filter(([, , share]) => share >= 0 && share <= 1);
  inside.sort((a, b) => a[2] - b[2]);
  const shown = inside.filter(([, , share], i) => i === 0 || share - inside[i - 1][2] > 0.16);
  bar.append(...shown.map(([name, value, share]) =>
    make("span", { class: "mark", style: `left:${100 * share}%` }, `${name} ${format(value, 3)}`)));
  const words = marks.map(([name, value]) => `${name} ${format(value, 3)}`).join(", ");
  return fill(holder, bar, make("p", { class: "quiet" },
    `${scale.log ? "Logarithmic scale. " : ""}${words ? `To compare with: ${words}.` : ""}`));
};
