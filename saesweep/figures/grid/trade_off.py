"""Sparsity against how well a cell does: L0 against a metric, for all variants of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from saesweep.figures.grid.curve_parts import (
    GAP,
    LEFT,
    MARKERS,
    draw_key,
    draw_names,
    key_width,
    scale,
    stroke,
    strokes,
)
from saesweep.figures.labels import label_points
from saesweep.figures.style import (
    GREY,
    MARGIN,
    TICK,
    WIDTH,
    Colour,
    Sheet,
    level,
    line_height,
    name_colours,
    rank_colours,
)
from saesweep.sparsity import SparsityAxis

HIGH = 3.0
"""Inches of the axes."""
BETWEEN = "#b0b0b0"
"""Lines between points whose colours differ."""


@dataclass(frozen=True)
class Front:
    """What one dictionary size reaches: `l0` and `y` [n] at the values `sparsity` [n] of `axis`.

    `variant` is that of the autoencoder, `others` the values of further axes in words. `l0_bars`
    and `y_bars` [2, n] are the ends of bars through the points.
    """

    size: int
    axis: SparsityAxis
    sparsity: np.ndarray
    l0: np.ndarray
    y: np.ndarray
    variant: str = "relu"
    others: str = ""
    l0_bars: np.ndarray | None = None
    y_bars: np.ndarray | None = None


def trade_off(
    fronts: Sequence[Front],
    *,
    title: str,
    note: str = "",
    y_name: str = "",
    caption: Sequence[str] = (),
    true_l0: float = float("nan"),
) -> Figure:
    """L0 against a metric: a line a dictionary size of a variant, the true L0 dashed.

    Points are coloured by their sparsity; where there are several variants, by their variant.
    """
    key = _Key(fronts)
    wide = WIDTH - MARGIN - LEFT - key.width - GAP
    sheet = Sheet(title, note, HIGH + 0.5, [*caption, *key.words()])
    axes = sheet.axes(LEFT, 0.16, wide, HIGH)
    points = np.concatenate([np.empty((0, 2)), *(_finite(front)[:, :2] for front in fronts)])
    ends = np.concatenate([points, *(_bars(front)[0].reshape(-1, 2) for front in fronts)])
    log_above = 10 if key.variants else 100  # variants meet at a few active latents
    scale(axes, "x", np.append(ends[:, 0], true_l0), 0.14, log_above)
    scale(axes, "y", ends[:, 1])
    axes.set_xlabel(
        "L0: mean number of active latents per sample", fontsize=TICK, labelpad=2, color=GREY
    )
    axes.set_ylabel(y_name, fontsize=TICK, labelpad=3, color=GREY)
    for front in fronts:
        _draw_front(axes, front, key.marks[front.size], key)
    _draw_true_l0(axes, true_l0)
    if not points.size:
        axes.text(
            0.97, 0.5, "no cell has a value", transform=axes.transAxes, ha="right", fontsize=TICK
        )
    key.draw(sheet, named=not key.variants and _name_sizes(axes, fronts))
    return sheet.figure


class _Key:
    """What the colours, markers and strokes of `fronts` mean, and how they are told beside them."""

    def __init__(self, fronts: Sequence[Front]) -> None:
        names = list(dict.fromkeys(front.variant for front in fronts))
        sizes = sorted({front.size for front in fronts})
        self.variants = name_colours(names) if len(names) > 1 else {}
        self.others = sorted(dict.fromkeys(front.others for front in fronts), key=bool)
        """Strokes by their number; the first where a variant has no further axes."""
        self.marks = {size: MARKERS[index % len(MARKERS)] for index, size in enumerate(sizes)}
        self.axes: dict[SparsityAxis, list[str]] = {}
        for front in fronts:
            if front.variant not in self.axes.setdefault(front.axis, []):
                self.axes[front.axis].append(front.variant)
        values = {float(value) for front in fronts for value in front.sparsity}
        self._values = [] if self.variants else sorted(values)
        self._ranks = rank_colours(self._values)
        self._title = "variant" if self.variants else " ".join(axis.title for axis in self.axes)
        self._strokes = strokes(self.others)
        self._strokes.pop("", None)
        self._sizes = {
            f"{size} latents": Line2D([0.5], [0], marker=mark, color=GREY, markersize=4)
            for size, mark in self.marks.items()
        }
        self._variants = {
            name: Line2D([0, 1], [0, 0], color=colour, linewidth=2)
            for name, colour in self.variants.items()
        }
        samples = [*self._variants, *self._sizes, *self._strokes]
        self.width = key_width(self._values, samples, self._title)

    def shade(self, front: Front, sparsity: float) -> Colour:
        """The colour of a point."""
        return self.variants[front.variant] if self.variants else self._ranks[sparsity]

    def words(self) -> list[str]:
        """What lines join, where colours do not say it."""
        if not self.variants:
            return []
        orders = [f"{axis.title} ({', '.join(names)})" for axis, names in self.axes.items()]
        return [
            "Lines join the points of one variant and dictionary size, in the order of what makes "
            f"them sparse: {'; '.join(orders)}."
        ]

    def draw(self, sheet: Sheet, named: bool) -> None:
        """Beside the axes; without the sizes where they are `named` there."""
        left, samples = WIDTH - self.width, self._strokes
        if not named:
            samples = {**self._sizes, **samples}
        if self.variants:
            sheet.text(left, 0.12, self._title, va="baseline", color=GREY)
            draw_names(sheet, left, 0.24, self._variants)
            bottom = 0.24 + len(self._variants) * line_height() - 0.1
        else:
            room = 2.4 - 0.14 * (len(self._sizes) + len(self._strokes))
            bottom = draw_key(sheet, left, 0.12, room, self._values, self._title)
        draw_names(sheet, left, bottom + 0.2, samples)


def _name_sizes(axes: Axes, fronts: Sequence[Front]) -> bool:
    """Write each size where its line begins, if there is room for all."""
    starts = {f"{f.size} latents": _finite(f)[0, :2] for f in fronts if _finite(f).size}
    paths = [_finite(front)[:, :2] for front in fronts]
    # Not beside several lines of a size, nor among bars.
    room = len(starts) == len(fronts) and not any(len(_bars(front)[0]) for front in fronts)
    places = [(x, y) for x, y in starts.values()]
    return room and label_points(axes, places, list(starts), paths)


def _finite(front: Front) -> np.ndarray:
    """The points of a front as rows (l0, y, sparsity), by rising sparsity value; [n, 3]."""
    rows = np.stack([front.l0, front.y, front.sparsity], axis=1)[np.argsort(front.sparsity)]
    kept: np.ndarray = rows[np.isfinite(rows).all(axis=1)]
    return kept


def _bars(front: Front) -> tuple[np.ndarray, np.ndarray]:
    """The bars of a front from end to end, in l0 and y, [m, 2, 2]; the sparsity of each [m]."""
    bars = [np.empty((0, 2, 2))]
    if front.l0_bars is not None:
        bars.append(np.stack([np.stack([end, front.y], axis=1) for end in front.l0_bars], axis=1))
    if front.y_bars is not None:
        bars.append(np.stack([np.stack([front.l0, end], axis=1) for end in front.y_bars], axis=1))
    found, sparsity = np.concatenate(bars), np.tile(front.sparsity, len(bars) - 1)
    kept = np.isfinite(found).all(axis=(1, 2))
    return found[kept], sparsity[kept]


def _draw_front(axes: Axes, front: Front, mark: str, key: _Key) -> None:
    rows = _finite(front)
    style = stroke(key.others.index(front.others), len(key.others))
    colour = key.variants.get(front.variant, BETWEEN)
    axes.plot(rows[:, 0], rows[:, 1], color=colour, linewidth=0.8, linestyle=style, zorder=1)
    axes.scatter(
        rows[:, 0],
        rows[:, 1],
        s=20,
        c=[key.shade(front, float(value)) for value in rows[:, 2]],
        marker=mark,
        edgecolors="white",
        linewidths=0.4,
        zorder=2,
    )
    bars, sparsity = _bars(front)
    shades = [key.shade(front, float(value)) for value in sparsity]
    thin = LineCollection(list(bars), colors=shades, linewidths=0.6, alpha=0.6, zorder=1.5)
    axes.add_collection(thin)


def _draw_true_l0(axes: Axes, true_l0: float) -> None:
    if not np.isfinite(true_l0):
        return
    axes.axvline(true_l0, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0)
    axes.text(
        true_l0,
        1.015,
        f"true L0 {level(true_l0)}",
        ha="center",
        va="bottom",
        fontsize=TICK,
        color=GREY,
        transform=axes.get_xaxis_transform(),
    )
