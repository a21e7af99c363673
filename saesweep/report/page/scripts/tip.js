// What is known of a point, beside the pointer or the cell that the keyboard is on.

const showTip = (point, chosen, x, y) => {
  const tip = byId("tip");
  const values = known.filter((key) => key in point.mean).map((key) => {
    const mark = { class: key === chosen ? "chosen" : null };
    return [make("dt", mark, key), make("dd", mark, format(point.mean[key]) + spreadOf(point, key))];
  });
  const seeds = point.cells.length > 1 ? `mean ± standard deviation of ${point.done} of ${point.cells.length} seeds` : "";
  const words = [models.size > 1 ? point.model : "", stateWords(point), seeds].filter(Boolean).join("; ");
  fill(tip, make("b", {}, nameOf(point)), make("div", {}, words), make("dl", {}, values));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, window.innerWidth - width - 4))}px`;
  tip.style.top = `${y + 14 + height < window.innerHeight ? y + 14 : Math.max(4, y - height - 14)}px`;
};

const hideTip = () => { byId("tip").hidden = true; };
