from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS
from saesweep.figures.grid.figures import (
    AGAINST,
    CURVES,
    TRAINED,
    metric_curves,
    metric_heatmap,
    sparsity_against,
)
from saesweep.figures.grid.table import grid_tables
from saesweep.figures.stills import draw_stills
from saesweep.figures.style import LOSSES
from saesweep.run_folder import Run

PROMISED = {
    "recon_loss_matrix.png": "Reconstruction Loss",
    "mmcs_matrix.png": "Mean Max Cosine Similarity w/ True",
    "av_mmcs_with_larger_dicts.png": "Average MMCS with larger dicts",
    "dead_neurons_matrix.png": "Dead Neurons",
}


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run that a test may change."""
    shutil.copytree(finished.path, tmp_path / "run")
    return Run(tmp_path / "run")


def words_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_every_still_figure_is_drawn(run):
    shutil.rmtree(run.figures_dir)
    run.folder(run.cells[0]).path.joinpath("history.csv").unlink()  # drawn all the same
    told = []
    paths = draw_stills(run, told.append)
    assert [path.name for path in paths] == told
    assert sorted(told) == sorted(path.name for path in run.figures_dir.iterdir())
    assert set(PROMISED) <= set(told)
    matrices = [name for name in told if name.endswith("_matrix.png")]
    # One is called otherwise, one needs seeds, two need probabilities, four a language model.
    assert len(matrices) == len(METRICS) - 8
    assert sum(name.startswith("training_") for name in told) == len(CURVES)
    assert {f"l0_against_{key}.png" for key in AGAINST} <= set(told)
    assert {"gaussians.png", "samples.png"} <= set(told)


@pytest.mark.parametrize("key", METRICS)
def test_heatmaps_say_what_they_show(key, finished, readable):
    figure = metric_heatmap(grid_tables(finished)[0], METRICS[key])
    readable(figure)
    words = words_of(figure)
    assert words.startswith(METRICS[key].title)
    start = f"{key}: {METRICS[key].definition}."[:40]
    assert start in words
    assert LOSSES["sum"] in words
    assert ("is better" in words) == (METRICS[key].direction is not None)


def test_values_stand_in_the_row_and_column_of_their_cell(finished):
    table = grid_tables(finished)[0]
    texts = metric_heatmap(table, METRICS["mmcs"]).axes[0].texts
    written = {tuple(map(int, reversed(t.get_position()))): float(t.get_text()) for t in texts}
    for row in finished.metrics():
        place = [8, 16].index(row["dict_size"]), [0.01, 0.1].index(row["l1_penalty"])
        assert written[place] == pytest.approx(row["mmcs"], abs=5.1e-4)


def test_chance_and_the_ceiling_are_shown(finished, readable):
    figure = metric_heatmap(grid_tables(finished)[0], METRICS["mmcs"])
    words = readable(figure)
    for row in finished.baselines():
        if row["baseline"] == "random":
            assert f"{row['mmcs']:.2f}" in words
    assert "truth (the true features, the ceiling): 1.00" in words_of(figure)
    assert "chance: as many random unit atoms as latents" in words_of(figure)
    curves = metric_curves(grid_tables(finished)[0], METRICS["mmcs"], {})
    assert "true features 1.00" in readable(curves)


def test_a_run_without_baselines_is_drawn(run, readable):
    (run.metrics_dir / "baselines.csv").unlink()
    table = grid_tables(run)[0]
    assert "Baselines" not in words_of(metric_heatmap(table, METRICS["mmcs"]))
    assert not any("chance" in words for words in readable(metric_heatmap(table, METRICS["mmcs"])))


def test_cells_that_failed_or_wait_are_drawn_as_such(run, readable):
    failed, waiting, *_ = run.cells
    for cell in (failed, waiting):
        (run.folder(cell).path / "result.json").unlink()
    (run.folder(failed).path / "error.txt").write_text("diverged\n")
    (run.folder(waiting).path / "history.csv").unlink()
    table = grid_tables(run)[0]
    words = readable(metric_heatmap(table, METRICS["recon_loss"]))
    assert {"failed", "–", "failed: training failed", "–: not trained yet"} <= set(words)
    readable(sparsity_against([table], "fvu"))


def test_curves_hold_the_history(finished, readable):
    histories = {cell.name: finished.history(cell.name) for cell in finished.cells}
    figure = metric_curves(grid_tables(finished)[0], TRAINED, histories)
    assert "Loss over training" in readable(figure)
    drawn = [line.get_ydata() for axes in figure.axes[:2] for line in axes.lines]
    expected = sorted(histories[cell.name]["loss"].tolist() for cell in finished.cells)
    assert sorted(np.asarray(values).tolist() for values in drawn) == expected


def test_other_axes_have_a_panel_each(run, readable):
    config = (run.path / "config.yaml").read_text()
    assert "  l1:" in config
    others = "  model.decoder_bias: [false, true]\n  train.lr: [0.001, 1.0e-4]\n  l1:"
    (run.path / "config.yaml").write_text(config.replace("  l1:", others, 1))
    (table,) = grid_tables(Run(run.path))
    figure = metric_heatmap(table, METRICS["mmcs"])
    assert {"model.decoder_bias=true", "train.lr=0.001", "train.lr=0.0001"} <= {
        word.strip(",") for words in readable(figure) for word in words.split()
    }
    assert sum(bool(axes.images) for axes in figure.axes) == 4
