"""One metric over the grid as a heatmap: rows dictionary sizes, columns L1 penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from saesweep.figures.cell_text import CellText
from saesweep.figures.heatmap_legend import (
    BLANKS,
    draw_bar,
    draw_key,
    draw_margin,
    hatched,
    plan_key,
)
from saesweep.figures.heatmap_page import Grid, Page, References, plan
from saesweep.figures.style import (
    GREY,
    INK,
    TICK,
    VALUES,
    Sheet,
    line_height,
    number,
    text_width,
    wants_log,
)

# The least that a colour scale spans, as a share of the largest value.
LEAST_RANGE = 0.004


@dataclass(frozen=True)
class Panel:
    """One matrix [rows, columns] and the state of each cell; several share one colour scale.

    States: `done`, `failed`, `damaged`, `waiting`, `running`, and `absent` where the grid has no
    cell.
    """

    values: np.ndarray
    states: np.ndarray
    title: str = ""

    def blanks(self) -> np.ndarray:
        """What to write in each cell without a finite number, "" elsewhere; [rows, columns]."""
        words = np.full(self.values.shape, "", dtype="<U8")
        done = self.states == "done"
        words[done & np.isnan(self.values)] = "n/a"
        words[done & np.isposinf(self.values)] = "∞"
        words[done & np.isneginf(self.values)] = "−∞"
        for state in ("failed", "damaged"):
            words[self.states == state] = state
        words[np.isin(self.states, ("waiting", "running"))] = "–"
        return words


def heatmap(
    panels: Sequence[Panel],
    grid: Grid,
    *,
    title: str,
    direction: str | None,
    caption: Sequence[str] = (),
    references: References | None = None,
) -> Figure:
    """Draw the matrices of one metric.

    `direction` is `lower`, `higher` or None, and decides which cell is outlined as the best.
    """
    references = references or References()
    values = np.stack([np.where(p.states == "done", p.values, np.nan) for p in panels])
    norm = colour_norm(values)
    page = plan(values, grid, norm, references, [panel.title for panel in panels])
    best = best_cells(values, direction)
    words = [panel.blanks() for panel in panels]
    key = plan_key(words, page.width)
    note = _note(values, direction, int(best.sum()), page.text)
    sheet = Sheet(title, note, page.height + 0.17 * len(key), caption, page.width)
    for index in range(len(panels)):
        axes = page.axes(sheet, index)
        _draw_cells(axes, values[index], norm, page)
        _draw_blanks(axes, words[index], page)
        _outline(axes, best[index])
        _label(sheet, axes, page, index)
        if page.ends_row(index):
            draw_margin(sheet, page, references.rows, index)
    if norm is not None:
        whole = bool(np.all(np.mod(values[np.isfinite(values)], 1) == 0))
        draw_bar(sheet, page, norm, references.inside(norm), whole)
    draw_key(sheet, page.height + 0.06, key)
    return sheet.figure


def colour_norm(values: np.ndarray) -> Normalize | None:
    """The colour scale, logarithmic above two decades; None when there is nothing to scale."""
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() == finite.max():
        return None
    low, high = float(finite.min()), float(finite.max())
    if wants_log(finite):
        return LogNorm(low, high)
    # Differences that the written digits do not show should not span all colours.
    spare = max(0.0, LEAST_RANGE * max(abs(low), abs(high)) - (high - low)) / 2
    return Normalize(low - spare, high + spare)


def best_cells(values: np.ndarray, direction: str | None) -> np.ndarray:
    """Mask of the best finite cells (ties are all best; none when all are equal)."""
    finite = np.isfinite(values)
    if direction is None or not finite.any():
        return np.zeros(values.shape, bool)
    low, high = float(values[finite].min()), float(values[finite].max())
    best: np.ndarray = (values == (low if direction == "lower" else high)) & (low != high)
    return best


def _note(values: np.ndarray, direction: str | None, outlined: int, text: CellText) -> str:
    finite = values[np.isfinite(values)]
    parts = []
    if direction:
        ties = f" ({outlined} tie)" if outlined > 1 else ""
        parts.append(f"{direction} is better" + (f", best outlined{ties}" if outlined else ""))
    if not finite.size:
        parts.append("no cell has a value")
    elif finite.size > 1 and finite.min() == finite.max():
        parts.append("all cells equal")
    if not text.size:
        parts.append("cells too small for numbers")
    elif text.unit:
        parts.append(text.unit)
    return "; ".join(parts)


def _draw_cells(axes: Axes, values: np.ndarray, norm: Normalize | None, page: Page) -> None:
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
        axes.text(
            column,
            row,
            page.text.write(values[row, column]),
            ha="center",
            va="center_baseline",
            fontsize=page.text.size,
            color=_ink_on(colours[row, column]),
        )


def _ink_on(colour: np.ndarray) -> str:
    """Dark or white, whichever contrasts more with the colour (relative luminance of WCAG)."""
    luminance = float(np.dot(colour[:3] ** 2.2, (0.2126, 0.7152, 0.0722)))
    return "black" if luminance > 0.18 else "white"


def _draw_blanks(axes: Axes, words: np.ndarray, page: Page) -> None:
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


def _outline(axes: Axes, best: np.ndarray) -> None:
    # All halos lie under all lines, so that tied neighbours do not cut into each other.
    for colour, width, layer in (("white", 3.4, 3), ("black", 1.6, 4)):
        for row, column in np.argwhere(best):
            corner = (column - 0.5, row - 0.5)
            frame = Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=width)
            frame.set(clip_on=False, gid=f"best {colour}", zorder=layer)
            axes.add_patch(frame)


def _label(sheet: Sheet, axes: Axes, page: Page, index: int) -> None:
    left, top = page.corner(index)
    width, height = page.panel
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=3)
    for line, words in enumerate(reversed(page.titles[index])):
        sheet.text(left, top - 0.06 - line * line_height(), words, va="baseline")
    rows = np.arange(0, len(page.grid.sizes), ceil(0.12 / page.cell[1]))
    columns = np.arange(0, len(page.grid.l1), ceil(0.12 / page.cell[0]))
    axes.set_yticks(rows, [])
    axes.set_xticks(columns, [])
    if index % page.across == 0:
        axes.set_yticks(rows, [page.grid.row_names[int(row)] for row in rows])
        name = page.grid.rows_title
        if text_width(name) > height + 0.1:
            name = name.replace(" (", "\n(").replace(" size", "\nsize")
        middle = top + height / 2
        sheet.text(0.09, middle, name, rotation=90, va="center", ha="left", color=GREY)
    if page.ends_column(index):
        names = [number(page.grid.l1[int(column)]) for column in columns]
        axes.set_xticks(columns, names, rotation=90 if page.upright else 0)
        below = top + height + page.foot + 0.18
        sheet.text(left + width / 2, below, "L1 penalty α", va="baseline", ha="center", color=GREY)
