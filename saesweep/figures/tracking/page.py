"""Small multiples: a panel a cell, a row a dictionary size, a column a sparsity."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import Rectangle

from saesweep.figures.style import (
    GREY,
    MARGIN,
    TICK,
    WIDTH,
    Sheet,
    line_height,
    number,
    text_width,
)
from saesweep.figures.tracking.epochs import APART, EpochAxis, label_end
from saesweep.figures.tracking.key import Key, Sample
from saesweep.sparsity import SparsityAxis

# Inches: the height of all rows of panels, at most and at least, so that the names beside them have
# room; the least of one for two labels beside it.
LONGEST, LEAST, TWO_LABELS = 6.4, 1.4, 0.26
LABEL, TICK_LENGTH = 0.125, 0.03
ROWS_TITLE = "dictionary ratio (size)"
PAPER = "#f5f5f5"
"""Behind what is drawn; a panel without records is white."""


@dataclass(frozen=True)
class Scale:
    """What all panels share upright: its name, limits, and ticks as (value, label)."""

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    """At most two: near the bottom, and near the top."""


@dataclass(frozen=True)
class Panel:
    """Where one cell is drawn: places and values as inches of the axes, which count downwards."""

    axes: Axes
    left: float
    top: float
    wide: float
    high: float
    scale: Scale

    def x(self, places: np.ndarray) -> np.ndarray:
        """Places from 0 to 1 across the panel, [n]."""
        return self.left + self.wide * places

    def y(self, values: np.ndarray) -> np.ndarray:
        """Values on the upright scale, of any shape."""
        scale = self.scale
        return self.top + self.high * (scale.high - values) / (scale.high - scale.low)

    def write(self, word: str) -> None:
        """Why there is nothing, where there is room for the word."""
        turned = text_width(word) + 0.04 > self.wide
        along, across = (self.high, self.wide) if turned else (self.wide, self.high)
        if text_width(word) + 0.04 > along or across < LABEL:
            return
        self.axes.text(
            self.left + self.wide / 2,
            self.top + self.high / 2,
            word,
            rotation=90 if turned else 0,
            ha="center",
            va="center",
            fontsize=TICK,
            color=GREY,
        )


class Multiples:
    """The plan of one figure, in inches from the top left corner of the body.

    `rows` are names of dictionary sizes, `columns` the values of `axis`; `samples` are for the key.
    """

    def __init__(
        self,
        rows: Sequence[str],
        columns: Sequence[float],
        axis: SparsityAxis,
        scale: Scale,
        epochs: EpochAxis,
        samples: Mapping[str, Sample],
    ) -> None:
        self.rows, self.axis, self.scale, self.epochs = rows, axis, scale, epochs
        self.columns = [number(value) for value in columns]
        self.names_right = MARGIN + line_height() + max(map(text_width, rows)) + 0.08
        labels = max(text_width(label) for _, label in scale.ticks)
        self.left = self.names_right + 0.06 + line_height() + labels + 0.09
        room = WIDTH - self.left - MARGIN
        self.gap = min(0.08 if len(columns) <= 8 else 0.04, 0.4 * room / len(columns))
        wide = min(3.6, (room + self.gap) / len(columns) - self.gap)
        high = max(0.65 * wide, min(1.8 * wide, 0.75), LEAST / len(rows))
        self.size = wide, max(0.12, min(high, LONGEST / len(rows) - self.gap))
        self.upright = max(map(text_width, self.columns)) > wide - 0.02
        head = max(map(text_width, self.columns)) if self.upright else line_height()
        self.key = Key(samples)
        self.top = self.key.height + line_height() + head + 0.12
        self.right = self.left + len(columns) * (wide + self.gap) - self.gap
        self.bottom = self.top + len(rows) * (self.size[1] + self.gap) - self.gap
        self.height = self.bottom + 0.36

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Left and top of a panel."""
        left = self.left + column * (self.size[0] + self.gap)
        return left, self.top + row * (self.size[1] + self.gap)

    def axes(self, sheet: Sheet) -> Axes:
        """Axes for all panels, in inches from the top left corner of the first one.

        One for all: a hundred and more axes take seconds to make.
        """
        wide, high = self.right - self.left, self.bottom - self.top
        axes = sheet.axes(self.left, self.top, wide, high)
        axes.set_axis_off()
        axes.set(xlim=(0, wide), ylim=(high, 0))
        return axes

    def panel(self, axes: Axes, row: int, column: int) -> Panel:
        """A panel of these axes."""
        left, top = self.corner(row, column)
        return Panel(axes, left - self.left, top - self.top, *self.size, self.scale)

    def frame(self, axes: Axes, drawn: Collection[tuple[int, int]]) -> None:
        """What lies behind the panels `drawn` (row, column): paper, two edges, ticks outside."""
        wide, high = self.size
        panels = [self.panel(axes, *place) for place in drawn]
        sheets = [Rectangle((panel.left, panel.top), wide, high) for panel in panels]
        axes.add_collection(PatchCollection(sheets, facecolor=PAPER, linewidth=0, zorder=0))
        lines = [
            [(p.left, p.top), (p.left, p.top + high), (p.left + wide, p.top + high)] for p in panels
        ]
        edge = axes.get_ylim()[0]
        for panel in (panel for panel in panels if panel.left == 0):
            heights = panel.y(np.array([value for value, _ in self.scale.ticks]))
            lines += [[(-TICK_LENGTH, height), (0, height)] for height in heights.tolist()]
        for panel in (panel for panel in panels if edge - panel.top - high < 1e-6):
            for place, _, _ in self.epochs.ticks(wide):
                across = panel.left + place * wide
                lines.append([(across, edge), (across, edge + TICK_LENGTH)])
        axes.add_collection(LineCollection(lines, color=GREY, linewidth=0.4, clip_on=False))

    def label(self, sheet: Sheet) -> None:
        """Write the key and the names of rows, columns and axes."""
        self.key.draw(sheet)
        self._label_rows(sheet)
        self._label_scale(sheet)
        self._label_columns(sheet)
        self._label_epochs(sheet)

    def _label_rows(self, sheet: Sheet) -> None:
        for row in range(0, len(self.rows), ceil(LABEL / (self.size[1] + self.gap))):
            middle = self.corner(row, 0)[1] + self.size[1] / 2
            sheet.text(self.names_right, middle, self.rows[row], ha="right", va="center_baseline")
        self._upright(sheet, MARGIN, ROWS_TITLE)

    def _label_scale(self, sheet: Sheet) -> None:
        """At every row, the labels moved inwards as far as they would meet those of the next.

        Where rows are too low for that only the last has labels, moved apart.
        """
        high = self.size[1]
        inch = high / (self.scale.high - self.scale.low)
        values = [value for value, _ in self.scale.ticks]
        span = (max(values) - min(values)) * abs(inch)
        roomy = high >= TWO_LABELS
        inwards = max(0.0, LABEL - (high + self.gap - span)) / 2
        shift = inwards if roomy else -max(0.0, LABEL - span) / 2
        for row in range(len(self.rows)) if roomy else [len(self.rows) - 1]:
            bottom = self.corner(row, 0)[1] + high
            for value, label in self.scale.ticks:
                up = (value - self.scale.low) * inch
                up += shift if up < high / 2 else -shift
                sheet.text(self.left - 0.05, bottom - up, label, ha="right", va="center_baseline")
        self._upright(sheet, self.names_right + 0.06, self.scale.name)

    def _upright(self, sheet: Sheet, left: float, text: str) -> None:
        middle = (self.top + self.bottom) / 2
        sheet.text(left, middle, text, rotation=90, va="center", ha="left", color=GREY)

    def _label_columns(self, sheet: Sheet) -> None:
        pitch = self.size[0] + self.gap
        for column in range(0, len(self.columns), ceil(LABEL / pitch) if self.upright else 1):
            sheet.text(
                self.corner(0, column)[0] + self.size[0] / 2,
                self.top - 0.05,
                self.columns[column],
                ha="center",
                va="bottom" if self.upright else "baseline",
                rotation=90 if self.upright else 0,
            )
        self._centred(sheet, self.key.height + line_height(), self.axis.title)

    def _label_epochs(self, sheet: Sheet) -> None:
        """Under every column; under every other one where labels would meet."""
        wide = self.size[0]
        ticks = self.epochs.ticks(wide)
        end = max((label_end(tick, wide) for tick in ticks), default=0.0)
        for column in range(0, len(self.columns), 1 if wide + self.gap - end >= APART else 2):
            left = self.corner(0, column)[0]
            for place, label, align in ticks:
                across = left + place * wide
                sheet.text(across, self.bottom + 0.15, label, ha=align, va="baseline")
        kind = ", log scale" if self.epochs.logarithmic else ""
        span = "" if ticks else f", from 0 to {number(self.epochs.last)}"
        self._centred(sheet, self.bottom + (0.29 if ticks else 0.17), f"epoch{span}{kind}")

    def _centred(self, sheet: Sheet, top: float, text: str) -> None:
        middle = max((self.left + self.right) / 2, self.left + text_width(text) / 2)
        sheet.text(middle, top, text, ha="center", va="baseline", color=GREY)
