"""One metric over the grid as a heatmap: rows dictionary sizes, columns values of sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from saesweep.cell_folder import UNFINISHED
from saesweep.figures.grid.cell_text import CellText
from saesweep.figures.grid.heatmap_cells import draw_blanks, draw_cells, draw_corners, outline
from saesweep.figures.grid.heatmap_legend import draw_bar, draw_key, draw_margin, entries, plan_key
from saesweep.figures.grid.heatmap_page import Grid, Page, marks_inside, plan
from saesweep.figures.style import (
    GREY,
    Sheet,
    line_height,
    number,
    text_width,
    wants_log,
)
from saesweep.metrics.references import References

# The least that a colour scale spans, as a share of the largest value.
LEAST_RANGE = 0.004
# Of more cells that tie for the best none is outlined, where they are also a larger share of all.
MOST_TIES, MOST_SHARE = 8, 1 / 3


@dataclass(frozen=True)
class Panel:
    """One matrix [rows, columns] and the state of each cell; several share one colour scale.

    States: `done`, `failed`, `damaged`, one of `UNFINISHED`, and `absent` where the grid has no
    cell. Where values are means over seeds, of which there are `seeds`, `spreads` holds their
    standard deviations and `counts` how many seeds each is of.
    """

    values: np.ndarray
    states: np.ndarray
    title: str = ""
    spreads: np.ndarray | None = None
    counts: np.ndarray | None = None
    seeds: int = 1

    def blanks(self) -> np.ndarray:
        """What to write in each cell without a finite number, "" elsewhere; [rows, columns]."""
        words = np.full(self.values.shape, "", dtype="<U8")
        done = self.states == "done"
        words[done & np.isnan(self.values)] = "n/a"
        words[done & np.isposinf(self.values)] = "∞"
        words[done & np.isneginf(self.values)] = "−∞"
        for state in ("failed", "damaged"):
            words[self.states == state] = state
        words[np.isin(self.states, UNFINISHED)] = "–"
        return words


def absent(shape: tuple[int, int]) -> np.ndarray:
    """The states [rows, columns] of a panel before any is known; of objects, as words differ in
    length.
    """
    return np.full(shape, "absent", dtype=object)


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
    spreads = _stacked([panel.spreads for panel in panels], values, np.nan)
    counts = _stacked([panel.counts for panel in panels], values, np.inf)
    fewer = np.isfinite(values) & (counts < [[[panel.seeds]] for panel in panels])
    seeds = sorted({panel.seeds for panel in panels})
    norm = colour_norm(values)
    page = plan(values, grid, norm, references, [panel.title for panel in panels], spreads)
    best = best_cells(values, direction)
    words = [panel.blanks() for panel in panels]
    key = plan_key(entries(words, bool(fewer.any()), seeds), page.width)
    means = _mean_words(spreads, page.text, seeds)
    note = _note(values, direction, best, page.text, means)
    sheet = Sheet(title, note, page.height + 0.17 * len(key), caption, page.width)
    for index in range(len(panels)):
        axes = page.axes(sheet, index)
        draw_cells(axes, values[index], spreads[index], norm, page)
        draw_blanks(axes, words[index], page)
        draw_corners(axes, fewer[index], page)
        outline(axes, best[index] & ~_too_many(best, values))
        _label(sheet, axes, page, index)
        if page.ends_row(index):
            draw_margin(sheet, page, references.rows, index)
    if norm is not None:
        whole = bool(np.all(np.mod(values[np.isfinite(values)], 1) == 0))
        draw_bar(sheet, page, norm, marks_inside(references, norm), whole)
    draw_key(sheet, page.height + 0.06, key)
    return sheet.figure


def _stacked(
    matrices: Sequence[np.ndarray | None], values: np.ndarray, default: float
) -> np.ndarray:
    """The matrices as one array shaped like `values`, with `default` for those that are None."""
    filled = [np.full(values.shape[1:], default) if m is None else m for m in matrices]
    return np.stack(filled)


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


def _too_many(best: np.ndarray, values: np.ndarray) -> bool:
    """Whether so many cells tie for the best that outlines would tell nothing."""
    return bool(best.sum() > max(MOST_TIES, MOST_SHARE * np.isfinite(values).sum()))


def _note(
    values: np.ndarray, direction: str | None, best: np.ndarray, text: CellText, means: str
) -> str:
    finite = values[np.isfinite(values)]
    parts = []
    if direction:
        parts.append(f"{direction} is better")
        if _too_many(best, values):
            parts.append(f"{best.sum()} tie for best")
        elif best.any():
            parts[0] += ", best outlined" + (f" ({best.sum()} tie)" if best.sum() > 1 else "")
    if not finite.size:
        parts.append("no cell has a value")
    elif finite.size > 1 and finite.min() == finite.max():
        parts.append("all cells equal")
    if means:
        parts.append(means)
    if not text.size:
        parts.append("cells too small for numbers")
    elif text.unit:
        parts.append(text.unit)
    return "; ".join(parts)


def _mean_words(spreads: np.ndarray, text: CellText, seeds: Sequence[int]) -> str:
    if seeds[-1] == 1:
        return ""
    over = f"over {' or '.join(map(str, seeds))} seeds"
    if text.write_spread is not None:
        return f"mean ± standard deviation {over}"
    no_room = bool(np.isfinite(spreads).any() and text.size)
    return f"mean {over}" + (", no room for standard deviations" if no_room else "")


def _label(sheet: Sheet, axes: Axes, page: Page, index: int) -> None:
    left, top = page.corner(index)
    width, height = page.panel
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=3)
    for line, words in enumerate(reversed(page.titles[index])):
        sheet.text(left, top - 0.06 - line * line_height(), words, va="baseline")
    rows = np.arange(0, len(page.grid.sizes), ceil(0.12 / page.cell[1]))
    columns = np.arange(0, len(page.grid.sparsity), ceil(0.12 / page.cell[0]))
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
        names = [number(page.grid.sparsity[int(column)]) for column in columns]
        axes.set_xticks(columns, names, rotation=90 if page.upright else 0)
        below = top + height + page.foot + 0.18
        title = page.grid.axis.title
        sheet.text(left + width / 2, below, title, va="baseline", ha="center", color=GREY)
