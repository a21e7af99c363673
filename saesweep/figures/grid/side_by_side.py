"""The heatmaps of several runs side by side, on one colour scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS, Metric
from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.grid.heatmaps import Panel, absent, heatmap
from saesweep.figures.style import save
from saesweep.figures.variants import ending, loss_words
from saesweep.files import Row
from saesweep.metrics.seeds import Point, points, seed_count, variant_name
from saesweep.run_folder import Run
from saesweep.sparsity import SparsityAxis, rounded

MAIN = ("recon_loss", "mmcs", "mmcs_larger", "dead_fraction", "l0", "fvu")
"""The metrics that are drawn where none are asked for."""


@dataclass(frozen=True)
class Side:
    """One run, and what it is called."""

    run: Run
    title: str


class _Matrices:
    """The matrices of one run: one for each combination of further axes, over any grid.

    Only of the cells on one sparsity ``axis``; ``rows`` are those of `Run.metrics`.
    """

    def __init__(self, side: Side, rows: Sequence[Row], axis: SparsityAxis) -> None:
        rows = [row for row in rows if side.run.cell(row["cell"]).axis == axis]
        self.seeds = seed_count(rows)
        self.cells = [side.run.cell(row["cell"]) for row in rows]
        self.n_features = side.run.config.data.n_features
        self._title = side.title
        self._variants: dict[str, dict[tuple[int, float], Point]] = {}
        for point in points(rows):
            cell = side.run.cell(point.cells[0])
            words = variant_name(point.apart(cell))
            place = cell.dict_size, rounded(cell.sparsity)
            self._variants.setdefault(words, {})[place] = point
        places = [place for found in self._variants.values() for place in found]
        self.sizes, self.values = {size for size, _ in places}, {value for _, value in places}

    def panels(self, key: str, grid: Grid) -> list[Panel]:
        """The matrices of a metric over ``grid``, blank where this run has no such cell."""
        made = []
        for words, found in self._variants.items():
            shape = len(grid.sizes), len(grid.sparsity)
            values, states = np.full(shape, nan), absent(shape)
            counts = np.zeros(shape)
            for (size, value), point in found.items():
                place = grid.sizes.index(size), grid.sparsity.index(value)
                values[place], states[place] = point.mean(key), point.state
                counts[place] = len(point.values(key))
            title = f"{self._title}; {words}" if words else self._title
            made.append(Panel(values, states, title, counts=counts, seeds=self.seeds))
        return made


def draw_side_by_side(
    sides: Sequence[Side], folder: Path, metrics: Sequence[str] = ()
) -> list[Path]:
    """Draw ``folder/<metric>.png`` for each of ``metrics``, or of `MAIN`; returns the files.

    Where the runs have several sparsity axes, ``<metric>_<axis>.png`` for each of those.
    """
    return [
        save(figure, folder / f"{stem}.png")
        for stem, figure in side_by_side([METRICS[key] for key in metrics or MAIN], sides)
    ]


def side_by_side(metrics: Sequence[Metric], sides: Sequence[Side]) -> Iterator[tuple[str, Figure]]:
    """The heatmaps of each metric, a panel a run (and a combination of its further axes).

    One for each sparsity axis of the runs; with the names of their files, without ending.
    """
    rows = [side.run.metrics() for side in sides]
    axes = list(dict.fromkeys(axis for side in sides for axis in side.run.sparsity_axes))
    for axis in axes:
        matrices = [
            _Matrices(side, found, axis)
            for side, found in zip(sides, rows, strict=True)
            if axis in side.run.sparsity_axes
        ]
        grid = _union(matrices, axis)
        for metric in metrics:
            yield f"{metric.key}{ending(axes, axis)}", _figure(metric, matrices, grid)


def _figure(metric: Metric, matrices: Sequence[_Matrices], grid: Grid) -> Figure:
    panels = [panel for one in matrices for panel in one.panels(metric.key, grid)]
    return heatmap(
        panels,
        grid,
        title=metric.title,
        direction=metric.direction,
        caption=_caption(metric, matrices, panels),
    )


def _caption(metric: Metric, matrices: Sequence[_Matrices], panels: Sequence[Panel]) -> list[str]:
    words = "All panels share one colour scale"
    if metric.direction and len(panels) > 1:
        words += ", and the best cell is the best of them all"
    if any((panel.states == "absent").any() for panel in panels):
        words += "; empty: the run has no such cell"
    losses = loss_words(cell for one in matrices for cell in one.cells)
    return [f"{metric.key}: {metric.definition}.", f"{words}.", *losses]


def _union(matrices: Sequence[_Matrices], axis: SparsityAxis) -> Grid:
    """All sizes of all runs, and values on ``axis``; ratios where all have as many features."""
    comparable = len({one.n_features for one in matrices}) == 1
    sizes = sorted({size for one in matrices for size in one.sizes})
    n = matrices[0].n_features if comparable else nan
    values = sorted({value for one in matrices for value in one.values})
    return Grid(sizes, [size / n for size in sizes], values, axis)
