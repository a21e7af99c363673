"""Curves over the grid: metrics over training, and the trade-off of sparsity against error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from saesweep.figures.curve_parts import (
    MARKERS,
    draw_key,
    draw_levels,
    draw_names,
    key_width,
    scale,
    stroke,
)
from saesweep.figures.labels import label_points
from saesweep.figures.style import (
    GREY,
    INK,
    MARGIN,
    TICK,
    WIDTH,
    Sheet,
    level,
    line_height,
    penalty_colours,
    ticks,
)

LEFT, GAP = 0.62, 0.28


@dataclass(frozen=True)
class Line:
    """One cell: points `x`, `y` [n], the L1 penalty that colours it, and its variant.

    `variant` numbers the values of the grid's other axes (seed, learning rate): a stroke each.
    """

    x: np.ndarray
    y: np.ndarray
    l1: float
    variant: int = 0


@dataclass(frozen=True)
class CurvePanel:
    """The lines of one dictionary size, and levels to compare them with (name -> value)."""

    title: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Front:
    """What one dictionary size reaches: `l0` and `fvu` [n] at the penalties `l1` [n]."""

    size: int
    l1: np.ndarray
    l0: np.ndarray
    fvu: np.ndarray
    variant: int = 0


def training_curves(
    panels: Sequence[CurvePanel],
    *,
    title: str,
    note: str = "",
    caption: Sequence[str] = (),
    variants: Sequence[str] = ("",),
) -> Figure:
    """A metric over the epochs: a panel a dictionary size, a line an L1 penalty, shared axes.

    `variants` names what differs between lines of one size and penalty.
    """
    lines = [line for panel in panels for line in panel.lines]
    across = _across(len(panels))
    down = ceil(len(panels) / across)
    samples = _strokes(variants)
    l1 = [line.l1 for line in lines]
    key = key_width(l1, list(samples))
    wide = (WIDTH - MARGIN - LEFT - key - GAP * across) / across
    high = 1.9 if across <= 2 else 1.45
    step = high + 0.26
    sheet = Sheet(title, note, down * step + 0.26, caption)
    levels = [np.array(list(panel.levels.values())) for panel in panels]
    values = np.concatenate([np.empty(0), *(line.y for line in lines), *levels])
    last = max((float(line.x[-1]) for line in lines if line.x.size), default=0.0) or 1.0
    headroom = 0.2 / high if any(panel.levels for panel in panels) else 0.04
    for index, panel in enumerate(panels):
        row, column = divmod(index, across)
        axes = sheet.axes(LEFT + column * (wide + GAP), 0.18 + row * step, wide, high)
        scale(axes, "y", values, headroom)
        axes.set_xlim(0, last)
        ticks(axes.xaxis, 3 if wide < 1.6 else 5)
        _plot(axes, panel.lines, penalty_colours(l1), len(variants))
        draw_levels(axes, panel.levels)
        axes.set_title(panel.title, fontsize=TICK, loc="left", pad=3, color=INK)
        lowest = index + across >= len(panels)
        axes.tick_params(labelleft=column == 0, labelbottom=lowest)
        if lowest:
            axes.set_xlabel("epoch", fontsize=TICK, labelpad=2, color=GREY)
    side = WIDTH - key
    room = down * step - len(samples) * line_height() - 0.3
    bottom = draw_key(sheet, side, 0.12, room, l1)
    draw_names(sheet, side, bottom + 0.2, samples)
    return sheet.figure


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
    samples = _strokes(variants)
    key = key_width(l1, [*names, *samples])
    wide, high = WIDTH - MARGIN - LEFT - key - GAP, 3.0
    note = "lower and further left is better: less error with fewer active latents"
    sheet = Sheet(title, note, high + 0.5, caption)
    axes = sheet.axes(LEFT, 0.16, wide, high)
    points = np.concatenate([np.empty((0, 2)), *(_finite(front)[:, :2] for front in fronts)])
    scale(axes, "x", np.append(points[:, 0], true_l0), headroom=0.14)
    scale(axes, "y", points[:, 1])
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
    ends = {f"{f.size} latents": _finite(f)[0, :2] for f in fronts if _finite(f).size}
    bottom = draw_key(sheet, WIDTH - key, 0.12, 2.4 - 0.14 * (len(names) + len(samples)), l1)
    paths = [_finite(front)[:, :2] for front in fronts]
    alone = len(ends) == len(fronts)  # not several variants of a size
    if not alone or not label_points(axes, [(x, y) for x, y in ends.values()], list(ends), paths):
        samples = {**names, **samples}
    draw_names(sheet, WIDTH - key, bottom + 0.2, samples)
    return sheet.figure


def _across(panels: int) -> int:
    """Panels side by side: at most four, and no row with a single one left over if avoidable."""
    if panels <= 3:
        return max(panels, 1)
    return 2 if panels == 4 else 3 if panels <= 6 else 4


def _strokes(variants: Sequence[str]) -> dict[str, Line2D]:
    """A sample of each variant's stroke; none where there is nothing to tell apart."""
    if len(variants) < 2 or stroke(1, len(variants)) == stroke(0, len(variants)):
        return {}
    return {
        name: Line2D([0, 1], [0, 0], color=INK, linewidth=1, linestyle=stroke(i, len(variants)))
        for i, name in enumerate(variants)
    }


def _plot(
    axes: Axes,
    lines: Sequence[Line],
    colours: Mapping[float, tuple[float, float, float, float]],
    variants: int,
) -> None:
    for line in lines:
        axes.plot(
            line.x,
            np.where(np.isfinite(line.y), line.y, np.nan),
            color=colours[line.l1],
            linewidth=1.0 if len(lines) <= 12 else 0.7,
            linestyle=stroke(line.variant, variants),
        )
    if not any(np.isfinite(line.y).any() for line in lines):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", fontsize=TICK)


def _finite(front: Front) -> np.ndarray:
    """The points of a front as rows (l0, fvu, l1), by rising L1 penalty; [n, 3]."""
    rows = np.stack([front.l0, front.fvu, front.l1], axis=1)[np.argsort(front.l1)]
    kept: np.ndarray = rows[np.isfinite(rows).all(axis=1)]
    return kept


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
