"""Can one choose a cell without knowing the truth? Metrics that need none, against ``mmcs``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from saesweep.catalogue import METRICS
from saesweep.figures.grid.curve_parts import MARKERS, draw_key, draw_names, key_width, scale
from saesweep.figures.style import (
    BLUE,
    GREY,
    INK,
    MARGIN,
    RED,
    TICK,
    WIDTH,
    Colour,
    Sheet,
    line_height,
    name_colours,
    number,
    rank_colours,
    text_width,
    ticks,
)
from saesweep.files import Row
from saesweep.metrics.prediction import FEWEST, predict
from saesweep.run_folder import Run
from saesweep.sparsity import AXES, SparsityAxis

LEFT, HIGH, STRIP, GAP = 0.62, 2.7, 0.34, 0.08
LINE = 0.2
PREDICTOR = "mmcs_larger"
TURNED = {"lower": -1.0, "higher": 1.0, "": 1.0}
"""By what a correlation is multiplied, so that 1 always means that better goes with better."""
CAPTION = (
    f"Ranks are compared over the cells that are done; below {FEWEST}, or all equal: n/a. Cells of "
    "one {value} and size that differ on other axes of the grid count one by one. A cell of the "
    "largest dictionary has no mmcs_larger, and cannot be chosen by it.",
    "Below: Spearman's ρ with mmcs; blue dots over the whole grid, rings over the {values} of "
    "one dictionary size. Where lower is better its sign is turned, so that 1 always means that "
    "better goes with higher mmcs; l0 has no better way. Its choice: mmcs of the cell that is best "
    "by the metric (mean over ties); regret: the highest mmcs of the grid less that.",
)


def draw_prediction(run: Run) -> Iterator[tuple[str, Figure]]:
    """``prediction``: `mmcs` against `mmcs_larger`, and how all predictors do."""
    yield "prediction", prediction_figure(run.metrics())


def prediction_figure(rows: Sequence[Row]) -> Figure:
    """Scatter of ``mmcs`` against ``mmcs_larger``, above the rank correlations of all predictors.

    ``rows`` are those of `Run.metrics`, a row a cell.
    """
    table = _known(predict(rows))
    over_grid = [row for row in table if row["over"] == "grid"]
    done = [row for row in rows if row["state"] == "done" and np.isfinite(row["mmcs"])]
    axes = [axis for axis in AXES.values() if axis.column in rows[0]]
    below = HIGH + 0.78
    sheet = Sheet(
        "Recovery of true features, predicted without the truth",
        _note(next(row for row in over_grid if row["predictor"] == PREDICTOR)),
        below + len(over_grid) * LINE + 0.42,
        [f"{key}: {METRICS[key].definition}." for key in ("mmcs", PREDICTOR)] + _caption(axes),
    )
    predicted = [row for row in table if row["predictor"] == PREDICTOR]
    _draw_scatter(sheet, done, predicted, _Colours(rows, done, axes[0]))
    _draw_correlations(sheet, below, table)
    return sheet.figure


def _caption(axes: Sequence[SparsityAxis]) -> list[str]:
    """`CAPTION` in the words of the only sparsity axis; where there are several, in general."""
    one = re.sub(r",.*| .$", "", axes[0].title)  # without its symbol, or what explains it
    words = (one, axes[0].plural) if len(axes) == 1 else ("sparsity", "cells")
    return [line.format(value=words[0], values=words[1]) for line in CAPTION]


def _known(table: Sequence[Row]) -> list[Row]:
    """The rows of `PREDICTOR`, and of all others that some cell has."""
    known = {row["predictor"] for row in table if row["cells"]} | {PREDICTOR}
    return [row for row in table if row["predictor"] in known]


def _note(row: Row) -> str:
    """The correlation over the grid, and which cell would be chosen."""
    words = f"over {row['cells']} cell{'s' * (row['cells'] != 1)} with {PREDICTOR}: "
    words += f"Spearman's ρ {_signed(row['spearman'])}, Kendall's τ {_signed(row['kendall'])}"
    if row["chosen"]:
        words += f"; {PREDICTOR} would choose {row['chosen']} (ringed), mmcs "
        words += f"{row['chosen_mmcs']:.3f}; the best is {row['best']} (squared), "
        words += f"{row['best_mmcs']:.3f}"
    return words


def _signed(value: float) -> str:
    """A correlation in two digits.

    >>> _signed(-0.829), _signed(1.0), _signed(float("nan"))
    ('−0.83', '+1.00', 'n/a')
    """
    return "n/a" if np.isnan(value) else f"{value:+.2f}".replace("-", "−")


# The scatter


class _Colours:
    """The colour of each cell: by its variant, or by its sparsity where all are of one variant."""

    def __init__(self, rows: Sequence[Row], done: Sequence[Row], axis: SparsityAxis) -> None:
        variants = list(dict.fromkeys(str(row.get("model.variant")) for row in rows))
        self.variants = name_colours(variants) if len(variants) > 1 else {}
        self.values = [] if self.variants else [row[axis.column] for row in done]
        self.count = len(done)
        self.title = "variant" if self.variants else axis.title
        self._axis, self._ranks = axis, rank_colours(self.values)

    def of(self, row: Row) -> Colour:
        """The colour of a cell."""
        if self.variants:
            return self.variants[row["model.variant"]]
        return self._ranks[row[self._axis.column]]

    def samples(self) -> dict[str, Line2D]:
        """A sample of the colour of each variant."""
        return {
            name: Line2D([0, 1], [0, 0], color=colour, linewidth=2)
            for name, colour in self.variants.items()
        }


def _draw_scatter(
    sheet: Sheet, done: Sequence[Row], predicted: Sequence[Row], colours: _Colours
) -> None:
    marks = _marks(done)
    over = {row["over"]: row for row in predicted}
    samples = colours.samples() | {
        _of_size(size, over[f"dict_size={size}"]): Line2D(
            [0.5], [0], marker=mark, color=GREY, markersize=4
        )
        for size, mark in marks.items()
    }
    key = key_width(colours.values, list(samples), colours.title)
    lacking = [row for row in done if not np.isfinite(row[PREDICTOR])]
    strip = STRIP + GAP if lacking else 0.0
    wide = WIDTH - MARGIN - LEFT - key - 0.2 - strip
    axes = sheet.axes(LEFT, 0.12, wide, HIGH)
    y = np.array([row["mmcs"] for row in done], float)
    scale(axes, "y", y)
    shown = [row for row in done if np.isfinite(row[PREDICTOR])]
    scale(axes, "x", np.array([row[PREDICTOR] for row in shown], float))
    axes.set_xlabel(f"{PREDICTOR}, known without the truth", fontsize=TICK, labelpad=2, color=GREY)
    axes.set_ylabel("mmcs, with the true features", fontsize=TICK, labelpad=3, color=GREY)
    _dots(axes, shown, marks, colours, PREDICTOR)
    _mark_choice(axes, shown, over["grid"], PREDICTOR)
    if not shown:
        axes.text(
            0.5, 0.5, "no cell has both", transform=axes.transAxes, ha="center", fontsize=TICK
        )
    if lacking:
        beside = sheet.axes(LEFT + wide + GAP, 0.12, STRIP, HIGH)
        _draw_lacking(beside, axes, lacking, marks, colours, over["grid"])
    side = WIDTH - key
    room = HIGH - len(samples) * line_height() - 0.2
    bottom = draw_key(sheet, side, 0.12, room, colours.values, colours.title)
    if colours.variants:
        sheet.text(side, bottom, colours.title, va="baseline", color=GREY)
    draw_names(sheet, side, bottom + (0.12 if colours.variants else 0.2), samples)


def _marks(done: Sequence[Row]) -> dict[int, str]:
    """A marker for each dictionary size; none where there are more than can be told apart."""
    sizes = sorted({row["dict_size"] for row in done})
    return dict(zip(sizes, MARKERS, strict=False)) if len(sizes) <= len(MARKERS) else {}


def _of_size(size: int, row: Row) -> str:
    if row["cells"] == 0:
        return f"{size} latents"
    return f"{size}: ρ {_signed(row['spearman'])}, n {row['cells']}"


def _dots(
    axes: Axes,
    rows: Sequence[Row],
    marks: Mapping[int, str],
    colours: _Colours,
    x: str,
) -> None:
    """A dot a cell, at its ``x``, or at 0 where it has none."""
    for size in dict.fromkeys(row["dict_size"] for row in rows):
        cells = [row for row in rows if row["dict_size"] == size]
        axes.scatter(
            [row[x] if np.isfinite(row[x]) else 0.0 for row in cells],
            [row["mmcs"] for row in cells],
            s=25 if colours.count <= 60 else 16,
            c=[colours.of(row) for row in cells],
            marker=marks.get(size, "o"),
            edgecolors="white",
            linewidths=0.4,
            zorder=2,
        )


def _mark_choice(axes: Axes, rows: Sequence[Row], over_grid: Row, x: str) -> None:
    """A ring about the cell that is chosen, a square about the one that is best."""
    for role, mark, colour in (("best", "s", INK), ("chosen", "o", RED)):
        for row in rows:
            if row["cell"] == over_grid[role]:
                place = row[x] if np.isfinite(row[x]) else 0.0
                axes.plot(
                    place,
                    row["mmcs"],
                    mark,
                    markersize=9,
                    markerfacecolor="none",
                    markeredgecolor=colour,
                    markeredgewidth=1.1,
                    clip_on=False,
                    gid=role,
                )


def _draw_lacking(
    axes: Axes,
    beside: Axes,
    rows: Sequence[Row],
    marks: Mapping[int, str],
    colours: _Colours,
    over_grid: Row,
) -> None:
    """The cells that have no `PREDICTOR`, in a strip of the same height."""
    axes.set_yscale(beside.get_yscale())
    axes.set_ylim(beside.get_ylim())
    axes.set_xlim(-1, 1)
    axes.tick_params(left=False, labelleft=False, which="both")
    axes.spines["left"].set_visible(False)
    axes.set_facecolor("#f4f4f4")
    axes.set_xticks([0], ["n/a"])
    _dots(axes, rows, marks, colours, PREDICTOR)
    _mark_choice(axes, rows, over_grid, PREDICTOR)


# The correlations


def _draw_correlations(sheet: Sheet, top: float, table: Sequence[Row]) -> None:
    """A line a predictor: its correlations as dots, and what its choice is worth."""
    names = list(dict.fromkeys(row["predictor"] for row in table))
    left = MARGIN + max(text_width(_name(name)) for name in names) + 0.12
    heads = ("cells", "its choice", "regret")
    columns = [WIDTH - MARGIN - offset for offset in (1.3, 0.62, 0.0)]
    wide = columns[0] - text_width(heads[0]) - 0.2 - left
    axes = sheet.axes(left, top, wide, len(names) * LINE)
    axes.set(xlim=(-1.06, 1.06), ylim=(len(names) - 0.5, -0.5))
    ticks(axes.xaxis, 5)
    axes.set_yticks([])
    axes.set_xlabel(
        "rank correlation (Spearman's ρ) with mmcs", fontsize=TICK, labelpad=2, color=GREY
    )
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=0)
    axes.hlines(np.arange(len(names)), -1, 1, color="#e6e6e6", linewidth=0.6, zorder=0)
    for column, head in zip(columns, heads, strict=True):
        sheet.text(column, top - 0.05, head, ha="right", va="baseline", color=GREY)
    for line, name in enumerate(names):
        rows = [row for row in table if row["predictor"] == name]
        middle = top + (line + 0.5) * LINE
        sheet.text(left - 0.08, middle, _name(name), ha="right", va="center_baseline")
        _draw_line(axes, line, rows)
        over_grid = rows[0]
        words = (
            number(over_grid["cells"]),
            *map(_plain, (over_grid["chosen_mmcs"], over_grid["regret"])),
        )
        for column, word in zip(columns, words, strict=True):
            sheet.text(column, middle, word, ha="right", va="center_baseline")


def _draw_line(axes: Axes, line: int, rows: Sequence[Row]) -> None:
    sign = TURNED[rows[0]["better"]]
    sizes = [sign * row["spearman"] for row in rows[1:]]
    axes.plot(sizes, [line] * len(sizes), "o", markersize=6.5, markerfacecolor="none", color=GREY)
    axes.plot(sign * rows[0]["spearman"], line, "o", color=BLUE, markersize=4.5, zorder=3)
    if np.isnan([row["spearman"] for row in rows]).all():
        axes.text(0, line, "n/a", ha="center", va="center_baseline", fontsize=TICK, color=GREY,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip


def _plain(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.3f}"


def _name(key: str) -> str:
    """A predictor, and which way of it is better."""
    direction = METRICS[key].direction
    return f"{key} ({direction} is better)" if direction else key
