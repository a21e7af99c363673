"""The metrics of a run over its grid, as matrices, curves and fronts; seeds are taken together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from saesweep.catalogue import OF_LANGUAGE_MODELS
from saesweep.errors import RunError
from saesweep.figures.grid.curves import Line
from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.grid.heatmaps import Panel, absent
from saesweep.figures.grid.trade_off import Front
from saesweep.files import Arrays, Row
from saesweep.metrics.references import References, references
from saesweep.metrics.seeds import Point, points, seed_count, variant_name
from saesweep.run_folder import Run
from saesweep.sparsity import SparsityAxis

OF_SOME = ("brier", "calibration_error", *OF_LANGUAGE_MODELS)
"""Metrics of variants that say probabilities, and of activations with their model at hand."""


def grid_tables(run: Run) -> list[GridTable]:
    """A table for each sparsity axis of a run."""
    rows = run.metrics()
    return [GridTable(run, axis, rows) for axis in run.sparsity_axes]


class GridTable:
    """The metrics of the cells on one sparsity axis: its values are columns, rows are sizes.

    Cells that differ in seed alone are one `Point`; with a single seed every cell is one. What
    else differs between points of one size and sparsity makes a variant: `variants` names them, as
    `topk, train.lr=0.001`.
    """

    def __init__(self, run: Run, axis: SparsityAxis, rows: Sequence[Row]) -> None:
        self.run, self.axis = run, axis
        self._baselines = run.baselines()
        rows = [row for row in rows if run.cell(row["cell"]).axis == axis]
        self.rows = rows
        self.cells = [run.cell(row["cell"]) for row in rows]
        ratios = {row["dict_size"]: row["dict_ratio"] for row in rows}
        self.seeds = seed_count(rows)
        self.grid = Grid(
            sizes=sorted(ratios),
            ratios=[ratios[size] for size in sorted(ratios)],
            sparsity=sorted({row[axis.column] for row in rows}),
            axis=axis,
        )
        known = [row["true_l0"] for row in rows if np.isfinite(row["true_l0"])]
        self.true_l0 = float(np.mean(known)) if known else float("nan")
        self._points: dict[str, list[Point]] = {}
        for point in points(rows):
            self._points.setdefault(self._variant(point), []).append(point)
        self.variants = list(self._points)

    def _variant(self, point: Point) -> str:
        return variant_name(point.apart(self.run.cell(point.cells[0])))

    def _sparsity(self, point: Point) -> float:
        return float(point.rows[0][self.axis.column])

    def _of_size(self, variant: str, size: int) -> list[Point]:
        return [point for point in self._points[variant] if point.rows[0]["dict_size"] == size]

    def measures(self, key: str) -> bool:
        """Whether a metric can be known of these cells: some take seeds, or known features."""
        if key == "stability":
            return self.seeds > 1
        sure = self.run.config.data.n_features > 0 and key not in OF_SOME
        return sure or any(np.isfinite(row[key]) for row in self.rows)

    def panels(self, key: str) -> list[Panel]:
        """The matrices of a metric, one a variant."""
        return [self._panel(key, variant) for variant in self.variants]

    def _panel(self, key: str, variant: str) -> Panel:
        shape = len(self.grid.sizes), len(self.grid.sparsity)
        values, spreads, counts = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
        states = absent(shape)
        for point in self._points[variant]:
            row = self.grid.sizes.index(point.rows[0]["dict_size"])
            place = row, self.grid.sparsity.index(self._sparsity(point))
            values[place], spreads[place] = point.mean(key), point.spread(key)
            states[place], counts[place] = point.state, len(point.values(key))
        return Panel(values, states, variant, spreads, counts, self.seeds)

    def references(self, key: str) -> References:
        """The baselines of a metric."""
        return references(self._baselines, key, self.grid.sizes)

    def histories(self) -> dict[str, Arrays]:
        """The histories that are there: cells that wait have none, some that failed have."""
        found = {}
        for cell in self.cells:
            with contextlib.suppress(RunError):
                found[cell.name] = self.run.history(cell.name)
        return found

    def lines(self, key: str, size: int, histories: dict[str, Arrays]) -> Iterator[Line]:
        """A metric over the epochs, a line for each point of one dictionary size.

        Over several seeds it is the mean of those that are done, with a band from the lowest to
        the highest; where none is done, of those that failed, as far as they went.
        """
        for index, variant in enumerate(self.variants):
            for point in self._of_size(variant, size):
                done = [str(row["cell"]) for row in point.rows if row["state"] == "done"]
                shown = [histories[cell] for cell in done or point.cells if cell in histories]
                if not shown:
                    continue
                epochs = max((history["epoch"] for history in shown), key=len)
                y, ends = _fold([history[key] for history in shown])
                band = ends if self.seeds > 1 else None
                yield Line(epochs, y, self._sparsity(point), index, band)

    def fronts(self, key: str) -> list[Front]:
        """A metric against L0, a front for each dictionary size of each variant."""
        found = [
            (size, self._of_size(variant, size))
            for variant in self.variants
            for size in self.grid.sizes
        ]
        return [self._front(along, size, key) for size, along in found if along]

    def _front(self, along: Sequence[Point], size: int, key: str) -> Front:
        cell = self.run.cell(along[0].cells[0])
        others = {a: x for a, x in along[0].apart(cell).items() if a != "model.variant"}
        sparsity = np.array([self._sparsity(point) for point in along])
        l0, y = (np.array([point.mean(name) for point in along]) for name in ("l0", key))
        bars = (_ends(along, "l0"), _ends(along, key)) if self.seeds > 1 else (None, None)
        return Front(size, self.axis, sparsity, l0, y, cell.variant, variant_name(others), *bars)


def _ends(along: Sequence[Point], key: str) -> np.ndarray:
    """The lowest and the highest value of a metric over the seeds of each point; [2, points]."""
    values = [point.values(key) or [np.nan] for point in along]
    return np.array([[min(found) for found in values], [max(found) for found in values]])


def _fold(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean [n] of curves, and the lowest and the highest [2, n]; shorter ones end early.

    A single curve is its own mean. What is not finite in one of several is left out.
    """
    if len(curves) == 1:
        return curves[0], np.stack([curves[0], curves[0]])
    longest = max(map(len, curves))
    padded = [np.pad(curve, (0, longest - len(curve)), constant_values=np.nan) for curve in curves]
    values = np.ma.masked_invalid(np.stack(padded))
    folded = np.ma.stack([values.mean(axis=0), values.min(axis=0), values.max(axis=0)])
    filled = np.ma.filled(folded, np.nan)
    return filled[0], filled[1:]
