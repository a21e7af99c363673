"""Cells that differ in seed alone, taken together as one point of the grid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from saesweep.catalogue import METRICS
from saesweep.cell_folder import UNFINISHED
from saesweep.config import Scalar
from saesweep.files import Row
from saesweep.grid import Cell


@dataclass(frozen=True)
class Point:
    """A point of the grid: the cells that differ in ``seed`` alone, or the one cell it has."""

    name: str
    """The axes that they share, as in the name of a cell."""
    rows: tuple[Row, ...]
    """Their rows of `Run.metrics`, in grid order."""

    @property
    def cells(self) -> list[str]:
        """The names of its cells."""
        return [str(row["cell"]) for row in self.rows]

    def apart(self, cell: Cell) -> dict[str, Scalar]:
        """The values of one of its cells on axes other than L1, size, and a seed taken together."""
        together = self.name != cell.name
        return {axis: x for axis, x in cell.extra.items() if not (together and axis == "seed")}

    @property
    def state(self) -> str:
        """``done`` if one of them is; otherwise what most keeps them from it: some may wait."""
        states = [str(row["state"]) for row in self.rows]
        return next((state for state in ("done", *UNFINISHED) if state in states), states[0])

    def values(self, key: str) -> list[float]:
        """A metric of those cells that are done and have it."""
        known = [float(row[key]) for row in self.rows if row["state"] == "done"]
        return [value for value in known if not math.isnan(value)]

    def mean(self, key: str) -> float:
        """Mean of a metric over the seeds that have it; NaN if none has."""
        values = self.values(key)
        return fmean(values) if values else math.nan

    def spread(self, key: str) -> float:
        """Sample standard deviation (n − 1) of the same; NaN where fewer than two have it."""
        values = self.values(key)
        enough = len(values) > 1 and all(map(math.isfinite, values))
        return stdev(values) if enough else math.nan


def seed_count(rows: Sequence[Row]) -> int:
    """How many seeds a grid has, from its rows of `Run.metrics`; 1 if seed is no axis of it."""
    return max(1, len({row["seed"] for row in rows if row.get("seed", "") != ""}))


def points(rows: Sequence[Row]) -> list[Point]:
    """The points of a grid from its rows of `Run.metrics`, in their order.

    With a single seed each cell is a point, and keeps its name.

    >>> rows = [
    ...     {"cell": "l1=1_seed=0", "seed": 0, "state": "done", "l0": 2.0},
    ...     {"cell": "l1=1_seed=1", "seed": 1, "state": "done", "l0": 4.0},
    ... ]
    >>> [(point.name, point.mean("l0")) for point in points(rows)]
    [('l1=1', 3.0)]
    """
    if seed_count(rows) == 1:
        return [Point(str(row["cell"]), (row,)) for row in rows]
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(without_seed(row), []).append(row)
    return [Point(name, tuple(family)) for name, family in alike.items()]


def best_points(folded: Sequence[Point], key: str) -> list[Point]:
    """Those that are best in a metric; none where it has no better way, or none is better.

    >>> a, b = (
    ...     Point(name, ({"cell": name, "state": "done", "fvu": fvu, "l0": fvu},))
    ...     for name, fvu in (("a", 0.5), ("b", 0.25))
    ... )
    >>> [point.name for point in best_points([a, b], "fvu")], best_points([a, b], "l0")
    (['b'], [])
    """
    direction = METRICS[key].direction
    if direction is None:
        return []
    known = [(mean, point) for point in folded if not math.isnan(mean := point.mean(key))]
    means = {mean for mean, _ in known}
    if len(means) < 2:
        return []
    top = (min if direction == "lower" else max)(means)
    return [point for mean, point in known if mean == top]


def without_seed(row: Row) -> str:
    """The name of a cell without its seed.

    >>> without_seed({"cell": "l1=0.1_seed=3_dict=24", "seed": 3})
    'l1=0.1_dict=24'
    """
    return re.sub(rf"(^|_)seed={row['seed']}(?=_|$)", "", str(row["cell"])).lstrip("_")


def variant_name(values: Mapping[str, object]) -> str:
    """The values of axes in words, floats in ten digits: values that a grid tells apart stay so.

    The name of a variant of the autoencoder stands for itself.

    >>> variant_name({"model.variant": "topk", "train.lr": 1e-3, "model.decoder_bias": True})
    'topk, train.lr=0.001, model.decoder_bias=true'
    """
    texts = {axis: _in_words(x) for axis, x in values.items()}
    return ", ".join(
        text if axis == "model.variant" else f"{axis}={text}" for axis, text in texts.items()
    )


def _in_words(value: object) -> str:
    if isinstance(value, bool):  # as in names of cells
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)
