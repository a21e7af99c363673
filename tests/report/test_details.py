"""What the page shows of one cell: thinned, packed, and there even where records are damaged."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from saesweep.report.details import BINS, details, numbers, unpacked
from saesweep.run_folder import Run


def test_curves_are_the_columns_of_the_history_in_five_digits(finished: Run) -> None:
    cell = finished.cells[0]
    found = unpacked(finished, cell, most=100)
    history = finished.history(cell)
    assert found["of"] == len(history["epoch"])
    for name, column in history.items():
        shown = np.array([np.nan if v is None else v for v in found["curves"][name]], float)
        np.testing.assert_allclose(shown, column, rtol=1e-4)


def test_fewer_points_are_evenly_spread_and_keep_both_ends(finished: Run) -> None:
    epochs = finished.history(finished.cells[0])["epoch"]
    assert unpacked(finished, finished.cells[0], most=3)["curves"]["epoch"] == [
        epochs[0],
        epochs[round((len(epochs) - 1) / 2)],
        epochs[-1],
    ]


def test_the_density_counts_every_latent_once(finished: Run) -> None:
    cell = finished.cells[-1]
    frequency = finished.snapshots(cell)["density"]
    density = unpacked(finished, cell, most=9)["density"]
    assert sum(density["counts"]) + density["dead"] == cell.dict_size
    assert density["dead"] == (frequency == 0).sum()
    assert len(density["counts"]) == BINS
    assert density["low"] == -3  # 1,000 samples
    often = sum(density["counts"][-BINS // 3 :])  # the last of three decades
    assert often == (frequency >= 0.1).sum()


def test_tracking_says_how_many_features_are_learned(finished: Run) -> None:
    cell = finished.cells[-1]
    best = finished.snapshots(cell)["best_cosine"]
    threshold = finished.config.eval.learned_threshold
    tracking = unpacked(finished, cell, most=100)["tracking"]
    assert tracking["learned"] == (best > np.float32(threshold)).sum(axis=1).tolist()


def test_packed_and_unpacked_are_the_same(finished: Run) -> None:
    cell = finished.cells[0]
    text = gzip.decompress(base64.b64decode(details(finished, cell, most=4)))
    assert json.loads(text) == unpacked(finished, cell, most=4)


@pytest.mark.parametrize("name", ["history.csv", "snapshots.safetensors"])
def test_what_is_damaged_is_left_out(finished: Run, tmp_path: Path, name: str) -> None:
    shutil.copytree(finished.path, tmp_path / "copied")
    run = Run(tmp_path / "copied")
    (run.folder(run.cells[0]).path / name).write_bytes(b"\x00 no such thing")
    found = unpacked(run, run.cells[0], most=9)
    assert ("curves" in found) == (name != "history.csv")
    assert ("density" in found) == (name != "snapshots.safetensors")


def test_numbers_are_what_json_holds() -> None:
    given = [0.123456789, 1e20, float("nan"), float("-inf"), 5.0]
    assert numbers(given) == [0.12346, 1e20, None, "-inf", 5]
    json.dumps(numbers(given), allow_nan=False)
