"""Matrices, curves and fronts of a run with several seeds, whose records are written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from saesweep.catalogue import HISTORY, METRICS
from saesweep.config import SweepConfig
from saesweep.figures.grid.figures import (
    AGAINST,
    CURVES,
    draw_grid,
    metric_curves,
    metric_heatmap,
    sparsity_against,
)
from saesweep.figures.grid.table import OF_SOME, grid_tables
from saesweep.run_folder import Run

GRID = {"seed": [0, 1, 2], "train.lr": [0.1, 0.2], "l1": [0.5, 0.25], "dict_size": [4, 8]}
EPOCHS = np.arange(0, 21, 5)


def history(seed: int, points: int = len(EPOCHS)) -> list[dict[str, Any]]:
    return [
        {"epoch": int(e), "step": int(e), **dict.fromkeys(HISTORY, e + 10.0**seed)}
        for e in EPOCHS[:points]
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three seeds; of l1=0.5, size 4 one failed at the smaller learning rate, all at the other."""
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    config = SweepConfig.model_validate({"data": data, "grid": GRID})
    run = Run.create(config, tmp_path_factory.mktemp("seeds"))
    for cell in run.cells:
        folder = run.folder(cell)
        folder.begin("by hand")
        if (cell.sparsity, cell.dict_size) == (0.5, 4) and (cell.train.lr == 0.2 or cell.seed == 2):
            folder.write_history(history(cell.seed, 2))
            folder.fail("diverged")
            continue
        folder.write_history(history(cell.seed))
        metrics = {key: 1.0 + cell.seed for key in METRICS}
        weights = {"W_dec": torch.eye(3)}
        folder.finish(weights, {"epoch": torch.tensor([0])}, metrics)
    return run


def test_seeds_are_no_variants(run: Run) -> None:
    table = grid_tables(run)[0]
    assert table.seeds == 3
    assert table.variants == ["train.lr=0.1", "train.lr=0.2"]


def test_matrices_hold_means_spreads_and_how_many(run: Run) -> None:
    first, second = grid_tables(run)[0].panels("fvu")
    assert (first.title, second.title) == ("train.lr=0.1", "train.lr=0.2")
    # Rows sizes 4 and 8; columns penalties 0.25 and 0.5.
    np.testing.assert_allclose(first.values, [[2, 1.5], [2, 2]])
    np.testing.assert_allclose(first.spreads, [[1, np.sqrt(0.5)], [1, 1]])
    np.testing.assert_array_equal(first.counts, [[3, 2], [3, 3]])
    assert np.all(first.states == "done")
    np.testing.assert_allclose(second.values, [[2, np.nan], [2, 2]])
    assert second.states.tolist() == [["done", "failed"], ["done", "done"]]


def test_lines_are_means_with_a_band_from_lowest_to_highest(run: Run) -> None:
    table = grid_tables(run)[0]
    lines = list(table.lines("mmcs", 8, table.histories()))
    assert [(line.sparsity, line.variant) for line in lines] == [
        (0.5, 0),
        (0.25, 0),
        (0.5, 1),
        (0.25, 1),
    ]
    for line in lines:
        np.testing.assert_array_equal(line.x, EPOCHS)
        np.testing.assert_allclose(line.y, EPOCHS + 111 / 3)
        np.testing.assert_allclose(line.band, [EPOCHS + 1, EPOCHS + 100])


def test_failed_seeds_are_no_part_of_a_mean_unless_all_failed(run: Run) -> None:
    table = grid_tables(run)[0]
    lines = {(li.sparsity, li.variant): li for li in table.lines("mmcs", 4, table.histories())}
    np.testing.assert_allclose(lines[0.5, 0].y, EPOCHS + 11 / 2)
    np.testing.assert_allclose(lines[0.5, 1].x, EPOCHS[:2])
    np.testing.assert_allclose(lines[0.5, 1].y, EPOCHS[:2] + 111 / 3)


def test_fronts_have_bars_from_lowest_to_highest(run: Run) -> None:
    small, large, small_slow, _ = grid_tables(run)[0].fronts("fvu")
    assert (small.size, large.size, small_slow.others) == (4, 8, "train.lr=0.2")
    places = np.argsort(small.sparsity)
    np.testing.assert_allclose(small.l0[places], [2, 1.5])
    np.testing.assert_allclose(small.y_bars[:, places], [[1, 1], [3, 2]])
    np.testing.assert_allclose(large.l0_bars, [[1, 1], [3, 3]])
    assert np.isnan(small_slow.l0_bars[:, small_slow.sparsity == 0.5]).all()


def test_figures_say_that_they_show_means(run: Run, readable) -> None:
    table = grid_tables(run)[0]
    words = readable(metric_heatmap(table, METRICS["mmcs"]))
    assert any("mean ± standard deviation over 3 seeds" in line for line in words)
    assert {"failed", "train.lr=0.1", "train.lr=0.2"} <= set(words)
    curves = readable(metric_curves(table, METRICS["mmcs"], table.histories()))
    over = "mean over the seeds that have {}, of 3; {}: from the lowest to the highest."
    assert f"Lines: {over.format('a finite value', 'bands')}" in " ".join(curves)
    front = readable(sparsity_against([table], "fvu"))
    assert f"Points: {over.format('a value', 'bars')}" in " ".join(front)


def test_seeds_without_a_finite_value_are_no_part_of_a_mean(run: Run) -> None:
    table = grid_tables(run)[0]
    histories = table.histories()
    cell = next(cell for cell in run.cells if (cell.dict_size, cell.seed) == (8, 2))
    broken = histories[cell.name]["mmcs"].astype(float)
    broken[1:3] = np.nan, np.inf
    histories[cell.name] = {**histories[cell.name], "mmcs": broken}
    line = next(iter(table.lines("mmcs", 8, histories)))
    expected = EPOCHS + np.where(np.isin(np.arange(5), [1, 2]), 11 / 2, 111 / 3)
    np.testing.assert_allclose(line.y, expected)


@pytest.mark.parametrize(
    ("values", "marks"),
    [([0.5], {"PCA": 0.5}), ([0.5, 0.5], {}), ([0.5, 0.25], {"PCA": 0.5, "truth": 0.25})],
)
def test_a_lone_baseline_is_shown_and_several_where_they_differ(
    values: list[float], marks: dict[str, float], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = zip(("pca", "truth"), values, strict=False)
    rows = [{"baseline": name, "dict_size": 3, "mmcs": value} for name, value in known]
    monkeypatch.setattr(Run, "baselines", lambda self: rows)
    assert grid_tables(run)[0].references("mmcs").marks == marks


@pytest.mark.parametrize("drawn", [True, False])
def test_stability_is_drawn_where_there_are_seeds(
    drawn: bool, run: Run, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("metric_heatmap", "metric_curves", "sparsity_against"):
        monkeypatch.setattr(f"saesweep.figures.grid.figures.{name}", lambda *_: None)
    names = [name for name, _ in draw_grid(run if drawn else finished)]
    assert ("stability_matrix" in names) == drawn
    uncalled = 1 - drawn + (0 if drawn else len(OF_SOME))
    assert len(names) == len(METRICS) - uncalled + len(CURVES) + len(AGAINST)
