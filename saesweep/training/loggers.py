"""Where the histories of cells go besides their folders: TensorBoard and Weights & Biases.

Neither is needed, and neither does harm: a logger that fails is dropped, and training goes on.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from saesweep import files
from saesweep.catalogue import HISTORY
from saesweep.config import JobsConfig
from saesweep.errors import StorageError, UsageError
from saesweep.extras import is_installed
from saesweep.files import Row
from saesweep.grid import Cell
from saesweep.run_folder import Run
from saesweep.training.record import Record

FLUSH_SECONDS = 10
"""How often what TensorBoard shows is written to disk."""
WANDB_SECONDS = {"init_timeout": 60.0, "login_timeout": 1.0, "finish_timeout": 60.0}
"""How long wandb may wait for its server: to begin, for somebody to log in, and at the end."""


def refuse_missing(settings: JobsConfig) -> None:
    """``UsageError`` where the package of one of `jobs.loggers` is not installed."""
    for name in settings.loggers:
        if not is_installed(name):
            hint = f"pip install 'saesweep[{name}]'"
            raise UsageError(f"jobs.loggers: {name} is not installed; {hint}")


class Logger(Protocol):
    """What the snapshots of one cell are told."""

    def log(self, row: Row) -> None:
        """Take a row of the cell's history, as `Record.history` has them."""

    def close(self, *, done: bool) -> None:
        """Nothing more comes: the cell is ``done``, or not."""


class Loggers:
    """The loggers ``names`` of ``records``, the cells of a stack in ``run``.

    One that raises is dropped for the whole stack, as what ails it (a disk, a network, a package)
    ails it for each cell, and may take a minute to show. ``note`` hears of it.
    """

    def __init__(
        self,
        run: Run,
        records: Sequence[Record],
        names: Sequence[str],
        note: Callable[[str], None],
    ) -> None:
        self.run, self.records, self.note = run, records, note
        self.open: dict[str, dict[str, Logger]] = {name: {} for name in names}
        """By their names, those of each cell."""

    def __enter__(self) -> Loggers:
        """Start, and catch up with what cells have recorded before: up to their checkpoints."""
        for name, loggers in [*self.open.items()]:
            try:
                for record in self.records:
                    logger = loggers[record.cell.name] = KINDS[name](self.run, record.cell)
                    for row in record.history:
                        logger.log(row)
            except Exception as error:
                self._drop(name, error)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End them all."""
        self._close(done=kind is None)

    def log(self, records: Sequence[Record]) -> None:
        """Tell the last rows of ``records``."""
        for name, loggers in [*self.open.items()]:
            try:
                for record in records:
                    loggers[record.cell.name].log(record.history[-1])
            except Exception as error:
                self._drop(name, error)

    def _close(self, *, done: bool) -> None:
        for name, loggers in [*self.open.items()]:
            try:
                for record in self.records:
                    loggers.pop(record.cell.name).close(done=done and not record.failed)
            except Exception as error:
                self._drop(name, error)

    def _drop(self, name: str, error: Exception) -> None:
        """Go on without the logger ``name``, and say so once in the log of each of its cells."""
        reason = (str(error).splitlines() or [""])[0]
        text = f"{name} failed, and logs no more: {type(error).__name__}: {reason}"
        with contextlib.suppress(StorageError):  # who trains will meet it, and say so
            for record in self.records:
                record.folder.log(text)
            self.run.record(
                "logger_dropped",
                logger=name,
                cells=[record.cell.name for record in self.records],
                reason=f"{type(error).__name__}: {reason}",
            )
        self.note(text)
        for logger in self.open.pop(name).values():
            try:
                logger.close(done=False)
            except Exception:  # it is broken, as was said; so will the others be
                break


def _finite(row: Row) -> dict[str, float]:
    """The metrics of a row that have a value."""
    return {key: row[key] for key in HISTORY if key in row and math.isfinite(row[key])}


class TensorBoard:
    """Events in ``RUN/tensorboard/<cell>``.

    A cell that goes on writes them anew, from its checkpoint's history: then there is each step
    once, whatever a kill left. `purge_step` makes a TensorBoard that watches forget, too.
    """

    def __init__(self, run: Run, cell: Cell) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.path / "tensorboard" / cell.name
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
        self.writer = SummaryWriter(str(folder), purge_step=0, flush_secs=FLUSH_SECONDS)
        lines = [f"| {key} | {value} |" for key, value in _flat(cell.describe()).items()]
        self.writer.add_text("cell", "\n".join(["| key | value |", "|---|---|", *lines]))

    def log(self, row: Row) -> None:
        """Write one event that holds the whole row: a seventh of the time of one each."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=k, simple_value=x) for k, x in _finite(row).items()]
        writer = self.writer._get_file_writer()
        writer.add_summary(Summary(value=values), row["step"])

    def close(self, *, done: bool) -> None:
        """Write what waits."""
        self.writer.close()


class Wandb:
    """A wandb run for each cell, whose files are in ``RUN/wandb``.

    ``RUN/wandb/<cell>.txt`` has its id, and the steps that were logged: no server knows them where
    wandb is offline. A cell that goes on goes on in its wandb run, and logs no step twice.
    """

    def __init__(self, run: Run, cell: Cell) -> None:
        import wandb

        self.path = run.path / "wandb" / f"{cell.name}.txt"
        identity, logged = self._before()
        fields = wandb.Settings.model_fields  # finish_timeout came late
        self.wandb_run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "saesweep",
            group=run.name,
            name=cell.name,
            id=identity,
            config=cell.describe(),
            dir=str(run.path),
            resume="allow",
            reinit="create_new",  # as many at once as there are cells
            settings=wandb.Settings(
                silent=True,  # its lines would tear the display
                console="off",
                finish_timeout_raises=True,
                **{key: seconds for key, seconds in WANDB_SECONDS.items() if key in fields},
            ),
        )
        self.logged = max(logged, self.wandb_run.step - 1)

    def log(self, row: Row) -> None:
        """Log a row; the step is noted first, as a point that is lost is better than two."""
        if row["step"] > self.logged:
            self.logged = row["step"]
            files.append_line(self.path, str(self.logged))
            self.wandb_run.log(_finite(row), step=self.logged)

    def close(self, *, done: bool) -> None:
        """Let wandb send what waits."""
        self.wandb_run.finish(exit_code=0 if done else 1)

    def _before(self) -> tuple[str, int]:
        """The id of the cell's wandb run, and the last step that it was told; -1 if none."""
        try:
            identity, *steps = self.path.read_text(encoding="utf-8").split()
            return identity, max(map(int, steps), default=-1)
        except (OSError, ValueError):
            identity = secrets.token_hex(6)
            files.write_text(self.path, f"{identity}\n")
            return identity, -1


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree as one mapping with keys as ``train.lr``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


KINDS: dict[str, Callable[[Run, Cell], Logger]] = {"tensorboard": TensorBoard, "wandb": Wandb}
"""By what `jobs.loggers` calls them."""
