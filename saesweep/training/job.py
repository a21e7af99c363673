"""One job: train its cells stacked, measure them at every snapshot, leave their records."""

from __future__ import annotations

import math
import platform
import socket
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from saesweep.cell_folder import Checkpoint
from saesweep.config import JobsConfig
from saesweep.data.batch import Source
from saesweep.data.geometric_median import geometric_median
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import Cell, keeps_atoms
from saesweep.metrics.evaluate import Snapshot, full, snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.metrics.tracking import Track
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.schedule import snapshot_epochs
from saesweep.signals import Wishes
from saesweep.training.loggers import Loggers
from saesweep.training.loop import train
from saesweep.training.record import Record
from saesweep.training.state import TrainingState

HISTORY_SECONDS = 5.0
"""How often at most an unfinished history is written, for `saesweep status` to read."""


def train_stack(
    run: Run,
    cells: Sequence[Cell],
    saved: Mapping[str, Checkpoint],
    source: Source,
    data: EvaluationSet,
    reporter: Reporter,
    wishes: Wishes,
    settings: JobsConfig,
) -> None:
    """Train ``cells`` on ``source`` and measure them on ``data``.

    They share their batches, and all start from step 0, or from checkpoints of one step: ``saved``
    by name. A cell whose loss is not finite fails alone; every other is done at the end. When
    ``wishes`` ask to stop, or with `jobs.fail_fast` when one fails, the others write checkpoints.
    """
    config = run.config
    stack = Stack(cells, config.data.activation_dim, config.seed, source.device)
    if cells[0].model.decoder_bias and not saved:
        stack.start_biases(geometric_median(source.batch(0, cells[0].train.batch_size).x))
    trainer = _Trainer(run, TrainingState(stack), data, reporter, wishes, settings)
    trainer.begin(source.device, saved)
    with trainer.loggers:
        finished = train(
            trainer.state,
            source,
            cells[0].train,
            {*snapshot_epochs(config.snapshot_every, cells[0].train.epochs)},
            trainer.snapshot,
            trainer.go_on,
        )
        if finished:
            with trainer.state.measured():
                trainer.finish()
        elif trainer.gives_up:
            # Now that the stack holds again what is trained: a snapshot may be of averages.
            trainer.save(trainer.state.step)


