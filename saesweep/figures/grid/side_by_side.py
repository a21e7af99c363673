"""The heatmaps of several runs side by side, on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS, Metric
from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.grid.heatmaps import Panel, heatmap
from saesweep.figures.style import LOSSES, save
from saesweep.figures.variants import variant_name
from saesweep.metrics.seeds import Point, points, seed_count
from saesweep.run_folder import Run

MAIN = ("recon_loss", "mmcs", "mmcs_larger", "dead_fraction", "l0", "fvu")
"""The metrics that are drawn where none are asked for."""
DIGITS = 10
"""L1 penalties that agree to so many digits are the same: two runs may round them differently."""


@dataclass(frozen=True)
class Side:
    """One run, and what it is called."""

    run: Run
    title: str


class _Matrices:
    """The matrices of one run: one for each combination of further axes, over any grid."""

    def __init__(self, side: Side) -> None:
        rows = side.run.metrics()
        self.seeds = seed_count(rows)
        self.losses = {row["loss"] for row in rows}
        self.n_features = side.run.config.data.n_features
        self._title = side.title
        self._variants: dict[str, dict[tuple[int, float], Point]] = {}
        for point in points(rows):
            cell = side.run.cell(point.cells[0])
            words = variant_name(point.apart(cell))
            place = cell.dict_size, _rounded(cell.l1)
            self._variants.setdefault(words, {})[place] = point
        places = [place for found in self._variants.values() for place in found]
        self.sizes, self.l1 = {size for size, _ in places}, {l1 for _, l1 in places}

    def panels(self, key: str, grid: Grid) -> list[Panel]:
        """The matrices of a metric over ``grid``, blank where this run has no such cell."""
        made = []
        for words, found in self._variants.items():
            shape = len(grid.sizes), len(grid.l1)
            values, states = np.full(shape, nan), np.full(shape, "absent", dtype="<U8")
            counts = np.zeros(shape)
            for (size, l1), point in found.items():
                place = grid.sizes.index(size), grid.l1.index(l1)
                values[place], states[place] = point.mean(key), point.state
                counts[place] = len(point.values(key))
            title = f"{self._title}; {words}" if words else self._title
            made.append(Panel(values, states, title, counts=counts, seeds=self.seeds))
        return made


def draw_side_by_side(
    sides: Sequence[Side], folder: Path, metrics: Sequence[str] = ()
) -> list[Path]:
    """Draw ``folder/<metric>.png`` for each of ``metrics``, or of `MAIN`; returns the files."""
    matrices = [_Matrices(side) for side in sides]
    grid = _union(matrices)
    return [
        save(_figure(METRICS[key], matrices, grid), folder / f"{key}.png")
        for key in metrics or MAIN
    ]


def side_by_side(metric: Metric, sides: Sequence[Side]) -> Figure:
    """The heatmaps of one metric, a panel a run (and a combination of its further axes)."""
    matrices = [_Matrices(side) for side in sides]
    return _figure(metric, matrices, _union(matrices))


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
    losses = sorted({loss for one in matrices for loss in one.losses})
    called = [LOSSES.get(loss, f"loss: {loss}") for loss in losses]
    return [f"{metric.key}: {metric.definition}.", f"{words}.", *called]


def _union(matrices: Sequence[_Matrices]) -> Grid:
    """All sizes and penalties of all runs; ratios where all runs have as many features."""
    comparable = len({one.n_features for one in matrices}) == 1
    sizes = sorted({size for one in matrices for size in one.sizes})
    n = matrices[0].n_features if comparable else nan
    l1 = sorted({value for one in matrices for value in one.l1})
    return Grid(sizes=sizes, ratios=[size / n for size in sizes], l1=l1)


def _rounded(l1: float) -> float:
    return float(f"{l1:.{DIGITS}g}")
