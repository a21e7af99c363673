"""Where the parts of a heatmap figure go, worked out before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isnan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from saesweep.figures.grid.cell_text import CellText, fit
from saesweep.figures.style import (
    MARGIN,
    NARROW,
    WIDTH,
    Sheet,
    line_height,
    number,
    text_width,
    wrap,
)
from saesweep.metrics.references import References
from saesweep.sparsity import SparsityAxis

MARGIN_COLUMN, BAR_GAP, BAR, TICKS, GAP = 0.5, 0.2, 0.12, 0.42, 0.14
LONGEST = 8.0


@dataclass(frozen=True)
class Grid:
    """The axes of a heatmap: rows and columns. `ratios` holds NaN where no ratio is known."""

    sizes: Sequence[int]
    ratios: Sequence[float]
    sparsity: Sequence[float]
    axis: SparsityAxis
    """What the values of `sparsity` are."""

    @property
    def row_names(self) -> list[str]:
        """A name a row, as `4× (24)`."""
        return [
            str(size) if isnan(ratio) else f"{number(ratio)}× ({size})"
            for size, ratio in zip(self.sizes, self.ratios, strict=True)
        ]

    @property
    def rows_title(self) -> str:
        """What the row names are."""
        return "dictionary size" if all(map(isnan, self.ratios)) else "dictionary ratio (size)"


@dataclass(frozen=True)
class Page:
    """The plan of one figure; lengths in inches, places from the body's top left corner."""

    grid: Grid
    panels: int
    across: int
    cell: tuple[float, float]
    left: float
    head: float
    titles: Sequence[Sequence[str]]
    margins: float
    right: float
    text: CellText

    @property
    def panel(self) -> tuple[float, float]:
        """Width and height of one matrix."""
        return len(self.grid.sparsity) * self.cell[0], len(self.grid.sizes) * self.cell[1]

    @property
    def upright(self) -> bool:
        """Whether the names of columns must stand upright to fit under their columns."""
        return max(map(text_width, map(number, self.grid.sparsity))) > self.cell[0] * 0.9

    @property
    def has_room_for_titles(self) -> bool:
        """Whether no title runs into that of the next panel."""
        widest = max(text_width(line) for lines in self.titles for line in [*lines, ""])
        return self.across == 1 or widest <= self.panel[0] + GAP - 0.05

    @property
    def foot(self) -> float:
        """Height of the names of columns under a matrix."""
        return max(map(text_width, map(number, self.grid.sparsity))) if self.upright else 0.11

    @property
    def cells_right(self) -> float:
        """The right edge of the last matrix in a row."""
        return self.left + self.across * (self.panel[0] + GAP) - GAP

    @property
    def width(self) -> float:
        """Width of the figure."""
        return max(NARROW, self.cells_right + self.margins + self.right)

    @property
    def cells_height(self) -> float:
        """From the top of the first matrix to the bottom of the last."""
        down = ceil(self.panels / self.across)
        return down * (self.panel[1] + self.head + 0.06) - self.head - 0.06

    @property
    def height(self) -> float:
        """Height of the body."""
        return self.head + self.cells_height + self.foot + 0.22

    def corner(self, index: int) -> tuple[float, float]:
        """Left and top of a panel's matrix."""
        down, along = divmod(index, self.across)
        left = self.left + along * (self.panel[0] + GAP)
        return left, self.head + down * (self.panel[1] + self.head + 0.06)

    def axes(self, sheet: Sheet, index: int) -> Axes:
        """The axes of a panel."""
        return sheet.axes(*self.corner(index), *self.panel)

    def ends_row(self, index: int) -> bool:
        """Whether this is the last column of panels."""
        return index % self.across == self.across - 1

    def ends_column(self, index: int) -> bool:
        """Whether no panel stands below this one."""
        return index + self.across >= self.panels


def marks_inside(references: References, norm: Normalize | None) -> dict[str, float]:
    """The marks that fall on the colour bar."""
    if norm is None or norm.vmin is None or norm.vmax is None:
        return {}
    low, high = norm.vmin, norm.vmax
    return {name: value for name, value in references.marks.items() if low <= value <= high}


def plan(
    values: np.ndarray,
    grid: Grid,
    norm: Normalize | None,
    references: References,
    titles: Sequence[str],
    spreads: np.ndarray | None = None,
) -> Page:
    """Place `values` [panels, rows, columns] so that the numbers are as large as can be.

    With `spreads`, shaped like them, a page with room for both comes before all others. Among
    equals, as many panels as possible stand side by side. Where no number fits within a page, the
    cells are made as large as they can be and stay empty.
    """
    options = [
        _option(values, grid, norm, references, titles, spreads, across=across)
        for across in range(len(values), 0, -1)
    ]
    fitting = [page for page in options if page.height <= LONGEST] or options[:1]
    fitting = [page for page in fitting if page.has_room_for_titles] or fitting
    written = max(fitting, key=_legibility)
    return written if written.text.size else fitting[-1]


def _legibility(page: Page) -> tuple[bool, bool, float, int]:
    text = page.text
    return text.write_spread is not None, text.exact, text.size, page.across


def _option(
    values: np.ndarray,
    grid: Grid,
    norm: Normalize | None,
    references: References,
    titles: Sequence[str],
    spreads: np.ndarray | None,
    *,
    across: int,
) -> Page:
    rows, columns = len(grid.sizes), len(grid.sparsity)
    high = max(0.1, min(0.8, 1.2 / rows), min(0.3, 3.6 / rows))
    two_lines = text_width(grid.rows_title) > rows * high + 0.1
    left = MARGIN + line_height() * (2 if two_lines else 1) + 0.1
    left += max(map(text_width, grid.row_names))
    margins = MARGIN_COLUMN * len(references.rows)
    right = MARGIN
    if norm is not None:
        marks = [text_width(mark) + 0.16 for mark in marks_inside(references, norm)]
        right += BAR_GAP + BAR + TICKS + max(marks, default=0)
    room = WIDTH - left - margins - right - GAP * (across - 1)
    wide = max(0.01, min(0.78, room / across / columns))
    lines = [wrap(title, wide * columns) for title in titles]
    headed = bool(references.rows) or isinstance(norm, LogNorm)
    head = max([headed, *map(len, lines)]) * line_height() + 0.07
    return Page(
        grid=grid,
        panels=len(values),
        across=across,
        cell=(wide, high),
        left=left,
        head=head,
        titles=lines,
        margins=margins,
        right=right,
        text=fit(values, wide, high, spreads),
    )
