"""The whole way from a config to a tree of results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import saesweep
from saesweep.catalogue import METRICS, OF_LANGUAGE_MODELS
from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.errors import UsageError
from saesweep.files import read_rows, sha256, temporary_name
from saesweep.run_folder import Run
from saesweep.sweep import run_sweep

pytestmark = pytest.mark.usefixtures("undrawn")

CELLS = ["l1=0.01_dict=8", "l1=0.01_dict=16", "l1=0.1_dict=8", "l1=0.1_dict=16"]
CELL_FILES = {
    "cell.json",
    "history.csv",
    "log.txt",
    "result.json",
    "sae.safetensors",
    "snapshots.safetensors",
}


def tree(path: Path) -> set[str]:
    return {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}


OF_ANY_RUN = [key for key in METRICS if key not in OF_LANGUAGE_MODELS]


def numbers(run: Run) -> dict[str, bytes]:
    """All files of a run that should not depend on when and where it ran."""
    kinds = ("metrics/*.csv", "cells/*/*.safetensors", "cells/*/history.csv", "data/*")
    paths = [path for kind in kinds for path in run.path.glob(kind)]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in paths}


def test_a_run_leaves_exactly_the_tree_of_the_design(finished: Run) -> None:
    left = tree(finished.path)
    figures = {name for name in left if name.startswith("figures/") and name.endswith("png")}
    undrawn = {"mmcs_larger", "stability", "brier", "calibration_error", *OF_LANGUAGE_MODELS}
    matrices = {f"{key}_matrix" for key in METRICS if key not in undrawn}
    curves = {f"training_{k}" for k in ("loss", "recon_loss", "mmcs", "dead_neurons", "l0", "fvu")}
    data = {"gaussians", "samples", "correlation", "feature_frequency"}
    others = {"density", "av_mmcs_with_larger_dicts", "prediction", "mmcs_by_probability"}
    others |= {f"l0_against_{key}" for key in ("fvu", "mmcs", "f1")}
    others |= {f"tracking_{kind}" for kind in ("counts", "cosines", "dead", "features")}
    assert figures == {f"figures/{name}.png" for name in matrices | curves | data | others}
    assert left - figures == {
        ".lock",
        "figures/.drawn.json",
        "config.yaml",
        "provenance.json",
        "events.jsonl",
        "jobs/sweep.json",
        "data/ground_truth.safetensors",
        "metrics/metrics.csv",
        "metrics/baselines.csv",
        "metrics/prediction.csv",
        "metrics/tracking.csv",
        *(f"metrics/{key}.csv" for key in OF_ANY_RUN),
        *(f"cells/{cell}/{name}" for cell in CELLS for name in CELL_FILES),
    }


def test_two_runs_of_one_config_give_the_same_numbers(
    finished: Run, small: SweepConfig, tmp_path: Path
) -> None:
    again = run_sweep(Run.create(small, tmp_path)).run
    assert numbers(again) == numbers(finished)


def test_another_seed_gives_other_numbers(
    finished: Run, small: SweepConfig, tmp_path: Path
) -> None:
    other = run_sweep(Run.create(small.model_copy(update={"seed": 1}), tmp_path)).run
    same = {name for name, content in numbers(other).items() if numbers(finished)[name] == content}
    assert not {name for name in same if name.endswith("safetensors")}


def test_cells_trained_alone_have_the_numbers_of_the_stack(
    finished: Run, small: SweepConfig, tmp_path: Path
) -> None:
    jobs = small.jobs.model_copy(update={"stack": 1})
    alone = run_sweep(Run.create(small.model_copy(update={"jobs": jobs}), tmp_path)).run
    for cell in CELLS:
        for name, weight in alone.sae(cell).tensors().items():
            # 20 steps of float32: rounding differs with the shape of the product.
            torch.testing.assert_close(
                weight, finished.sae(cell).tensors()[name], atol=1e-5, rtol=1e-4
            )


def test_history_ends_with_the_numbers_of_the_result(finished: Run) -> None:
    for cell in finished.cells:
        history, result = finished.history(cell), finished.folder(cell).result()
        assert history["epoch"].tolist() == [0, 5, 10, 15, 20]
        for key in ("recon_loss", "mmcs", "dead_neurons", "l0", "fvu"):
            assert history[key][-1] == result["metrics"][key]


def test_snapshots_hold_the_dictionary_as_it_was(finished: Run) -> None:
    snapshots = finished.snapshots(CELLS[0])
    features = finished.ground_truth()["features"]
    assert snapshots["atoms"].shape == (5, 8, 3)
    np.testing.assert_allclose(np.linalg.norm(snapshots["atoms"], axis=-1), 1, atol=1e-6)
    cosines = np.einsum("nd,tmd->tnm", features, snapshots["atoms"])
    np.testing.assert_allclose(snapshots["best_cosine"], cosines.max(-1), atol=1e-6)
    np.testing.assert_array_equal(snapshots["best_atom"], cosines.argmax(-1))
    np.testing.assert_array_equal(snapshots["atoms"][-1], finished.sae(CELLS[0]).W_dec.numpy())


def test_matrices_hold_the_values_of_the_long_table(finished: Run) -> None:
    long = {(row["dict_size"], row["l1_penalty"]): row for row in finished.metrics()}
    for key in OF_ANY_RUN:
        for line in read_rows(finished.metrics_dir / f"{key}.csv"):
            for penalty in ("0.01", "0.1"):
                expected = long[line["dict_size"], float(penalty)][key]
                np.testing.assert_equal(float(line[penalty]), float(expected))


def test_resume_trains_only_what_is_not_done(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    run = Run(path)
    (run.folder(CELLS[1]).path / "result.json").unlink()
    kept = [run.folder(cell).path / "result.json" for cell in CELLS if cell != CELLS[1]]
    before = [(sha256(file), file.stat().st_mtime_ns) for file in kept]
    summary = run_sweep(run)
    assert summary.done
    assert [(sha256(file), file.stat().st_mtime_ns) for file in kept] == before
    # Trained alone this time, so equal within rounding.
    for name, weight in run.sae(CELLS[1]).tensors().items():
        expected = load_file(finished.folder(CELLS[1]).path / "sae.safetensors")[name]
        torch.testing.assert_close(weight, expected, atol=1e-5, rtol=1e-4)


def test_a_damaged_cell_is_left_alone_until_it_is_asked_for(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    run = Run(path)
    weights = run.folder(CELLS[0]).path / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    assert not run_sweep(run).done
    assert run.folder(CELLS[0]).state() == "damaged"
    assert run_sweep(run, retry_failed=True).done
    aside = list(run.folder(CELLS[0]).path.glob("earlier/*/sae.safetensors"))
    assert len(aside) == 1  # nothing is deleted


def test_a_cell_that_diverges_fails_alone(tmp_path: Path) -> None:
    config = parse_config(
        """
        data: {activation_dim: 3, n_features: 4, mean_active: 1}
        grid: {l1: [0.01, 0.1], dict_size: [8, 16], train.lr: [1e-3, 1e38]}
        train: {epochs: 10, batch_size: 64}
        snapshot_every: 2
        eval: {n_samples: 500}
        """
    )
    summary = run_sweep(Run.create(config, tmp_path))
    states = {row["cell"]: row["state"] for row in summary.rows}
    assert states == {
        cell.name: "failed" if cell.train.lr > 1 else "done" for cell in summary.run.cells
    }
    failed = summary.run.folder("l1=0.01_dict=8_train.lr=1e+38")
    assert "diverged" in failed.error() and "epoch" in failed.error()
    # Its neighbours have the numbers they have without it.
    healthy = config.model_copy(update={"grid": {**config.grid, "train.lr": [1e-3]}})
    other = run_sweep(Run.create(healthy, tmp_path)).run
    for name, weight in other.sae("l1=0.1_dict=8_train.lr=0.001").tensors().items():
        torch.testing.assert_close(
            weight, summary.run.sae("l1=0.1_dict=8_train.lr=0.001").tensors()[name]
        )
    # It is in no average: the larger dictionary at that learning rate does not exist.
    rows = {row["cell"]: row for row in summary.rows}
    assert np.isnan(rows["l1=0.01_dict=8_train.lr=1e+38"]["mmcs_larger"])


def test_the_library_does_what_the_command_does(small_file: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    run = saesweep.run(small_file, out=tmp_path / "out", name="mine")
    table = pandas.DataFrame(run.metrics())
    assert list(table["cell"]) == CELLS
    assert table["mmcs"].between(0, 1).all()
    assert run.features().shape == (4, 3)
    sae = run.sae(CELLS[0])
    x = torch.from_numpy(run.ground_truth()["sample_x"])
    assert sae.decode(sae.encode(x)).shape == x.shape
    assert saesweep.resume(tmp_path / "out" / "mine").metrics()[0]["state"] == "done"
    other = saesweep.run(run.config, out=tmp_path / "out", changes=["grid.l1=[0.5]"])
    assert [cell.sparsity for cell in other.cells] == [0.5, 0.5]


def test_result_json_is_json_with_null_for_nan(finished: Run) -> None:
    text = (finished.folder(CELLS[3]).path / "result.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_fail_fast_leaves_the_others_to_be_trained(tmp_path: Path) -> None:
    config = parse_config(
        """
        data: {activation_dim: 3, n_features: 4, mean_active: 1}
        grid: {l1: [0.1], dict_size: [8], train.lr: [1e-3, 1e38]}
        train: {epochs: 10, batch_size: 64}
        snapshot_every: 2
        eval: {n_samples: 500}
        """
    )
    run = Run.create(config, tmp_path)
    summary = run_sweep(run, settings=run.settings(["jobs.fail_fast=true"]))
    assert [row["state"] for row in summary.rows] == ["interrupted", "failed"]
    assert run.folder(run.cells[0]).checkpoints()  # what it had learned is kept
    assert [row["state"] for row in run_sweep(summary.run).rows] == ["done", "failed"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kept", ["{average: 0.9}", "{optimiser: schedule_free}"])
def test_what_a_snapshot_shows_is_not_what_goes_on(kept: str, tmp_path: Path) -> None:
    """A stack that is left at a snapshot goes on from its weights, not from their average."""
    text = """
        data: {activation_dim: 3, n_features: 4, mean_active: 1}
        grid: {l1: [0.1], dict_size: [8], train.lr: [1e-2, 1e38], train.epochs: [10],
               train.batch_size: [64]}
        snapshot_every: 2
        eval: {n_samples: 500}
        train: """
    config = parse_config(text + kept)
    whole = run_sweep(Run.create(config, tmp_path)).run
    left = Run.create(config, tmp_path)
    run_sweep(left, settings=left.settings(["jobs.fail_fast=true"]))
    run_sweep(left)
    one, other = (run.sae(run.cells[0]) for run in (whole, left))
    assert torch.allclose(one.W_dec, other.W_dec, rtol=1e-4, atol=1e-6)


def test_a_run_is_continued_on_the_device_it_began_on(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    facts = json.loads((path / "provenance.json").read_text())
    facts["device"]["kind"] = "cuda:1"
    (path / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="trained on cuda before"):
        run_sweep(Run(path), settings=Run(path).settings(["jobs.device=cpu"]))
    with pytest.raises(UsageError, match="should be auto, cpu, cuda or cuda:N"):
        Run(path).settings(["jobs.device=gpu"])


def test_resuming_keeps_the_first_provenance(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    run_sweep(Run(path))
    first, now = (json.loads((p / "provenance.json").read_text()) for p in (finished.path, path))
    assert len(now.pop("resumed")) == 1
    assert now == first


def test_temporary_files_of_living_processes_are_left(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine, theirs = (temporary_name(path / "x.gif", pid) for pid in (os.getpid(), dead.pid))
    mine.touch()
    theirs.touch()
    Run(path).sweep_up()
    assert mine.exists() and not theirs.exists()


def test_a_run_whose_config_was_edited_is_refused(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    before = tree(path)
    with pytest.raises(UsageError, match=r"edited after the run began.*: seed was 0 and is 1"):
        run_sweep(Run(path))
    assert tree(path) == before


def test_a_run_from_before_a_key_was_there_goes_on(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    file = path / "provenance.json"
    facts = json.loads(file.read_text())
    for key in ("probability_law", "magnitudes", "hierarchy", "bias_norm", "directions"):
        del facts["config"]["data"][key]
    file.write_text(json.dumps(facts))
    shutil.rmtree(path / "cells" / CELLS[0])
    assert run_sweep(Run(path)).done


def test_what_no_number_depends_on_may_be_edited(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    config = path / "config.yaml"
    text = config.read_text().replace("checkpoint_every: 60.0", "checkpoint_every: 5 # sooner")
    assert text != config.read_text()
    config.write_text(text)
    assert run_sweep(Run(path)).done


def test_another_format_is_refused(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    facts = json.loads((path / "provenance.json").read_text()) | {"format": 99, "saesweep": "9.1"}
    (path / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match=r"in format 99, written by saesweep 9\.1; .* format 1"):
        run_sweep(Run(path))


def test_other_features_are_refused(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run1"
    shutil.copytree(finished.path, path)
    truth = path / "data" / "ground_truth.safetensors"
    tensors = load_file(truth)
    tensors["features"] = tensors["features"].roll(1, dims=0)
    save_file(tensors, truth)
    with pytest.raises(UsageError, match="its features are not those that this config draws"):
        run_sweep(Run(path))
    truth.write_bytes(b"damaged")  # what cannot be read is made again
    assert run_sweep(Run(path)).done
    assert truth.read_bytes() == (finished.path / "data/ground_truth.safetensors").read_bytes()
