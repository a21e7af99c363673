"""Metrics over training: a panel a dictionary size, a line a value of the sparsity axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saesweep.figures.grid.curve_parts import (
    GAP,
    LEFT,
    draw_key,
    draw_levels,
    draw_names,
    key_width,
    scale,
    stroke,
    strokes,
)
from saesweep.figures.style import (
    GREY,
    INK,
    MARGIN,
    TICK,
    WIDTH,
    Colour,
    Sheet,
    line_height,
    rank_colours,
    ticks,
)
from saesweep.sparsity import SparsityAxis


@dataclass(frozen=True)
class Line:
    """One cell: points `x`, `y` [n], the sparsity that colours it, and its variant.

    `variant` numbers the values of the grid's other axes (learning rate): a stroke each. `band`
    [2, n] is filled from its first row to its second.
    """

    x: np.ndarray
    y: np.ndarray
    sparsity: float
    variant: int = 0
    band: np.ndarray | None = None


@dataclass(frozen=True)
class CurvePanel:
    """The lines of one dictionary size, and levels to compare them with (name -> value)."""

    title: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = field(default_factory=dict)


def training_curves(
    panels: Sequence[CurvePanel],
    *,
    title: str,
    axis: SparsityAxis,
    note: str = "",
    caption: Sequence[str] = (),
    variants: Sequence[str] = ("",),
) -> Figure:
    """A metric over the epochs: a panel a dictionary size, a line a value of the sparsity `axis`.

    `variants` names what differs between lines of one size and value.
    """
    lines = [line for panel in panels for line in panel.lines]
    across = _across(len(panels))
    down = ceil(len(panels) / across)
    samples = strokes(variants)
    sparsity = [line.sparsity for line in lines]
    key = key_width(sparsity, list(samples), axis.title)
    wide = (WIDTH - MARGIN - LEFT - key - GAP * across) / across
    high = 1.9 if across <= 2 else 1.45
    step = high + 0.26
    sheet = Sheet(title, note, down * step + 0.26, caption)
    levels = [np.array(list(panel.levels.values())) for panel in panels]
    bands = [line.band.ravel() for line in lines if line.band is not None]
    values = np.concatenate([np.empty(0), *(line.y for line in lines), *bands, *levels])
    last = max((float(line.x[-1]) for line in lines if line.x.size), default=0.0) or 1.0
    headroom = 0.2 / high if any(panel.levels for panel in panels) else 0.04
    for index, panel in enumerate(panels):
        row, column = divmod(index, across)
        axes = sheet.axes(LEFT + column * (wide + GAP), 0.18 + row * step, wide, high)
        scale(axes, "y", values, headroom)
        axes.set_xlim(0, last)
        ticks(axes.xaxis, 3 if wide < 1.6 else 5)
        _plot(axes, panel.lines, rank_colours(sparsity), len(variants))
        draw_levels(axes, panel.levels)
        axes.set_title(panel.title, fontsize=TICK, loc="left", pad=3, color=INK)
        lowest = index + across >= len(panels)
        axes.tick_params(labelleft=column == 0, labelbottom=lowest)
        if lowest:
            axes.set_xlabel("epoch", fontsize=TICK, labelpad=2, color=GREY)
    side = WIDTH - key
    room = down * step - len(samples) * line_height() - 0.3
    bottom = draw_key(sheet, side, 0.12, room, sparsity, axis.title)
    draw_names(sheet, side, bottom + 0.2, samples)
    return sheet.figure


def _across(panels: int) -> int:
    """Panels side by side: at most four, and no row with a single one left over if avoidable."""
    if panels <= 3:
        return max(panels, 1)
    return 2 if panels == 4 else 3 if panels <= 6 else 4


def _plot(
    axes: Axes,
    lines: Sequence[Line],
    colours: Mapping[float, Colour],
    variants: int,
) -> None:
    for line in lines:
        if line.band is not None:
            _fill(axes, line.x, line.band, colours[line.sparsity], len(lines))
        axes.plot(
            line.x,
            np.where(np.isfinite(line.y), line.y, np.nan),
            color=colours[line.sparsity],
            linewidth=1.0 if len(lines) <= 12 else 0.7,
            linestyle=stroke(line.variant, variants),
        )
    if not any(np.isfinite(line.y).any() for line in lines):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", fontsize=TICK)


def _fill(
    axes: Axes,
    x: np.ndarray,
    band: np.ndarray,
    colour: Colour,
    bands: int,
) -> None:
    """One of so many bands: paler the more there are to lie over each other, with thin edges."""
    shade = max(0.08, min(0.25, 0.8 / bands))
    axes.fill_between(x, *band, color=colour, alpha=shade, linewidth=0, zorder=1)
    axes.fill_between(x, *band, facecolor="none", edgecolor=colour, alpha=0.4, linewidth=0.3)
