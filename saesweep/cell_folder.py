"""The folder of one cell: ``cells/<name>`` of a run."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from saesweep import files
from saesweep.errors import RunError, StorageError
from saesweep.files import Arrays, Row
from saesweep.grid import Cell
from saesweep.sealed import read_sealed, write_sealed
from saesweep.version import FORMAT, __version__

if TYPE_CHECKING:
    from torch import Tensor

State = Literal["done", "failed", "damaged", "waiting"]
"""``damaged``: a result is there, but not the files that it was made with."""
UNFINISHED = ("running", "queued", "interrupted", "waiting")
"""What a cell that waits may be to who knows its run, too (see `Run.state`), the furthest first."""

RESULT, LOG, ERROR = "result.json", "log.txt", "error.txt"
MOST_REASON = 4096
"""Bytes of the line that says why a cell failed."""
CHECKPOINT, NEXT_CHECKPOINT = "checkpoint.safetensors", "checkpoint.next.safetensors"
HASHED = ("cell.json", "history.csv", "snapshots.safetensors", "sae.safetensors")

SNAPSHOTS = {
    "epoch": ("iu", ("T",)),
    "step": ("iu", ("T",)),
    "best_cosine": ("f", ("T", "n_features")),
    "best_atom": ("iu", ("T", "n_features")),
    "dead": ("b", ("T", "dict_size")),
    "atoms": ("f", ("T", "dict_size", "d_in")),
    "cosines": ("f", ("T", "k", "k")),
    "density": ("f", ("dict_size",)),
}
"""The kinds (of NumPy) and shapes of what ``snapshots.safetensors`` may hold."""
TOGETHER = {"step", "best_cosine", "best_atom", "dead"}
"""Where one of them is, all are."""


@dataclass(frozen=True)
class Checkpoint:
    """All that it takes to go on with a cell."""

    arrays: Arrays
    """Its part of the training state, and its records."""
    step: int
    """How many steps it had taken."""
    seconds: float
    """How long it had trained."""


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
        return "failed" if os.path.exists(self.path / ERROR) else "waiting"

    def is_begun(self) -> bool:
        """Whether a job has begun to train the cell."""
        return os.path.exists(self.path / "cell.json") or bool(self.checkpoints())

    def _intact(self) -> bool:
        try:
            result = files.read_json(self.path / RESULT)
            if result.pop("sha256", None) != _digest(result):
                return False
            hashes = result["files"]
            return (
                result["cell"] == self.cell.name
                and set(hashes) == set(HASHED)
                and all(files.sha256(self.path / name) == digest for name, digest in hashes.items())
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
        """The columns of ``history.csv``, [snapshots] each; one of them is ``epoch``."""
        path = self.path / "history.csv"
        columns = files.read_columns(path)
        if "epoch" not in columns:
            raise RunError(f"{path}: damaged: it has no epochs")
        return columns

    def snapshots(self) -> Arrays:
        """The arrays of ``snapshots.safetensors`` (see `metrics.tracking.Track.tensors`).

        ``RunError`` where one is not of its shape, or one is missing that others go with.
        """
        path = self.path / "snapshots.safetensors"
        arrays = files.read_arrays(path)
        if problem := _of_snapshots(arrays, self.cell.dict_size):
            raise RunError(f"{path}: damaged: {problem}")
        return arrays

    def progress(self, otherwise: int = 0) -> tuple[int, Row]:
        """The last epoch in ``history.csv``, its mmcs and fvu; ``otherwise``, NaN if none is."""
        try:
            last = files.read_last_row(self.path / "history.csv")
            return int(last["epoch"]), {k: float(last.get(k, math.nan)) for k in ("mmcs", "fvu")}
        except (RunError, LookupError, ValueError, OverflowError, TypeError):
            return otherwise, {"mmcs": math.nan, "fvu": math.nan}

    def error(self) -> str:
        """Why the cell failed, in a line; empty if it did not."""
        if not os.path.lexists(self.path / ERROR):
            return ""
        try:
            text = files.read_text(self.path / ERROR, MOST_REASON)
        except RunError as error:
            return str(error)
        return text.partition("\n")[0]

    def log_files(self) -> list[Path]:
        """What is there of ``log.txt`` and ``error.txt``."""
        return [path for name in (LOG, ERROR) if os.path.lexists(path := self.path / name)]

    def logs(self, most: int | None = None) -> str:
        """``log.txt``, and ``error.txt`` below it; ``RunError`` if neither is there.

        With ``most``, at most so many bytes from the end of each.
        """
        texts = []
        for path in self.log_files():
            try:
                texts.append(files.read_text(path, most, from_end=True))
            except RunError as error:
                texts.append(str(error))
        if not texts:
            raise RunError(f"{self.path}: no log yet; the cell has not been started")
        return "\n".join(text.rstrip() for text in texts)

    def begin(self, note: str, *, afresh: bool = True) -> None:
        """Set out to train the cell: ``afresh``, what an earlier attempt left moves aside."""
        if afresh:
            self.set_aside()
        files.write_json(self.path / "cell.json", self.cell.describe())
        self.log(note)

    def retry(self) -> None:
        """Let a failed or damaged cell wait again, from its checkpoint if it has one."""
        if self.state() == "failed":
            self.set_aside(ERROR)
        else:
            self.set_aside()

    def set_aside(self, name: str | None = None) -> None:
        """Move all that is there, or what is called ``name``, to ``earlier/``."""
        there = os.listdir(self.path) if os.path.isdir(self.path) else []
        wanted = {name} if name else {*there} - {"earlier"}
        self._move_aside([self.path / entry for entry in there if entry in wanted])

    def _move_aside(self, paths: Sequence[Path]) -> None:
        if not paths:
            return
        try:
            earlier = self.path / "earlier"
            number = 1 + len(list(earlier.glob("*")))  # two attempts may fall into one second
            aside = earlier / time.strftime(f"%Y%m%d-%H%M%S-{number}")
            aside.mkdir(parents=True)
            # The marker goes first: a kill between two moves must not leave a cell that looks done.
            for path in sorted(paths, key=lambda path: path.name != RESULT):
                path.rename(aside / path.name)
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"{self.path}: cannot be moved aside: {reason}") from error

    # Checkpoints

    def prepare_checkpoint(self, tensors: Mapping[str, Tensor], step: int, seconds: float) -> None:
        """Keep all that it takes to go on from ``step``, after ``seconds`` of training.

        It stands beside the checkpoint before it until `commit_checkpoint`. So a kill between the
        first and the last cell of a stack leaves one step at which all have a checkpoint, and the
        stack can go on as one.
        """
        facts = {
            "format": FORMAT,
            "cell": self.cell.describe(),
            "step": step,
            "seconds": seconds,
        }
        write_sealed(self.path / NEXT_CHECKPOINT, tensors, facts)

    def commit_checkpoint(self) -> None:
        """Let the prepared checkpoint take the place of the one before it."""
        path = self.path / NEXT_CHECKPOINT
        try:
            path.replace(self.path / CHECKPOINT)
        except OSError as error:
            raise StorageError(f"{path}: cannot be renamed: {error.strerror}") from error

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints that are there: more than one only after a kill."""
        names = (CHECKPOINT, NEXT_CHECKPOINT)
        return [name for name in names if os.path.lexists(self.path / name)]

    def read_checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint ``name``.

        ``RunError`` if it is not as it was written, or belongs to another cell or version.
        """
        path = self.path / name
        arrays, facts = read_sealed(path)
        if facts.get("format") != FORMAT:
            raise RunError(
                f"{path}: written in format {facts.get('format')}; "
                f"saesweep {__version__} continues format {FORMAT}"
            )
        of = facts.get("cell")
        if not isinstance(of, dict) or self.cell.differences(of):
            raise RunError(f"{path}: of a cell with other hyperparameters")
        return Checkpoint(arrays, int(facts["step"]), float(facts["seconds"]))

    def drop_checkpoints(self) -> None:
        """Remove the checkpoints of a cell that is done."""
        for name in self.checkpoints():
            with contextlib.suppress(OSError):  # they do no harm
                (self.path / name).unlink()

    # Writing

    def log(self, text: str) -> None:
        """Add a line to ``log.txt``, with the time."""
        files.append_line(self.path / LOG, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

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
        files.write_json(self.path / "cell.json", self.cell.describe())  # it may have been deleted
        self.set_aside(ERROR)
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
        files.write_json(self.path / RESULT, {**result, "sha256": _digest(result)})
        self.drop_checkpoints()

    def fail(self, reason: str, details: str = "") -> None:
        """Write ``error.txt``: why in its first line, details below."""
        self.log(f"failed: {reason}")
        files.write_text(self.path / ERROR, f"{reason}\n{details}")


def _digest(result: Row) -> str:
    """The hash of all that a result says: an edited metric is damage, too."""
    return hashlib.sha256(files.to_json(result).encode()).hexdigest()


def _of_snapshots(arrays: Arrays, dict_size: int) -> str:
    """What is wrong with the arrays of ``snapshots.safetensors``; empty if nothing is.

    Earlier versions kept fewer, and later ones may keep more.
    """
    lengths = {"dict_size": dict_size}
    missing = {"epoch", *(TOGETHER if TOGETHER & arrays.keys() else ())} - arrays.keys()
    if missing:
        return f"it has no {min(missing)}"
    for name, (kinds, axes) in SNAPSHOTS.items():
        if (array := arrays.get(name)) is None:
            continue
        if array.dtype.kind not in kinds or array.ndim != len(axes):
            return f"{name} is {array.dtype} {list(array.shape)}"
        for axis, length in zip(axes, array.shape, strict=True):
            if length != lengths.setdefault(axis, length):
                return f"{name} has {length} and not {lengths[axis]} along {axis}"
    return "" if lengths["T"] else "it has no snapshot"
