"""The points of a grid as the page is told of them: where they are, how good, and best in what."""

from __future__ import annotations

from collections.abc import Sequence

from saesweep.catalogue import METRICS
from saesweep.files import Row
from saesweep.metrics.seeds import Point, best_points, variant_name
from saesweep.report.numbers import exact
from saesweep.run_folder import Run
from saesweep.sparsity import rounded


def described(run: Run, folded: Sequence[Point]) -> list[Row]:
    """The points ``folded`` of ``run``, in their order."""
    places = {cell.name: index for index, cell in enumerate(run.cells)}
    best: dict[str, list[str]] = {point.name: [] for point in folded}
    for key in METRICS:
        for point in best_points(folded, key):
            best[point.name].append(key)
    return [
        {
            **_place(run, point),
            "cells": [places[name] for name in point.cells],
            **_numbers(point),
            "best": best[point.name],
        }
        for point in folded
    ]


def _place(run: Run, point: Point) -> Row:
    """What a point is called, and where in the grid it is."""
    cell = run.cell(point.cells[0])
    apart = point.apart(cell)
    return {
        "name": point.name,
        "axis": cell.axis.key,
        "sparsity": rounded(cell.sparsity),
        "size": cell.dict_size,
        "ratio": exact(cell.dict_size / run.config.data.ratio_unit[0]),
        "model": cell.variant,
        "variant": variant_name(apart),
        "apart": {axis: exact(value) for axis, value in apart.items()},
    }


def _numbers(point: Point) -> Row:
    """Its metrics, ``mean`` and ``spread`` over its seeds, and how many of them are done."""
    known = [key for key in METRICS if point.values(key)]
    several = len(point.rows) > 1
    return {
        "state": point.state,
        "done": sum(row["state"] == "done" for row in point.rows),
        "mean": {key: exact(point.mean(key)) for key in known},
        "spread": {key: exact(point.spread(key)) for key in known} if several else {},
    }
