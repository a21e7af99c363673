"""Sparsity against error: L0 against FVU, over the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Sheet,
    level,
    penalty_colours,
)


@dataclass(frozen=True)
class Front:
    """What one dictionary size reaches: `l0` and `fvu` [n] at the penalties `l1` [n].

    `l0_bars` and `fvu_bars` [2, n] are the ends of bars through the points.
    """

    size: int
    l1: np.ndarray
    l0: np.ndarray
    fvu: np.ndarray
    variant: int = 0
    l0_bars: np.ndarray | None = None
    fvu_bars: np.ndarray | None = None


def trade_off(
    fronts: Sequence[Front],
    *,
    title: str,
    caption: Sequence[str] = (),
    true_l0: float = float("nan"),
    variants: Sequence[str] = ("",),
) -> Figure:
    """L0 against FVU: a line a dictionary size, points coloured by L1, the true L0 dashed."""
    l1 = sorted({float(value) for front in fronts for value in front.l1})
    sizes = sorted({front.size for front in fronts})
    marks = {size: MARKERS[index % len(MARKERS)] for index, size in enumerate(sizes)}
    names = {
        f"{size} latents": Line2D([0.5], [0], marker=mark, color=GREY, markersize=4)
        for size, mark in marks.items()
    }
    samples = strokes(variants)
    key = key_width(l1, [*names, *samples])
    wide, high = WIDTH - MARGIN - LEFT - key - GAP, 3.0
    note = "lower and further left is better: less error with fewer active latents"
    sheet = Sheet(title, note, high + 0.5, caption)
    axes = sheet.axes(LEFT, 0.16, wide, high)
    points = np.concatenate([np.empty((0, 2)), *(_finite(front)[:, :2] for front in fronts)])
    ends = np.concatenate([points, *(_bars(front)[0].reshape(-1, 2) for front in fronts)])
    scale(axes, "x", np.append(ends[:, 0], true_l0), headroom=0.14)
    scale(axes, "y", ends[:, 1])
    axes.set_xlabel(
        "L0: mean number of active latents per sample", fontsize=TICK, labelpad=2, color=GREY
    )
    axes.set_ylabel("FVU: fraction of variance unexplained", fontsize=TICK, labelpad=3, color=GREY)
    for front in fronts:
        _draw_front(axes, front, marks[front.size], penalty_colours(l1), len(variants))
    _draw_true_l0(axes, true_l0)
    if not points.size:
        axes.text(
            0.97, 0.5, "no cell has a value", transform=axes.transAxes, ha="right", fontsize=TICK
        )
    starts = {f"{f.size} latents": _finite(f)[0, :2] for f in fronts if _finite(f).size}
    bottom = draw_key(sheet, WIDTH - key, 0.12, 2.4 - 0.14 * (len(names) + len(samples)), l1)
    paths = [_finite(front)[:, :2] for front in fronts]
    # Not beside several variants of a size, nor among bars.
    room = len(starts) == len(fronts) and not any(len(_bars(front)[0]) for front in fronts)
    places = [(x, y) for x, y in starts.values()]
    if not room or not label_points(axes, places, list(starts), paths):
        samples = {**names, **samples}
    draw_names(sheet, WIDTH - key, bottom + 0.2, samples)
    return sheet.figure


def _finite(front: Front) -> np.ndarray:
    """The points of a front as rows (l0, fvu, l1), by rising L1 penalty; [n, 3]."""
    rows = np.stack([front.l0, front.fvu, front.l1], axis=1)[np.argsort(front.l1)]
    kept: np.ndarray = rows[np.isfinite(rows).all(axis=1)]
    return kept


def _bars(front: Front) -> tuple[np.ndarray, np.ndarray]:
    """The bars of a front from end to end, in l0 and fvu, [m, 2, 2]; the L1 penalty of each [m]."""
    bars = [np.empty((0, 2, 2))]
    if front.l0_bars is not None:
        bars.append(np.stack([np.stack([end, front.fvu], axis=1) for end in front.l0_bars], axis=1))
    if front.fvu_bars is not None:
        bars.append(np.stack([np.stack([front.l0, end], axis=1) for end in front.fvu_bars], axis=1))
    found, l1 = np.concatenate(bars), np.tile(front.l1, len(bars) - 1)
    kept = np.isfinite(found).all(axis=(1, 2))
    return found[kept], l1[kept]


def _draw_front(
    axes: Axes,
    front: Front,
    mark: str,
    colours: Mapping[float, tuple[float, float, float, float]],
    variants: int,
) -> None:
    rows = _finite(front)
    style = stroke(front.variant, variants)
    axes.plot(rows[:, 0], rows[:, 1], color="#b0b0b0", linewidth=0.8, linestyle=style, zorder=1)
    shades = [colours[float(value)] for value in rows[:, 2]]
    axes.scatter(
        rows[:, 0],
        rows[:, 1],
        s=20,
        c=shades,
        marker=mark,
        edgecolors="white",
        linewidths=0.4,
        zorder=2,
    )
    bars, l1 = _bars(front)
    shades = [colours[float(value)] for value in l1]
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
