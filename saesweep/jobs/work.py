"""What the jobs of one process share, and how one of them is done."""

from __future__ import annotations

import gc
import itertools
import traceback
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import torch

from saesweep.cell_folder import CHECKPOINT, Checkpoint
from saesweep.config import JobsConfig
from saesweep.data.batch import Source
from saesweep.data.sources import source_of
from saesweep.errors import RunError, StorageError, is_out_of_memory
from saesweep.grid import Cell, shares_batches
from saesweep.metrics.totals import EvaluationSet
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes
from saesweep.training.job import train_stack


class Work:
    """Jobs of ``run`` on ``device``, for the sweep with ``token``, by this process."""

    def __init__(
        self,
        run: Run,
        device: str,
        settings: JobsConfig,
        reporter: Reporter,
        wishes: Wishes,
        token: str | None = None,
    ) -> None:
        self.run, self.device, self.settings = run, device, settings
        self.reporter, self.wishes, self.token = reporter, wishes, token
        self.any_failed = False

    @cached_property
    def source(self) -> Source:
        """Where batches come from."""
        return source_of(self.run.config, self.device, self.run.normalization())

    @cached_property
    def data(self) -> EvaluationSet:
        """What cells are measured on."""
        batch = self.source.evaluation_set(self.run.config.eval.n_samples)
        return EvaluationSet(batch, self.source.features)

    def note_stop(self) -> None:
        """Say that the jobs were told to stop."""
        hint = "; Ctrl-C again stops at once" if self.wishes.stop else ""
        self.reporter.note(f"writing checkpoints{hint}")

    @property
    def over(self) -> bool:
        """Whether to leave the rest."""
        return self.wishes.stop or (self.any_failed and self.settings.fail_fast)

    def do(self, cells: Sequence[Cell]) -> None:
        """Train those of ``cells`` that wait, from their checkpoints where they have them.

        A stack that runs out of memory is halved and tried again. One that raises fails its cells.
        ``StorageError`` where the disk refuses: no other job would fare better.
        """
        with self.run.claim(cells, self.token):
            self._train(cells)

    def _train(self, cells: Sequence[Cell]) -> None:
        for stack, saved in self._stacks(cells):
            if self.over:
                return
            problem = self._attempt(stack, saved)
            if problem is None:
                continue
            out_of_memory, reason, details = problem
            if out_of_memory and len(stack) > 1:
                half = f"out of memory with {len(stack)} cells stacked: trying with half of them"
                self.run.record("stack_halved", cells=[cell.name for cell in stack], reason=reason)
                self.reporter.note(half)
                for part in (stack[::2], stack[1::2]):
                    self._train(part)
            else:
                self._fail(stack, f"out of memory: {reason}" if out_of_memory else reason, details)

    def _stacks(self, cells: Sequence[Cell]) -> list[tuple[list[Cell], dict[str, Checkpoint]]]:
        """The waiting ones of ``cells``, parted by batches and by how many steps they have taken.

        A cell with two checkpoints takes the one whose step it shares with most others.
        """
        waiting = [cell for cell in cells if self.run.folder(cell).state() == "waiting"]
        choices = [self._checkpoints(cell) for cell in waiting]
        # Cells that were never begun have no say.
        begun = [self.run.folder(cell).is_begun() for cell in waiting]
        shared = Counter(step for steps in itertools.compress(choices, begun) for step in steps)
        stacks: dict[object, tuple[list[Cell], dict[str, Checkpoint]]] = {}
        for cell, steps in zip(waiting, choices, strict=True):
            step = max(steps, key=lambda step: (shared[step], step))
            stack, saved = stacks.setdefault((step, shares_batches(cell)), ([], {}))
            stack.append(cell)
            checkpoint = steps[step]
            if checkpoint is not None:
                saved[cell.name] = checkpoint
        return list(stacks.values())

    def _checkpoints(self, cell: Cell) -> dict[int, Checkpoint | None]:
        """By step what ``cell`` can go on from: None at step 0, if it never was checkpointed."""
        folder = self.run.folder(cell)
        found: dict[int, Checkpoint | None] = {}
        for name in folder.checkpoints():
            try:
                checkpoint = folder.read_checkpoint(name)
                found[checkpoint.step] = checkpoint
            except RunError as error:
                folder.set_aside(name)
                self.run.record("checkpoint_damaged", cell=cell.name, reason=str(error))
                self.reporter.note(f"{error}; it moved to {folder.path}/earlier")
        return found if CHECKPOINT in folder.checkpoints() and found else {0: None, **found}

    def _attempt(
        self, cells: Sequence[Cell], saved: dict[str, Checkpoint]
    ) -> tuple[bool, str, str] | None:
        """None if all went well; else whether memory ran out, why in a line, and details.

        The error itself is not kept: its frames would hold the tensors of the stack.
        """
        try:
            train_stack(
                self.run,
                cells,
                saved,
                self.source,
                self.data,
                self.reporter,
                self.wishes,
                self.settings,
            )
        except StorageError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            problem = is_out_of_memory(error), reason, traceback.format_exc()
        else:
            self.any_failed |= any(self.run.folder(cell).error() for cell in cells)
            return None
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()
        return problem

    def _fail(self, cells: Sequence[Cell], reason: str, details: str) -> None:
        """Record why those of ``cells`` failed that were not done."""
        self.any_failed = True
        for cell in cells:
            if self.run.folder(cell).state() == "waiting":
                self.run.fail(cell, reason, details)
                self.reporter.finished(cell, "failed", reason)
