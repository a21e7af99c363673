"""The folder of one cell: ``cells/<name>`` of a run."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from saesweep import files
from saesweep.errors import RunError, StorageError
from saesweep.files import Arrays, Row
from saesweep.grid import Cell
from saesweep.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

State = Literal["done", "failed", "damaged", "waiting"]
"""``damaged``: a result is there, but not the files that it was made with."""

RESULT = "result.json"
HASHED = ("cell.json", "history.csv", "snapshots.safetensors", "sae.safetensors")


class CellFolder:
    """Reads and writes the records of ``cell`` at ``path``.

    ``result.json`` is written last, with the hashes of the other files: its presence means done.
    """

    def __init__(self, path: Path, cell: Cell) -> None:
        self.path, self.cell = path, cell

    def state(self) -> State:
        """What has become of the cell, from the files alone."""
        if os.path.exists(self.path / RESULT):  # Path.exists raises where it may not look
            return "done" if self._intact() else "damaged"
        return "failed" if os.path.exists(self.path / "error.txt") else "waiting"

    def _intact(self) -> bool:
        try:
            hashes = self.result()["files"]
            return set(hashes) == set(HASHED) and all(
                files.sha256(self.path / name) == digest for name, digest in hashes.items()
            )
        except (RunError, OSError, LookupError, TypeError, AttributeError):
            return False

    def result(self) -> Row:
        """What ``result.json`` says: ``metrics`` by key (NaN where undefined), ``seconds``, …"""
        result = files.read_json(self.path / RESULT)
        try:
            metrics = result["metrics"].items()
            result["metrics"] = {k: math.nan if v is None else float(v) for k, v in metrics}
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise RunError(f"{self.path / RESULT}: damaged: it has no metrics") from None
        return result

    def history(self) -> Arrays:
        """The columns of ``history.csv``, [snapshots] each."""
        path = self.path / "history.csv"
        rows = files.read_rows(path)
        try:
            return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
        except (IndexError, ValueError, OverflowError):
            raise RunError(f"{path}: damaged: not rows of numbers") from None

    def snapshots(self) -> Arrays:
        """The arrays of ``snapshots.safetensors`` (see `metrics.tracking.Track.tensors`)."""
        return files.read_arrays(self.path / "snapshots.safetensors")

    def progress(self, otherwise: int = 0) -> tuple[int, float]:
        """The last epoch in ``history.csv`` and its MMCS; ``otherwise`` and NaN if none is."""
        try:
            history = self.history()
            return int(history["epoch"][-1]), float(history["mmcs"][-1])
        except (RunError, LookupError, ValueError, OverflowError):
            return otherwise, math.nan

    def error(self) -> str:
        """Why the cell failed, in a line; empty if it did not."""
        try:
            text = (self.path / "error.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return text.partition("\n")[0]

    def logs(self) -> str:
        """``log.txt``, and ``error.txt`` below it; ``RunError`` if neither is there."""
        texts = []
        for name in ("log.txt", "error.txt"):
            with contextlib.suppress(OSError):
                texts.append((self.path / name).read_text(encoding="utf-8", errors="replace"))
        if not texts:
            raise RunError(f"{self.path}: no log yet; the cell has not been started")
        return "\n".join(text.rstrip() for text in texts)

    def begin(self, note: str) -> None:
        """Set out to train the cell: what an earlier attempt left moves aside."""
        try:
            self._move_aside()
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"{self.path}: cannot be moved aside: {reason}") from error
        files.write_json(self.path / "cell.json", self.cell.describe())
        self.log(note)

    def _move_aside(self) -> None:
        leftovers = [path for path in self.path.glob("*") if path.is_file()]
        if leftovers:
            earlier = self.path / "earlier"
            number = 1 + len(list(earlier.glob("*")))  # two attempts may fall into one second
            aside = earlier / time.strftime(f"%Y%m%d-%H%M%S-{number}")
            aside.mkdir(parents=True)
            # The marker goes first: a kill between two moves must not leave a cell that looks done.
            for path in sorted(leftovers, key=lambda path: path.name != RESULT):
                path.rename(aside / path.name)

    def log(self, text: str) -> None:
        """Add a line to ``log.txt``, with the time."""
        files.append_line(self.path / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def write_history(self, rows: Sequence[Row]) -> None:
        """Write ``history.csv``, one row a snapshot."""
        files.write_rows(self.path / "history.csv", rows, list(rows[0]))

    def finish(
        self,
        sae: Mapping[str, Tensor],
        snapshots: Mapping[str, Tensor],
        metrics: Mapping[str, float],
        **facts: Any,
    ) -> None:
        """Write the weights, the snapshots, and at last the result: the cell is done."""
        files.write_tensors(self.path / "sae.safetensors", sae)
        files.write_tensors(self.path / "snapshots.safetensors", snapshots)
        self.log("done")
        result = {
            "cell": self.cell.name,
            "metrics": dict(metrics),
            **facts,
            "saesweep": __version__,
            "files": {name: files.sha256(self.path / name) for name in HASHED},
        }
        files.write_json(self.path / RESULT, result)

    def fail(self, reason: str, details: str = "") -> None:
        """Write ``error.txt``: why in its first line, details below."""
        self.log(f"failed: {reason}")
        files.write_text(self.path / "error.txt", f"{reason}\n{details}")
