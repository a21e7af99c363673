"""What is recorded of one cell while it trains, and kept in its checkpoints."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from saesweep.catalogue import HISTORY as METRICS_OF_A_SNAPSHOT
from saesweep.cell_folder import CellFolder, Checkpoint
from saesweep.files import Row
from saesweep.grid import Cell
from saesweep.metrics.tracking import Track

HISTORY, TRACK = "history.", "track."
"""How the names of recorded tensors begin in a checkpoint, beside those of the training state."""


class Record:
    """The history and the track of ``cell``, which grow by one at every snapshot."""

    def __init__(self, cell: Cell, folder: CellFolder, track: Track) -> None:
        self.cell, self.folder, self.track = cell, folder, track
        self.history: list[Row] = []
        self.failed = False
        self._before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the cell has trained, attempts before this one included."""
        return self._before + time.monotonic() - self._started

    def write_history(self) -> None:
        """Let others see how far the cell is."""
        if self.history:
            self.folder.write_history(self.history)

    def prepare_checkpoint(self, state: dict[str, Tensor], step: int) -> None:
        """Keep ``state``, the cell's part of the training state after ``step`` steps, and this."""
        columns = {  # numbered, as the file holds its tensors by name
            f"{HISTORY}{i:02}.{key}": torch.tensor(
                [row[key] for row in self.history], dtype=torch.float64
            )
            for i, key in enumerate(self.history[0])
        }
        track = {f"{TRACK}{name}": tensor for name, tensor in self.track.tensors().items()}
        self.folder.prepare_checkpoint({**state, **columns, **track}, step, self.seconds)

    def restore(self, saved: Checkpoint) -> dict[str, Tensor]:
        """Go back to a checkpoint; its part of the training state."""
        tensors = {name: torch.from_numpy(array) for name, array in saved.arrays.items()}
        columns = {key[3:]: column for key, column in sorted(_taken(tensors, HISTORY).items())}
        for name in ("epoch", "step"):
            columns[name] = columns[name].to(torch.int64)
        for name in METRICS_OF_A_SNAPSHOT:  # an earlier version did not have them all
            columns.setdefault(name, torch.full((len(columns["epoch"]),), math.nan))
        values = zip(*(column.tolist() for column in columns.values()), strict=True)
        self.history = [dict(zip(columns, row, strict=True)) for row in values]
        self.track.restore(_taken(tensors, TRACK))
        self._before = saved.seconds
        return tensors


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those of ``tensors`` whose names begin with ``prefix``, taken out of it, without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
