"""Rank correlations, and which cell a metric would choose, against counting by hand."""

from __future__ import annotations

import csv
import math
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saesweep.metrics.prediction import COLUMNS, predict, rank_correlations, write_prediction
from saesweep.run_folder import Run

NAN = math.nan


def ranks(values: list[float]) -> np.ndarray:
    """Ranks from 1, those that tie share the mean of theirs."""
    return np.array([sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2
                     for x in values])  # fmt: skip


def tau_b(x: list[float], y: list[float]) -> float:
    pairs = [
        (np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in combinations(range(len(x)), 2)
    ]
    untied_x, untied_y = (sum(pair[k] != 0 for pair in pairs) for k in (0, 1))
    return float(sum(a * b for a, b in pairs) / math.sqrt(untied_x * untied_y))


def cell(name: str, size: int = 8, state: str = "done", **metrics: float) -> dict[str, Any]:
    return {"cell": name, "dict_size": size, "state": state, **metrics}


def found(rows: list[dict[str, Any]], predictor: str, over: str = "grid") -> dict[str, Any]:
    (row,) = (r for r in predict(rows) if (r["predictor"], r["over"]) == (predictor, over))
    return row


@pytest.mark.parametrize("seed", range(4))
def test_rank_correlations_are_those_of_counted_ranks_with_ties_too(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, 12).tolist(), rng.integers(0, 9, 12).tolist()
    rho, tau = rank_correlations(x, y)
    assert rho == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1])
    assert tau == pytest.approx(tau_b(x, y))


@pytest.mark.parametrize(("x", "y"), [([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3])])
def test_too_few_cells_or_equal_ones_have_no_correlation(x, y):
    assert all(map(math.isnan, (*rank_correlations(x, y), *rank_correlations(y, x))))


ROWS = [
    cell("a", 8, mmcs=0.5, mmcs_larger=0.9, fvu=0.3, l0=1.0),
    cell("b", 8, mmcs=0.6, mmcs_larger=0.8, fvu=0.2, l0=2.0),
    cell("c", 8, mmcs=0.7, mmcs_larger=0.7, fvu=0.1, l0=3.0),
    cell("d", 16, mmcs=0.8, mmcs_larger=NAN, fvu=0.1, l0=4.0),
    cell("e", 16, mmcs=0.4, mmcs_larger=NAN, fvu=0.4, l0=5.0),
    cell("f", 16, state="failed", mmcs=NAN, mmcs_larger=NAN, fvu=NAN, l0=NAN),
]


def test_a_metric_that_leads_astray_is_told_by_its_regret():
    row = found(ROWS, "mmcs_larger")
    assert (row["cells"], row["spearman"], row["kendall"]) == (3, -1, -1)
    assert (row["chosen"], row["chosen_mmcs"], row["ties"]) == ("a", 0.5, 1)
    assert (row["best"], row["best_mmcs"]) == ("d", 0.8)  # though it has no mmcs_larger
    assert row["regret"] == pytest.approx(0.3)


def test_lower_is_better_and_ties_share_their_mean():
    row = found(ROWS, "fvu")
    assert (row["better"], row["cells"], row["chosen"], row["ties"]) == ("lower", 5, "c", 2)
    assert row["chosen_mmcs"] == pytest.approx(0.75)
    assert row["regret"] == pytest.approx(0.05)


def test_each_dictionary_size_has_a_row_of_its_own():
    alone = found(ROWS, "fvu", "dict_size=8")
    assert (alone["cells"], alone["spearman"], alone["best"], alone["regret"]) == (3, -1, "c", 0)
    few = found(ROWS, "fvu", "dict_size=16")
    assert (few["cells"], few["chosen"]) == (2, "d")
    assert math.isnan(few["spearman"])
    none = found(ROWS, "mmcs_larger", "dict_size=16")
    assert (none["cells"], none["chosen"], none["best"]) == (0, "", "d")
    assert math.isnan(none["regret"])


def test_without_a_better_way_nothing_is_chosen():
    row = found(ROWS, "l0")
    assert (row["better"], row["chosen"], row["ties"]) == ("", "", 0)
    assert row["spearman"] == pytest.approx(0)  # 1 - 6 * (1 + 1 + 1 + 1 + 16) / (5 * 24)
    assert math.isnan(row["chosen_mmcs"])


def test_metrics_that_a_table_lacks_are_left_out():
    assert {row["predictor"] for row in predict(ROWS)} == {"mmcs_larger", "fvu", "l0"}
    waiting = [cell("a", state="waiting", mmcs=NAN, fvu=NAN)]
    assert [row["cells"] for row in predict(waiting)] == [0, 0]


def test_the_table_on_disk(finished: Run, tmp_path: Path):
    shutil.copytree(finished.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    write_prediction(run, run.metrics())
    with (run.metrics_dir / "prediction.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["over"] for row in rows} == {"grid", "dict_size=8", "dict_size=16"}
    (row,) = (r for r in rows if (r["predictor"], r["over"]) == ("recon_loss", "grid"))
    known = {r["cell"]: r for r in run.metrics()}
    assert row["cells"] == "4"
    assert row["best"] == max(known, key=lambda name: known[name]["mmcs"])
    assert row["chosen"] == min(known, key=lambda name: known[name]["recon_loss"])
