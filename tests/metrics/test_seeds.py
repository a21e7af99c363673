"""Cells that differ in seed alone as points, against numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from saesweep.config import SweepConfig
from saesweep.grid import Cell, expand
from saesweep.metrics.seeds import points, seed_count, without_seed


def row(cell: str, state: str = "done", **values: Any) -> dict[str, Any]:
    return {"cell": cell, "state": state, **values}


def cells_of(grid: dict[str, Any]) -> list[Cell]:
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    return expand(SweepConfig.model_validate({"data": data, "grid": grid}))


def test_seeds_are_found_at_any_place_of_a_name() -> None:
    for name in ("seed=1_l1=1_dict=2", "l1=1_seed=1_dict=2", "l1=1_dict=2_seed=1"):
        assert without_seed(row(name, seed=1)) == "l1=1_dict=2"
    assert without_seed(row("l1=1_train.batch_size=1_seed=1", seed=1)) == "l1=1_train.batch_size=1"
    assert without_seed(row("seed=12_l1=1_dict=2", seed=12)) == "l1=1_dict=2"


def test_points_hold_the_cells_that_differ_in_seed_alone() -> None:
    grid = {"train.lr": [0.1, 0.2], "seed": [3, 33], "l1": [1, 2], "dict_size": [8, 16]}
    cells = {cell.name: cell for cell in cells_of(grid)}
    rows = [row(name, seed=cell.seed) for name, cell in cells.items()]
    found = points(rows)
    assert len(found) == 8
    assert sorted(name for point in found for name in point.cells) == sorted(cells)
    for point in found:
        alike = [cells[name] for name in point.cells]
        assert [cell.seed for cell in alike] == [3, 33]
        assert len({(cell.sparsity, cell.dict_size, cell.train.lr) for cell in alike}) == 1
        assert point.apart(alike[0]) == {"train.lr": alike[0].train.lr}


def test_with_one_seed_each_cell_is_a_point_of_its_name() -> None:
    for rows in ([row("l1=1"), row("l1=2")], [row("l1=1_seed=4", seed=4)]):
        assert seed_count(rows) == 1
        assert [point.name for point in points(rows)] == [row["cell"] for row in rows]
    (cell,) = cells_of({"l1": 1, "dict_size": 2, "seed": 4})
    assert points([row(cell.name, seed=4)])[0].apart(cell) == {"seed": 4}


def test_means_and_spreads_are_over_seeds_that_have_a_value() -> None:
    known = [0.5, 0.75, 1.5]
    rows = [row(f"l1=1_seed={i}", seed=i, mmcs=value) for i, value in enumerate(known)]
    rows.append(row("l1=1_seed=3", "failed", seed=3, mmcs=1e9))
    rows.append(row("l1=1_seed=4", seed=4, mmcs=math.nan))
    (point,) = points(rows)
    assert point.mean("mmcs") == pytest.approx(np.mean(known))
    assert point.spread("mmcs") == pytest.approx(np.std(known, ddof=1))
    assert len(point.values("mmcs")) == 3
    alone = points(rows[:1])[0]
    assert alone.mean("mmcs") == 0.5
    assert math.isnan(alone.spread("mmcs"))
    infinite = points([rows[0], row("l1=1_seed=1", seed=1, mmcs=math.inf)])[0]
    assert infinite.mean("mmcs") == math.inf
    assert math.isnan(infinite.spread("mmcs"))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["failed", "done"], "done"),
        (["failed", "waiting"], "waiting"),
        (["failed", "failed"], "failed"),
        (["damaged", "damaged"], "damaged"),
    ],
)
def test_the_state_of_a_point(states: list[str], expected: str) -> None:
    rows = [row(f"l1=1_seed={i}", state, seed=i) for i, state in enumerate(states)]
    assert points(rows)[0].state == expected
