"""The jobs to do, and what became of those that were started: as the run's folder has it."""

from __future__ import annotations

import math
import os
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from saesweep.errors import StorageError
from saesweep.grid import Cell, Job
from saesweep.jobs.process import how_it_ended, last_error
from saesweep.jobs.work import Work


@dataclass(eq=False)
class Task:
    """Some cells to be trained by one job, and how often that was tried."""

    cells: tuple[Cell, ...]
    kills: int = 0
    reported: set[str] = field(default_factory=set)


class Queue:
    """Hands out tasks, and takes back those that were killed until `jobs.retries` is spent."""

    def __init__(self, work: Work, jobs: Sequence[Job]) -> None:
        self.work = work
        self.waiting = deque(Task(job.cells) for job in jobs)
        self.epochs: dict[str, int] = {}

    def take(self) -> Task | None:
        """The next task; None if there is none, or if the sweep is to end."""
        return self.waiting.popleft() if self.waiting and not self.work.over else None

    def look(self, task: Task) -> None:
        """Report what the folder says of the cells of ``task``."""
        rows: dict[int, dict[str, dict[str, float]]] = {}
        for cell in task.cells:
            if cell.name in task.reported:
                continue
            folder = self.work.run.folder(cell)
            state = folder.state()
            if state in ("done", "failed"):
                task.reported.add(cell.name)
                self.work.any_failed |= state == "failed"
                self.work.reporter.finished(cell, state, folder.error())
            elif state == "waiting":
                epoch, latest = folder.progress()
                if not math.isnan(latest["fvu"]) and self.epochs.get(cell.name) != epoch:
                    self.epochs[cell.name] = epoch
                    rows.setdefault(epoch, {})[cell.name] = latest
        for epoch, group in rows.items():
            self.work.reporter.progress(epoch, group)

    def ended(self, task: Task, how: str = "", memory: bool = False) -> None:
        """The process of ``task`` is done with it, or ended before its time: ``how``.

        What it left waiting is then tried again. Where ``memory`` may be the reason, a stack is
        halved: SIGKILL is also what the system sends when memory has run out.
        """
        self.look(task)
        run = self.work.run
        left = tuple(cell for cell in task.cells if run.folder(cell).state() == "waiting")
        if not how or not left or self.work.over:
            return
        run.record("job_ended_early", cells=[cell.name for cell in left], how=how)
        if memory and len(left) > 1:  # however often: down to one cell
            self.work.reporter.note(f"a job {how}; starting it again, in two halves")
            self.waiting.extendleft([Task(left[1::2], task.kills), Task(left[::2], task.kills)])
        elif task.kills < self.work.settings.retries:
            self.work.reporter.note(f"a job {how}; starting it again")
            self.waiting.appendleft(Task(left, task.kills + 1))
        else:
            times = f", {task.kills + 1} times" if task.kills else ""
            running = run.running()  # by a process that was lost, and yet lives
            for cell in left:
                if cell.name not in running:
                    run.fail(cell, f"its process {how}{times}")
            self.look(task)

    def exited(self, task: Task, status: int, words: str) -> None:
        """The process of ``task`` exited with ``status`` and did not say that the job is over.

        ``words`` are what it said on standard error. ``StorageError`` if the disk refused.
        """
        if status == os.EX_IOERR:
            raise StorageError(last_error(words))
        self.ended(task, how_it_ended(status, words), memory=-status == signal.SIGKILL)
