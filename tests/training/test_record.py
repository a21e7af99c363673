"""What is recorded of a cell, and taken up from its checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from saesweep.catalogue import HISTORY
from saesweep.cell_folder import CellFolder
from saesweep.metrics.tracking import Track
from saesweep.run_folder import Run
from saesweep.training.record import Record


def record(run: Run) -> Record:
    cell = run.cells[0]
    return Record(cell, run.folder(cell), Track(torch.ones(4), keep_atoms=True))


def test_a_checkpoint_of_an_earlier_version_lacks_metrics(finished: Run, tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, finished.cells[0])
    before = record(finished)
    before.folder = folder
    before.history = [
        {"epoch": i, "step": i, "mmcs": i / 4, "loss": 1.0, "recon_loss": 0.5} for i in range(3)
    ]
    before.track.add(0, 0, torch.eye(4), torch.zeros(4) > 1, torch.eye(4))
    before.prepare_checkpoint({}, 2)
    folder.commit_checkpoint()
    after = record(finished)
    after.restore(folder.read_checkpoint("checkpoint.safetensors"))
    assert [row["mmcs"] for row in after.history] == [0, 0.25, 0.5]
    assert set(after.history[0]) == {"epoch", "step", *HISTORY}
    assert all(math.isnan(row["gamma"]) for row in after.history)
