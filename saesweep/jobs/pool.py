"""One process for each slot: it gets jobs, a line each, and says when each is over."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from saesweep.grid import Job
from saesweep.jobs.local import Slot
from saesweep.jobs.process import OVER, job_command, job_line
from saesweep.jobs.queue import Queue, Task
from saesweep.jobs.work import Work

LOOK_SECONDS = 1.0
"""How often the folder is asked how far the jobs are."""
PATIENCE = 60.0
"""Seconds for a worker to write checkpoints and end, when it is let go."""


class Worker:
    """The process of one slot, in a process group of its own: Ctrl-C does not reach it."""

    def __init__(self, work: Work, slot: Slot, log: Path) -> None:
        self.log = log
        self.task: Task | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self.said = errors.tell()
            self.process = subprocess.Popen(
                job_command(work.run.path, slot.device.partition(":")[0], work.token),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **slot.environment},
                process_group=0,
            )

    @property
    def output(self) -> IO[bytes]:
        """Where it says that a job is over."""
        assert self.process.stdout is not None
        return self.process.stdout

    def start(self, task: Task) -> None:
        """Give it a job."""
        self.task = task
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; its output tells
            self.process.stdin.write(f"{job_line(task.cells)}\n".encode())
            self.process.stdin.flush()

    def let_go(self) -> None:
        """Close its input: it writes checkpoints, if it is at work, and ends.

        Not by a signal, as others may send it one, too, and two mean at once.
        """
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def end(self, patience: float) -> int:
        """Wait ``patience`` seconds for it to end, then kill it; its exit status."""
        self.let_go()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
        self.output.close()
        return self.process.wait()

    def send(self, number: int) -> None:
        """Send a signal to it and to what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def last_words(self) -> str:
        """What it said on its standard error since it began."""
        with self.log.open("rb") as file:
            file.seek(self.said)
            return file.read().decode(errors="replace").strip()


class Pool:
    """Runs jobs in ``slots``; with ``keep`` a process does one job after another."""

    def __init__(self, work: Work, slots: Sequence[Slot], *, keep: bool) -> None:
        self.work, self.slots, self.keep = work, slots, keep
        self.workers: list[Worker | None] = [None] * len(slots)
        self.asked_to_stop = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run ``jobs`` until all are over, or the work is."""
        queue = Queue(self.work, jobs)
        looked = time.monotonic()
        with selectors.DefaultSelector() as selector, self._nobody_left():
            while self._fill(queue, selector):
                self._pass_wishes()
                for key, _ in selector.select(timeout=0.2):
                    self._hear(queue, key.data, selector)
                if time.monotonic() - looked > LOOK_SECONDS:
                    for worker in self.workers:
                        if worker is not None and worker.task is not None:
                            queue.look(worker.task)
                    looked = time.monotonic()

    def _fill(self, queue: Queue, selector: selectors.BaseSelector) -> bool:
        """Give every idle slot a job; whether any has one."""
        for place, slot in enumerate(self.slots):
            worker = self.workers[place]
            if worker is not None and worker.task is not None:
                continue
            task = queue.take()
            if task is None:
                break
            if worker is not None and worker.process.poll() is not None:
                self._lose(place, selector)  # it died with nothing to do
                worker = None
            if worker is None:
                log = self.work.run.path / "jobs" / f"slot-{place}.log"
                worker = self.workers[place] = Worker(self.work, slot, log)
                selector.register(worker.output, selectors.EVENT_READ, place)
            worker.start(task)
        return any(worker is not None and worker.task is not None for worker in self.workers)

    def _hear(self, queue: Queue, place: int, selector: selectors.BaseSelector) -> None:
        """A worker says that its job is over, or has ended."""
        worker = self.workers[place]
        assert worker is not None
        line = worker.output.readline()
        if line and line != OVER:
            return
        task, worker.task = worker.task, None
        if line and self.keep:
            if task is not None:
                queue.ended(task)
            return
        status = self._lose(place, selector)
        if task is not None and line:
            queue.ended(task)
        elif task is not None:
            queue.exited(task, status, worker.last_words())

    def _lose(self, place: int, selector: selectors.BaseSelector) -> int:
        """Have no more to do with a worker that has ended, or has nothing more to do."""
        worker, self.workers[place] = self.workers[place], None
        assert worker is not None
        selector.unregister(worker.output)
        return worker.end(PATIENCE)

    def _pass_wishes(self) -> None:
        wishes = self.work.wishes
        if wishes.save:
            wishes.save = False
            # Only to those at work: to one that is still starting the signal would be its end.
            busy = {claim.pid for claim in self.work.run.running().values()}
            for worker in self._living():
                if worker.process.pid in busy:
                    worker.send(signal.SIGUSR1)
        if self.work.over and not self.asked_to_stop:
            self.asked_to_stop = True
            self.work.note_stop()
            for worker in self._living():
                worker.let_go()

    def _living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker is not None]

    @contextlib.contextmanager
    def _nobody_left(self) -> Iterator[None]:
        """At the end, and after an error, let all workers go; those at work write checkpoints."""
        patience = PATIENCE
        try:
            yield
        except KeyboardInterrupt:  # the second: at once
            patience = 0
            raise
        finally:
            for worker in self._living():
                worker.let_go()
            for worker in self._living():
                worker.end(patience)
