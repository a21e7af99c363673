"""What stands beside a heatmap: margin columns, the colour bar, the key to the hatchings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Affine2D

from saesweep.figures.grid.heatmap_page import BAR, BAR_GAP, MARGIN_COLUMN, TICKS, Page
from saesweep.figures.labels import spread
from saesweep.figures.style import (
    GREY,
    INK,
    MARGIN,
    TICK,
    VALUES,
    Sheet,
    level,
    number,
    text_width,
    ticks,
)

# What stands in a cell without a number: its hatch, and what it means.
BLANKS = {
    "n/a": ("/////", "not defined for this cell"),
    "failed": ("xxxxx", "training failed"),
    "damaged": ("+++++", "its files are damaged"),
    "–": (".....", "not trained yet"),
    "∞": ("\\\\\\\\\\", "infinite"),
    "−∞": ("\\\\\\\\\\", "infinite, below zero"),
}


def hatched(corners: Sequence[tuple[float, float]], hatch: str) -> PathPatch:
    """Squares of side 1 filled with a hatching: one shape for all, as each hatching is slow."""
    squares = [Path.unit_rectangle().transformed(Affine2D().translate(*c)) for c in corners]
    patch = PathPatch(Path.make_compound_path(*squares), hatch=hatch)
    patch.set(facecolor="white", edgecolor="#a6a6a6", linewidth=0.5, hatch_linewidth=0.5)
    return patch


def draw_margin(sheet: Sheet, page: Page, rows: Mapping[str, Sequence[float]], index: int) -> None:
    """Write the values of a baseline that has one for each row to the right of a panel."""
    left, top = page.corner(index)
    step = ceil(0.12 / page.cell[1])
    for column, (name, values) in enumerate(rows.items()):
        middle = left + page.panel[0] + (column + 0.5) * MARGIN_COLUMN
        sheet.text(middle, top - 0.06, name, va="baseline", ha="center", color=GREY)
        for row in range(0, len(values), step):
            height = top + (row + 0.5) * page.cell[1]
            sheet.text(
                middle, height, level(values[row]), va="center_baseline", ha="center", color=GREY
            )


def draw_bar(
    sheet: Sheet, page: Page, norm: Normalize, marks: Mapping[str, float], whole: bool
) -> None:
    """The colour bar; its ticks go to the left when baselines are marked on its right."""
    left = page.cells_right + page.margins + BAR_GAP + (TICKS if marks else 0)
    height = min(page.cells_height, 2.6)
    axes = sheet.axes(left, page.head, BAR, height)
    bar = sheet.figure.colorbar(ScalarMappable(norm, VALUES), cax=axes)
    bar.outline.set_visible(False)
    logarithmic = isinstance(norm, LogNorm)
    if logarithmic:
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
    else:
        ticks(axes.yaxis, 4, whole=whole)
    axes.yaxis.set_minor_locator(NullLocator())
    if logarithmic:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        sheet.text(
            left + BAR / 2, page.head - 0.06, "log scale", va="baseline", ha="center", color=GREY
        )
    axes.yaxis.set_ticks_position("left" if marks else "right")
    places = [float(norm(value)) for value in marks.values()]
    labels = spread(places, 0.125 / height, 0, 1)
    for name, place, label in zip(marks, places, labels, strict=True):
        axes.plot(
            (0, 1, 1.5, 2),
            (place, place, label, label),
            color=INK,
            linewidth=0.7,
            clip_on=False,
            transform=axes.transAxes,
        )
        axes.text(2.2, label, name, va="center_baseline", fontsize=TICK, transform=axes.transAxes)


def entries(
    words: Sequence[np.ndarray], fewer: bool, seeds: Sequence[int]
) -> list[tuple[str, str]]:
    """What the key must explain, as (hatch, text): `words` in cells, corners where `fewer` seeds.

    A corner has no hatch, "". `seeds` are the numbers of seeds that matrices have.
    """
    used = [
        (hatch, f"{blank}: {meaning}")
        for blank, (hatch, meaning) in BLANKS.items()
        if any(np.any(matrix == blank) for matrix in words)
    ]
    full = f"than {seeds[0]} seeds" if len(seeds) == 1 else "seeds than the run has"
    return used + ([("", f"cut corner: mean over fewer {full}")] if fewer else [])


def plan_key(
    entries: Sequence[tuple[str, str]], width: float
) -> list[list[tuple[float, tuple[str, str]]]]:
    """Lines of (left, entry) that hold the `entries` of a key in this width."""
    lines: list[list[tuple[float, tuple[str, str]]]] = []
    left = width
    for entry in entries:
        room = 0.25 + text_width(entry[1])
        if left + room > width - MARGIN:
            lines.append([])
            left = MARGIN
        lines[-1].append((left, entry))
        left += room + 0.2
    return lines


def draw_key(
    sheet: Sheet, top: float, key: Sequence[Sequence[tuple[float, tuple[str, str]]]]
) -> None:
    """Draw what `plan_key` planned, from `top` of the body downwards."""
    for line in key:
        for left, (hatch, text) in line:
            axes = sheet.axes(left, top, 0.2, 0.11)
            axes.set_axis_off()
            axes.set(xlim=(0, 1), ylim=(0, 1))
            if hatch:
                axes.add_patch(hatched([(0, 0)], hatch))
            else:
                axes.add_patch(Polygon([(0, 0), (0, 1), (0.6, 1), (1, 0.3), (1, 0)], color=GREY))
            sheet.text(left + 0.25, top + 0.09, text, va="baseline", color=GREY)
        top += 0.17
