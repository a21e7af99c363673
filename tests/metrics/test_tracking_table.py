"""``metrics/tracking.csv`` of runs whose snapshots are written by hand."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from saesweep.config import SweepConfig
from saesweep.dictionaries.sae import SAE
from saesweep.files import read_rows
from saesweep.metrics.tracking_table import COLUMNS, write_tracking
from saesweep.run_folder import Run

SNAPSHOTS = {
    "epoch": torch.tensor([0, 10]),
    "step": torch.tensor([0, 40]),
    "best_cosine": torch.tensor([[0.95, 0.25], [0.99, 0.97]]),
    "best_atom": torch.tensor([[1, 0], [0, 2]]),
    "dead": torch.tensor([[True, False, False], [False, True, True]]),
}


def run_of(grid: dict[str, Any], out: Path) -> Run:
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    return Run.create(SweepConfig.model_validate({"data": data, "grid": grid}), out)


def finish(run: Run, place: int, snapshots: dict[str, torch.Tensor]) -> None:
    folder = run.folder(run.cells[place])
    folder.begin("by hand")
    folder.write_history([{"epoch": 0, "step": 0, "loss": 1.0}])
    atoms = torch.eye(3)
    sae = SAE(W_enc=atoms.clone(), b_enc=torch.zeros(3), W_dec=atoms, b_dec=torch.zeros(3))
    folder.finish(sae.tensors(), snapshots, {})


def test_a_row_a_cell_and_snapshot(tmp_path: Path):
    run = run_of({"l1": [0.1, 0.2], "dict_size": [3], "seed": [4]}, tmp_path)
    finish(run, 0, SNAPSHOTS)
    finish(run, 1, SNAPSHOTS)
    rows = read_rows(write_tracking(run))
    assert [row["cell"] for row in rows] == [cell.name for cell in run.cells for _ in range(2)]
    assert list(rows[0])[-len(COLUMNS) :] == list(COLUMNS)
    assert {key: rows[3][key] for key in ("l1_penalty", "dict_size", "seed")} == {
        "l1_penalty": 0.2,
        "dict_size": 3,
        "seed": 4,
    }
    expected = {
        "epoch": 10,
        "step": 40,
        "learned": 2,
        "newly_learned": 1,
        "unlearned": 0,
        "same_atom": 0,
        "moved": 1,
        "mean_cosine": 0.98,
        "mean_cosine_learned": 0.98,
        "mean_cosine_newly_learned": 0.97,
        "mean_cosine_moved": 0.99,
        "dead": 2,
        "newly_dead": 2,
        "revived": 1,
    }
    assert {key: rows[3][key] for key in expected} == pytest.approx(expected)
    assert math.isnan(rows[3]["mean_cosine_unlearned"])
    assert math.isnan(rows[3]["mean_cosine_same_atom"])


def test_cells_that_are_not_done_have_no_rows(tmp_path: Path):
    run = run_of({"l1": [0.1, 0.2, 0.3, 0.4], "dict_size": [3]}, tmp_path)
    finish(run, 0, SNAPSHOTS)
    run.folder(run.cells[1]).fail("diverged")
    finish(run, 2, {"epoch": torch.tensor([0])})  # of a version that recorded no atoms
    path = write_tracking(run)
    assert path == run.metrics_dir / "tracking.csv"
    assert {row["cell"] for row in read_rows(path)} == {run.cells[0].name}
    assert len(read_rows(write_tracking(run, done=[]))) == 0
    assert path.read_text().startswith("cell,l1_penalty,")


def test_damaged_cells_have_no_rows(finished: Run, tmp_path: Path):
    copy = Run(shutil.copytree(finished.path, tmp_path / "copy"))
    (copy.folder(copy.cells[0]).path / "snapshots.safetensors").write_bytes(b"damaged")
    cells = {row["cell"] for row in read_rows(write_tracking(copy))}
    assert cells == {cell.name for cell in copy.cells[1:]}
