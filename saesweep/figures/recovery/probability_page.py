"""Many small scatters with shared axes, drawn as one: panels by dictionary size and sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.recovery.probability_scale import Scale
from saesweep.figures.style import (
    BLUE,
    GREY,
    MARGIN,
    NARROW,
    RED,
    TICK,
    WIDTH,
    Sheet,
    line_height,
    number,
    text_width,
)

Place = tuple[int, float]
"""Dictionary size, and value on the sparsity axis."""
Floats = np.ndarray

GAP = 0.06
TALLEST = 7.2
"""Inches that all panels together may be high."""
MOST_DOTS = 150_000
"""Dots in a figure; where there are more, each panel shows an even choice of them."""
APART = 0.13
"""Inches that tick labels need from middle to middle."""


@dataclass(frozen=True)
class Layout:
    """Where the panels stand; inches, from the corner of the field that holds them all."""

    grid: Grid
    wide: float
    high: float
    left: float

    @property
    def field(self) -> tuple[float, float]:
        """Width and height of all panels."""
        columns, rows = len(self.grid.sparsity), len(self.grid.sizes)
        return columns * (self.wide + GAP) - GAP, rows * (self.high + GAP) - GAP

    def corner(self, place: Place) -> tuple[float, float]:
        """Left and top of a panel."""
        row, column = self.grid.sizes.index(place[0]), self.grid.sparsity.index(place[1])
        return column * (self.wide + GAP), row * (self.high + GAP)

    def at(self, place: Place, points: Floats, scales: tuple[Scale, Scale]) -> Floats:
        """Points [k, 2] of a panel as places in the field [k, 2], y downwards."""
        left, top = self.corner(place)
        return np.column_stack(
            [
                left + self.wide * scales[0](points[:, 0]),
                top + self.high * (1 - scales[1](points[:, 1])),
            ]
        )


def layout(grid: Grid) -> Layout:
    """Panels as large as the page allows, not larger than they need be."""
    columns, rows = len(grid.sparsity), len(grid.sizes)
    left = MARGIN + line_height() + 0.1 + max(map(text_width, grid.row_names)) + 0.36
    wide = min(2.6, (WIDTH - MARGIN - 0.1 - left + GAP) / columns - GAP)
    wide = max(wide, 0.01)
    high = min(2.0, max(0.62, 0.85 * wide), (TALLEST + GAP) / rows - GAP)
    return Layout(grid, wide, max(high, 0.01), left)


def draw_page(
    grid: Grid,
    points: Mapping[Place, Floats],
    means: Mapping[Place, Floats],
    empty: Mapping[Place, str],
    scales: tuple[Scale, Scale],
    threshold: float,
    *,
    title: str,
    note: str,
    x_name: str,
    caption: Sequence[str],
) -> Figure:
    """Draw ``points`` and ``means`` [k, 2] of each panel; those in ``empty`` get its word."""
    page = layout(grid)
    wide, high = page.field
    width = max(NARROW, page.left + wide + MARGIN + 0.1)
    sheet = Sheet(title, note, 0.3 + high + 0.4, caption, width)
    axes = sheet.axes(page.left, 0.3, wide, high)
    axes.set(xlim=(0, wide), ylim=(high, 0))
    axes.spines[:].set_visible(False)
    _draw_frames(axes, page, points, empty)
    _draw_points(axes, page, points, scales)
    _draw_lines(axes, page, means, scales, threshold)
    _label(sheet, axes, page, scales, x_name)
    return sheet.figure


def _draw_frames(
    axes: Axes, page: Layout, points: Mapping[Place, Floats], empty: Mapping[Place, str]
) -> None:
    for place in {**points, **empty}:
        blank = place in empty
        frame = Rectangle(page.corner(place), page.wide, page.high, linewidth=0.4, zorder=0)
        frame.set(facecolor="#ececec" if blank else "white", edgecolor="#c4c4c4", clip_on=False)
        axes.add_patch(frame)
        if blank:
            _write_why(axes, page, place, empty[place])


def _write_why(axes: Axes, page: Layout, place: Place, word: str) -> None:
    """Write ``word`` across an empty panel, or upright, or not at all: where there is room."""
    left, top = page.corner(place)
    long, short = text_width(word) + 0.04, APART
    across = long <= page.wide and short <= page.high
    if across or (short <= page.wide and long <= page.high):
        axes.text(
            left + page.wide / 2,
            top + page.high / 2,
            word,
            rotation=0 if across else 90,
            ha="center",
            va="center",
            fontsize=TICK,
        )


def _draw_points(
    axes: Axes, page: Layout, points: Mapping[Place, Floats], scales: tuple[Scale, Scale]
) -> None:
    step = ceil(sum(map(len, points.values())) / MOST_DOTS) or 1
    places = [page.at(place, some[::step], scales) for place, some in points.items()]
    dots = np.concatenate([np.empty((0, 2)), *places])
    most = max(map(len, places), default=1) or 1
    # Dots should cover no more than about a third of a panel.
    size = float(np.clip(72 * np.sqrt(page.wide * page.high / most / 3), 0.8, 3.6))
    axes.plot(
        dots[:, 0],
        dots[:, 1],
        "o",
        color=BLUE,
        alpha=0.8 if most <= 12 else 0.45,
        markersize=size,
        markeredgewidth=0,
        clip_on=False,
        zorder=2,
    )


def _draw_lines(
    axes: Axes,
    page: Layout,
    means: Mapping[Place, Floats],
    scales: tuple[Scale, Scale],
    threshold: float,
) -> None:
    """The running means, as one line with breaks, and the threshold of each panel."""
    gap = np.full((1, 2), np.nan)
    pieces = [np.vstack([page.at(place, mean, scales), gap]) for place, mean in means.items()]
    line = np.concatenate([np.empty((0, 2)), *pieces])
    small = page.wide < 0.6
    axes.plot(line[:, 0], line[:, 1], color=RED, linewidth=0.9 if small else 1.3, zorder=3)
    share = float(scales[1](np.array(threshold)))
    for place, mean in means.items():
        if len(mean):
            left, top = page.corner(place)
            level = top + page.high * (1 - share)
            axes.plot(
                (left, left + page.wide),
                (level, level),
                color=GREY,
                linewidth=0.4 if small else 0.7,
                linestyle=(0, (4, 2)),
                zorder=1,
            )


def _label(
    sheet: Sheet, axes: Axes, page: Layout, scales: tuple[Scale, Scale], x_name: str
) -> None:
    """Sparsity above, dictionary sizes and cosines on the left, probabilities below."""
    grid, (wide, high) = page.grid, page.field
    names = [number(value) for value in grid.sparsity]
    every = ceil((max(map(text_width, names)) + 0.04) / (page.wide + GAP))
    for column in range(0, len(names), every):
        middle = page.left + column * (page.wide + GAP) + page.wide / 2
        sheet.text(middle, 0.25, names[column], ha="center", va="baseline")
    middle = page.left + wide / 2
    sheet.text(middle, 0.09, grid.axis.title, ha="center", va="baseline", color=GREY)
    every = ceil(APART / (page.high + GAP))
    for row in range(0, len(grid.sizes), every):
        middle = 0.3 + row * (page.high + GAP) + page.high / 2
        words = grid.row_names[row]
        sheet.text(page.left - 0.36, middle, words, ha="right", va="center_baseline")
    rows_title = grid.rows_title if text_width(grid.rows_title) < high else "size"
    sheet.text(MARGIN, 0.3 + high / 2, rows_title, rotation=90, va="center", ha="left", color=GREY)
    _label_ticks(axes, page, scales)
    under = f"{x_name} (log scale)" if scales[0].log else x_name
    below = 0.3 + high + 0.3
    sheet.text(page.left + wide / 2, below, under, ha="center", va="baseline", color=GREY)


def _label_ticks(axes: Axes, page: Layout, scales: tuple[Scale, Scale]) -> None:
    across = scales[0].ticks(page.wide, page.wide + GAP)
    lefts = [column * (page.wide + GAP) for column in range(len(page.grid.sparsity))]
    places = [left + page.wide * share for left in lefts for share in scales[0](np.array(across))]
    axes.set_xticks(places, [number(value) for value in across] * len(lefts))
    tops = [row * (page.high + GAP) for row in range(len(page.grid.sizes))]
    up = _levels(page, scales[1])
    places = [top + page.high * (1 - share) for top in tops for share in scales[1](np.array(up))]
    axes.set_yticks(places, [number(value) for value in up] * len(tops))


def _levels(page: Layout, scale: Scale) -> list[float]:
    """The cosines that are labelled in each row, with room from those of the next row."""
    for step in (0.25, 0.5, 1.0):
        levels = [k * step for k in range(-4, 5) if scale.low <= k * step <= scale.high]
        tops = page.high * scale(np.array(levels))
        below = page.high + GAP + tops[0] - tops[-1]
        if all(gap >= APART for gap in (*np.diff(tops), below)):
            return levels
    return [0.5] if page.high + GAP >= APART else []
