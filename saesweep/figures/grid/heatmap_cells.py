"""The cells of a heatmap: colours, numbers, hatchings, the outline of the best."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Polygon, Rectangle

from saesweep.figures.grid.cell_text import LINE
from saesweep.figures.grid.heatmap_legend import BLANKS, hatched
from saesweep.figures.grid.heatmap_page import Page
from saesweep.figures.style import INK, TICK, VALUES, text_width


def draw_cells(
    axes: Axes, values: np.ndarray, spreads: np.ndarray, norm: Normalize | None, page: Page
) -> None:
    """Colour the finite `values` [rows, columns], and write them with their `spreads`."""
    rows, columns = values.shape
    # A single value has no place on a scale; the middle of the map says neither good nor bad.
    shades = np.full(values.shape, 0.5) if norm is None else np.ma.filled(norm(values), 0.0)
    colours = np.asarray(colormaps[VALUES](shades))
    finite = np.isfinite(values)
    colours[~finite] = 1.0
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    line = 0.7 if min(page.cell) > 0.15 else 0.2
    axes.vlines(np.arange(columns - 1) + 0.5, -0.5, rows - 0.5, "white", linewidth=line)
    axes.hlines(np.arange(rows - 1) + 0.5, -0.5, columns - 0.5, "white", linewidth=line)
    if not page.text.size:
        return
    for row, column in np.argwhere(finite):
        ink = _ink_on(colours[row, column])
        _write(axes, (row, column), page, values[row, column], spreads[row, column], ink)


def _write(
    axes: Axes, place: tuple[int, int], page: Page, value: float, spread: float, ink: str
) -> None:
    """Write a value, and its spread in a line below, about the middle of a cell."""
    text = page.text
    lines = text.lines(value, spread)
    below = [lines.pop()] if text.write_spread is not None and np.isfinite(spread) else []
    points = [sum(size for _, size in part) for part in (lines, below)]
    # Each part stands off the middle by half the height of the other.
    shift = LINE / 72 / page.cell[1] / 2
    row, column = place
    for part, middle in ((lines, row - points[1] * shift), (below, row + points[0] * shift)):
        if part:
            axes.text(
                column,
                middle,
                "\n".join(words for words, _ in part),
                ha="center",
                va="center_baseline",
                fontsize=part[0][1],
                color=ink,
            )


def _ink_on(colour: np.ndarray) -> str:
    """Dark or white, whichever contrasts more with the colour (relative luminance of WCAG)."""
    luminance = float(np.dot(colour[:3] ** 2.2, (0.2126, 0.7152, 0.0722)))
    return "black" if luminance > 0.18 else "white"


def draw_blanks(axes: Axes, words: np.ndarray, page: Page) -> None:
    """Hatch the cells without a number, and write into them why, where there is room."""
    for word, (hatch, _) in BLANKS.items():
        places = [(int(row), int(column)) for row, column in np.argwhere(words == word)]
        if places:
            axes.add_patch(hatched([(column - 0.5, row - 0.5) for row, column in places], hatch))
        if page.cell[1] <= TICK / 72 or text_width(word) + 0.05 > page.cell[0]:
            continue  # the key tells the hatchings apart
        for row, column in places:
            axes.text(
                column,
                row,
                word,
                ha="center",
                va="center_baseline",
                fontsize=TICK,
                color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )


def draw_corners(axes: Axes, fewer: np.ndarray, page: Page) -> None:
    """Cut the top right corner off the cells in the mask `fewer` [rows, columns]."""
    wide, high = (min(0.09, 0.3 * min(page.cell)) / side for side in page.cell)
    for row, column in np.argwhere(fewer):
        right, top = column + 0.5, row - 0.5
        corner = [(right - wide, top), (right, top), (right, top + high)]
        axes.add_patch(Polygon(corner, facecolor="white", edgecolor="none", gid="fewer", zorder=2))


def outline(axes: Axes, best: np.ndarray) -> None:
    """Frame the cells in the mask `best` [rows, columns]."""
    # All halos lie under all lines, so that tied neighbours do not cut into each other.
    for colour, width, layer in (("white", 3.4, 3), ("black", 1.6, 4)):
        for row, column in np.argwhere(best):
            corner = (column - 0.5, row - 0.5)
            frame = Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=width)
            frame.set(clip_on=False, gid=f"best {colour}", zorder=layer)
            axes.add_patch(frame)
