"""What the page shows of one cell: thinned, packed, and there even where records are damaged."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from saesweep.config_file import parse_config
from saesweep.files import Arrays, write_tensors
from saesweep.metrics.tracking_table import tracking_columns
from saesweep.report.details import BINS, details, unpacked
from saesweep.report.numbers import exact, short
from saesweep.run_folder import Run


def test_curves_are_the_columns_of_the_history_in_five_digits(finished: Run) -> None:
    cell = finished.cells[0]
    found = unpacked(finished, cell, most=100)
    history = finished.history(cell)
    assert found["of"] == len(history["epoch"])
    assert found["curves"]["epoch"] == [0, 5, 10, 15, 20]
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


@pytest.mark.parametrize("samples", [10, 100, 1000, 10**5, 10**6, 10**7, 65_536])
def test_a_latent_that_fires_once_is_in_the_first_bin(samples: int, tmp_path: Path) -> None:
    run = begun(tmp_path, f"eval: {{n_samples: {samples}}}")
    density = np.array([0, 1 / samples, 1, 1], np.float32)  # of float64, rounded as it is recorded
    density[1] = np.nextafter(density[1], np.float32(0))
    found = with_snapshots(run, density=density)["density"]
    assert found["counts"][0] == 1
    assert found["counts"][-1] == 2
    assert sum(found["counts"]) + found["dead"] == 4
    assert 10.0 ** found["low"] <= 1 / samples * (1 + 1e-9)


def test_where_no_feature_is_known_none_is_tracked(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((100, 3), np.float32))
    data = f"data: {{source: activations, path: {tmp_path}, activation_dim: 3}}"
    run = Run.create(parse_config(f"{data}\ngrid: {{l1: 1, dict_size: 4}}"), tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = with_snapshots(run, **random_snapshots(9, features=0))
    assert set(found["tracking"]) == {"epoch", "dead", "newly_dead", "revived"}
    assert found["tracking"]["dead"] == random_snapshots(9)["dead"].sum(axis=1).tolist()


@pytest.mark.parametrize("most", [2, 3, 50, 256, 401])
def test_no_event_is_lost_between_the_points_that_are_kept(most: int, tmp_path: Path) -> None:
    run = begun(tmp_path)
    snapshots = random_snapshots(401)
    kept = with_snapshots(run, most=most, **snapshots)["tracking"]
    all_of_them = tracking_columns(snapshots, run.config.eval.learned_threshold)
    epochs = snapshots["epoch"].tolist()
    assert (len(kept["epoch"]), kept["epoch"][0], kept["epoch"][-1]) == (most, 0, epochs[-1])
    assert set(kept) == {
        *("epoch", "learned", "newly_learned", "unlearned", "same_atom", "moved"),
        *("dead", "newly_dead", "revived"),
    }
    before = -1
    for place, epoch in enumerate(kept["epoch"]):
        now = epochs.index(epoch)
        for name in ("newly_learned", "unlearned", "moved", "newly_dead", "revived"):
            assert kept[name][place] == sum(all_of_them[name][before + 1 : now + 1].tolist()), name
        for name in ("learned", "same_atom", "dead"):
            assert kept[name][place] == all_of_them[name][now], name
        before = now


def begun(folder: Path, more: str = "") -> Run:
    """A run of one cell with four latents that has not been trained."""
    data = "data: {activation_dim: 3, n_features: 5, mean_active: 1}"
    return Run.create(parse_config(f"{data}\ngrid: {{l1: 1, dict_size: 4}}\n{more}"), folder)


def random_snapshots(count: int, features: int = 5) -> Arrays:
    """Of four latents that live and die, and features that come and go."""
    draw = np.random.default_rng(0)
    dead = draw.random((count, 4)) < 0.5
    return {
        "epoch": 3 * np.arange(count),
        "step": 30 * np.arange(count),
        "best_cosine": draw.uniform(0.8, 1, (count, features)).astype(np.float32),
        "best_atom": draw.integers(0, 4, (count, features), np.int32),
        "dead": dead,
    }


def with_snapshots(run: Run, most: int = 9, **arrays: np.ndarray) -> dict[str, dict[str, list]]:
    """What is shown of the first cell of ``run`` with these in its snapshots."""
    path = run.folder(run.cells[0]).path / "snapshots.safetensors"
    arrays = {"epoch": np.array([0]), **arrays}
    write_tensors(path, {name: torch.from_numpy(array) for name, array in arrays.items()})
    return unpacked(run, run.cells[0], most)


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


@pytest.mark.parametrize("lost", ["epoch", "step", "best_cosine", "best_atom", "dead"])
def test_snapshots_that_lack_one_are_left_out(lost: str, tmp_path: Path) -> None:
    run, snapshots = begun(tmp_path), random_snapshots(5)
    assert "tracking" in with_snapshots(run, **snapshots)
    path = run.folder(run.cells[0]).path / "snapshots.safetensors"
    write_tensors(path, {k: torch.from_numpy(a) for k, a in snapshots.items() if k != lost})
    assert unpacked(run, run.cells[0], most=9) == {}


def test_a_history_without_epochs_is_left_out(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "copied")
    run = Run(tmp_path / "copied")
    path = run.folder(run.cells[0]).path / "history.csv"
    path.write_text(path.read_text().replace("epoch", "era"))
    found = unpacked(run, run.cells[0], most=9)
    assert "curves" not in found
    assert "tracking" in found


def test_numbers_are_what_json_holds() -> None:
    given = [0.123456789, 1e20, float("nan"), float("-inf"), 5.0]
    assert short(given) == [0.12346, 1e20, None, "-inf", 5]
    assert [exact(value) for value in given] == [0.123456789, 1e20, None, "-inf", 5.0]
    json.dumps([short(given), [exact(value) for value in given]], allow_nan=False)