class _Trainer:
    """Keeps the records of stacked cells from snapshot to snapshot."""

    def __init__(
        self,
        run: Run,
        state: TrainingState,
        data: EvaluationSet,
        reporter: Reporter,
        wishes: Wishes,
        settings: JobsConfig,
    ) -> None:
        self.run, self.state, self.data = run, state, data
        self.reporter, self.wishes, self.settings = reporter, wishes, settings
        self.groups = state.stack.groups
        self.device = state.stack.parameters.device
        self.moments: list[Snapshot] = []
        probabilities = torch.tensor(list(run.config.data.probabilities()))
        self.records = {
            cell.name: Record(
                cell,
                run.folder(cell),
                Track(probabilities, keep_atoms=keeps_atoms(run.config, cell)),
            )
            for group in self.groups
            for cell in group.cells
        }
        self.loggers = Loggers(run, [*self.records.values()], settings.loggers, reporter.note)
        self.written = self.saved = time.monotonic()
        self.gives_up = False
        """Whether a cell failed, and with `jobs.fail_fast` all others with it"""

    @property
    def alive(self) -> list[Record]:
        """The records of the cells that have not failed."""
        return [record for record in self.records.values() if not record.failed]

    def begin(self, device: str, saved: Mapping[str, Checkpoint]) -> None:
        """Start the cells, or take them up where their checkpoints left them."""
        others = len(self.records) - 1
        how = f"training on {device}" + (f", stacked with {others} others" if others else "")
        if saved:
            how += f", from step {next(iter(saved.values())).step}"
            states = {name: self.records[name].restore(saved[name]) for name in self.records}
            self.state.restore(next(iter(saved.values())).step, states)
        for record in self.records.values():
            record.folder.begin(how, afresh=not saved)

    def go_on(self, step: int) -> bool:
        """Write checkpoints after ``step`` steps if it is time; whether to go on."""
        every = self.settings.checkpoint_every
        if self.wishes.stop or self.wishes.save or time.monotonic() - self.saved >= every:
            self.wishes.save = False
            self.save(step)
        return not self.wishes.stop

    def save(self, step: int) -> None:
        """Write checkpoints of the cells that have not failed, after ``step`` steps."""
        if self.wishes.stop:
            self.reporter.note("writing checkpoints; Ctrl-C again stops at once")
        parts, alive = self.state.parts(), self.alive if step else []  # at 0 nothing is to keep
        for record in alive:
            record.prepare_checkpoint(parts[record.cell.name], step)
        for record in alive:
            record.folder.commit_checkpoint()
            record.write_history()
            if self.wishes.stop:
                record.folder.log(f"stopped after step {step}, with a checkpoint")
        self.saved = time.monotonic()

    def snapshot(self, epoch: int, step: int) -> bool:
        """Measure and record every cell that has not failed; whether to go on."""
        threshold = self.run.config.eval.learned_threshold
        self.moments = [snapshot(group, self.data, threshold) for group in self.groups]
        for group, moment in zip(self.groups, self.moments, strict=True):
            for place, cell in enumerate(group.cells):
                if not self.records[cell.name].failed:
                    self._record(group, moment, place, epoch, step)
        alive = self.alive
        latest = {record.cell.name: record.history[-1] for record in alive}
        self.loggers.log(alive)
        self.reporter.progress(epoch, latest)
        if time.monotonic() - self.written > HISTORY_SECONDS:
            for record in alive:
                record.write_history()
            self.written = time.monotonic()
        if not alive:
            return False
        if self.settings.fail_fast and len(alive) < len(self.records):
            if epoch == alive[0].cell.train.epochs:
                return True  # they are at their end
            self.gives_up = True
            return False
        return True

    def _record(self, group: Group, moment: Snapshot, place: int, epoch: int, step: int) -> None:
        record, row = self.records[group.cells[place].name], moment.rows[place]
        if not math.isfinite(row["loss"]):
            self._diverged(record, row["loss"], epoch, step)
            return
        record.history.append({"epoch": epoch, "step": step, **row})
        record.track.add(
            epoch, step, moment.C[place], moment.fires[place] == 0, moment.atoms[place]
        )

    def _diverged(self, record: Record, loss: float, epoch: int, step: int) -> None:
        record.failed = True
        details = ""
        reason = f"diverged: its loss is {loss} after epoch {epoch} (step {step})"
        if record.history:
            last = record.history[-1]
            reason += f"; it was {last['loss']:.4g} after epoch {last['epoch']}"
            record.write_history()
            details = "".join(f"{key}: {value}\n" for key, value in last.items())
            details = f"The last metrics that were finite:\n{details}"
        self.run.fail(record.cell, reason, details)
        self.reporter.finished(record.cell, "failed", reason)

    def finish(self) -> None:
        """Measure the living cells in full and write what makes them done."""
        for group, moment in zip(self.groups, self.moments, strict=True):
            if all(self.records[cell.name].failed for cell in group.cells):
                continue
            metrics = full(group, self.data, moment)
            densities = moment.fires / len(self.data)
            for place, cell in enumerate(group.cells):
                record = self.records[cell.name]
                if not record.failed:
                    self._finish(record, group.sae(place), densities[place], metrics[place])

    def _finish(self, record: Record, sae: SAE, density: Tensor, metrics: dict[str, float]) -> None:
        seconds = round(record.seconds, 3)
        record.write_history()
        record.folder.finish(
            sae.tensors(),
            record.track.tensors() | {"density": density},
            metrics,
            steps=self.state.step,
            seconds=seconds,
            cells_in_job=len(self.records),
            eval_samples=len(self.data),
            device=str(self.device),
            device_name=_name(self.device),
            host=socket.gethostname(),
        )
        self.run.record("cell_done", cell=record.cell.name, seconds=seconds)
        self.reporter.finished(record.cell, "done")


def _name(device: torch.device) -> str:
    """What a device is, on whatever machine this job runs."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
