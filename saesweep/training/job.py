"""One job: train its cells stacked, measure them at every snapshot, leave their records."""

from __future__ import annotations

import math
import time

import torch

from saesweep.cell_folder import CellFolder
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Group, Stack
from saesweep.files import Row
from saesweep.grid import Cell, Job, keeps_atoms
from saesweep.metrics.evaluate import Snapshot, full, snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.metrics.tracking import Track
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.training.loop import train

HISTORY_SECONDS = 5.0
"""How often at most an unfinished history is written, for `saesweep status` to read."""


def train_job(
    run: Run,
    job: Job,
    source: SyntheticSource,
    data: EvaluationSet,
    reporter: Reporter,
    *,
    fail_fast: bool = False,
) -> None:
    """Train the cells of ``job`` on ``source`` and measure them on ``data``.

    A cell whose loss is not finite fails alone; every other is done at the end. With ``fail_fast``
    the others are left as they are, to be trained another time.
    """
    config, cells = run.config, job.cells
    for cell in cells:
        others = f", stacked with {len(cells) - 1} others" if len(cells) > 1 else ""
        run.folder(cell).begin(f"training on {source.device}{others}")
    stack = Stack(cells, config.data.activation_dim, config.seed, source.device)
    recorder = _Recorder(run, job, stack, data, reporter)

    def on_snapshot(epoch: int, step: int) -> bool:
        recorder.record(epoch, step)
        failed = len(cells) - len(recorder.alive)
        return failed < (1 if fail_fast else len(cells))

    if train(stack, source, cells[0].train, config.snapshot_every, on_snapshot):
        recorder.finish()


class _Recorder:
    """Keeps the records of a job's cells from snapshot to snapshot."""

    def __init__(
        self, run: Run, job: Job, stack: Stack, data: EvaluationSet, reporter: Reporter
    ) -> None:
        self.run, self.job, self.stack, self.data, self.reporter = run, job, stack, data, reporter
        self.started = self.written = time.monotonic()
        self.alive = {cell.name for cell in job.cells}
        self.histories: dict[str, list[Row]] = {cell.name: [] for cell in job.cells}
        probabilities = torch.tensor(list(run.config.data.probabilities()))
        self.tracks = {
            cell.name: Track(probabilities, keep_atoms=keeps_atoms(run.config, cell))
            for cell in job.cells
        }
        self.moments: list[Snapshot] = []

    def record(self, epoch: int, step: int) -> None:
        """Measure and record every cell that has not failed."""
        threshold = self.run.config.eval.learned_threshold
        self.moments = [snapshot(group, self.data, threshold) for group in self.stack.groups]
        for group, moment in zip(self.stack.groups, self.moments, strict=True):
            for place, cell in enumerate(group.cells):
                if cell.name in self.alive:
                    self._record(group, moment, place, epoch, step)
        latest = {name: self.histories[name][-1] for name in self.alive}
        self.reporter.progress(self.job, epoch, latest)
        if time.monotonic() - self.written > HISTORY_SECONDS:
            self._write_histories()

    def _record(self, group: Group, moment: Snapshot, place: int, epoch: int, step: int) -> None:
        cell, row = group.cells[place], moment.rows[place]
        if not math.isfinite(row["loss"]):
            self._diverged(cell, row["loss"], epoch, step)
            return
        self.histories[cell.name].append({"epoch": epoch, "step": step, **row})
        self.tracks[cell.name].add(
            epoch, step, moment.C[place], moment.fires[place] == 0, group.decoder[place]
        )

    def _diverged(self, cell: Cell, loss: float, epoch: int, step: int) -> None:
        self.alive.discard(cell.name)
        history = self.histories[cell.name]
        reason = f"diverged: its loss is {loss} after epoch {epoch} (step {step})"
        if history:
            last = history[-1]
            reason += f"; it was {last['loss']:.4g} after epoch {last['epoch']}"
            self._folder(cell.name).write_history(history)
        self._folder(cell.name).fail(reason)
        self.run.record("cell_failed", cell=cell.name, reason=reason)
        self.reporter.finished(cell, "failed", reason)

    def finish(self) -> None:
        """Measure the living cells in full and write what makes them done."""
        self._write_histories()
        seconds = round(time.monotonic() - self.started, 3)
        for group, moment in zip(self.stack.groups, self.moments, strict=True):
            if not any(cell.name in self.alive for cell in group.cells):
                continue
            for place, (cell, metrics) in enumerate(
                zip(group.cells, full(group, self.data, moment), strict=True)
            ):
                if cell.name in self.alive:
                    self._folder(cell.name).finish(
                        group.sae(place).tensors(),
                        self.tracks[cell.name].tensors(),
                        metrics,
                        steps=self.histories[cell.name][-1]["step"],
                        seconds=seconds,
                        cells_in_job=len(self.job.cells),
                        device=str(group.decoder.device),
                    )
                    self.run.record("cell_done", cell=cell.name, seconds=seconds)
                    self.reporter.finished(cell, "done")

    def _write_histories(self) -> None:
        for name in self.alive:
            self._folder(name).write_history(self.histories[name])
        self.written = time.monotonic()

    def _folder(self, name: str) -> CellFolder:
        return self.run.folder(name)
