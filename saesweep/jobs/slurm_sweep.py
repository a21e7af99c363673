"""The jobs of one sweep through SLURM, from submission to the end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from saesweep.errors import StorageError, UsageError
from saesweep.grid import Job
from saesweep.jobs.process import how_it_ended, job_command, job_line, last_error
from saesweep.jobs.queue import Queue, Task
from saesweep.jobs.slurm_queue import Record, Seen, ask, cancel, compact
from saesweep.jobs.slurm_task import JobTask
from saesweep.jobs.work import Work

ARRAY_MOST = 1000
"""Tasks in an array: SLURM allows 1,001 unless a cluster says otherwise (MaxArraySize)."""
LOOK_FIRST, LOOK_SECONDS = 0.5, 2.0
"""How often SLURM and the folder are asked: at first, and in the long run."""
GRACE = 5.0
"""Seconds for the files of a job that is over to show, and for SLURM to put it back itself."""
GRACE_DONE = 60.0
"""The same for one that ended well: NFS may hide new files for a minute."""
REFUSED_SECONDS, REFUSED_MOST = 30.0, 20
"""How long to wait when a job cannot be submitted a second time, and how often."""
UNSEEN_SECONDS = 30.0
"""Seconds after which a job that was last seen waiting may well have run, unseen."""
ORDINARY = ("None", "Resources", "Priority", "JobArrayTaskLimit", "BeginTime", "Dependency")
"""Reasons for which a job may wait that need not be told."""


class Submitter(Protocol):
    """What submits to SLURM, with the settings of the sweep."""

    device: str
    slots: int

    def submit(self, tasks: Sequence[JobTask], folder: Path, name: str, at_once: int) -> list[str]:
        """Submit ``tasks`` as one array; the id of each."""

    def submit_conclusion(
        self, command: Sequence[str], after: Sequence[str], folder: Path, name: str
    ) -> str:
        """Submit ``command`` as a job once the arrays ``after`` are over; its id."""


@dataclass
class _Followed:
    """An array task that was submitted."""

    id: str
    task: Task
    seen: Seen | None = None
    """What SLURM said of it when it was last alive."""
    seen_at: float = 0.0
    over_since: float | None = None


@dataclass
class SlurmSweep:
    """The jobs of one sweep, from submission to the end."""

    submitter: Submitter
    work: Work
    todo: Sequence[Job]
    jobs: dict[str, _Followed] = field(default_factory=dict)
    """Those that are not over, by id."""
    told_to_end: bool = False
    cancelled: bool = False
    answers: bool = True
    refused: int = 0
    refused_at: float = -REFUSED_SECONDS
    reasons: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queue = Queue(self.work, self.todo)
        run = self.work.run.path
        self.command = job_command(run, self.submitter.device, self.work.token)
        self.folder = self.work.run.path.resolve() / "jobs" / "slurm"
        # No other sweep's jobs are called so, and all that are called so are to end with this one:
        # also those of an sbatch that gave up on a slow controller, which yet heard it.
        label = re.sub(r"[^A-Za-z0-9._-]", "-", self.work.run.name)  # a comma would part names
        name = f"saesweep-{label}-{(self.work.token or '')[:8]}"
        self.every = f"--name={name}"
        self.record = Record(self.work.run.path / "jobs" / "slurm.json", name)
        self.record.write()
        self.folder.mkdir(exist_ok=True)

    def detach(self) -> None:
        """Submit all, and a job that writes tables and figures when they are over."""
        with self._cancel_after_error():
            self._submit()
            if self.work.over:
                cancel(self.every)
                return
        arrays = [*dict.fromkeys(job.partition("_")[0] for job in self.record.jobs)]
        words = [sys.executable, "-m", "saesweep", "_collect", str(self.work.run.path.resolve())]
        try:
            self.record.conclusion = self.submitter.submit_conclusion(
                words, arrays, self.folder, self.record.name
            )
            self.record.write()
        except UsageError as error:
            self.work.reporter.note(f"{error}: tables and figures are left to `saesweep resume`")

    def follow(self) -> None:
        """Submit all, and wait until they are over."""
        pause, looked = LOOK_FIRST, time.monotonic()
        with self._cancel_after_error():
            while self._submit() or self.jobs:
                self._pass_wishes()
                if time.monotonic() - looked >= pause:
                    self._look()
                    pause, looked = min(LOOK_SECONDS, 1.1 * pause), time.monotonic()
                time.sleep(0.1)  # a signal is only a wish, and wakes nobody

    @contextlib.contextmanager
    def _cancel_after_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            cancel(self.every)
            raise

    def _submit(self) -> bool:
        """Submit what waits; whether something is left that could not be."""
        if not self.queue.waiting or self.work.over:
            return False
        if time.monotonic() - self.refused_at < REFUSED_SECONDS:
            return True
        if self.refused and not self._cancel_strangers():
            self.refused_at = time.monotonic()
            return True
        tasks = [*iter(self.queue.take, None)]
        first = not self.record.jobs
        for start in range(0, len(tasks), ARRAY_MOST):
            part = tasks[start : start + ARRAY_MOST]
            # Each array has its part of what may run at once.
            at_once = max(1, self.submitter.slots * len(part) // len(tasks))
            try:
                self._submit_array(part, at_once)
            except UsageError as error:
                self.queue.waiting.extendleft(reversed(tasks[start:]))
                self.refused, self.refused_at = self.refused + 1, time.monotonic()
                if first or self.refused > REFUSED_MOST:
                    raise
                self.work.reporter.note(f"{error}; trying again in {REFUSED_SECONDS:.0f} s")
                return True
        self.refused = 0
        return False

    def _cancel_strangers(self) -> bool:
        """End the jobs of a submission that seemed to fail; whether SLURM answers."""
        reply = ask(self.record.name)
        strangers = [job for job in reply or () if job not in self.record.jobs]
        return reply is not None and (not strangers or cancel(*strangers))

    def _submit_array(self, tasks: Sequence[Task], at_once: int) -> None:
        names = [[cell.name for cell in task.cells] for task in tasks]
        calls = [JobTask(self.command, job_line(task.cells)) for task in tasks]
        ids = self.submitter.submit(calls, self.folder, self.record.name, at_once)
        for job, task, cells in zip(ids, tasks, names, strict=True):
            self.jobs[job] = _Followed(job, task)
            self.record.jobs[job] = cells
        self.record.write()
        self.work.run.record("submitted", jobs=compact(ids))
        self.work.reporter.note(f"submitted as SLURM job {compact(ids)}")

    def _pass_wishes(self) -> None:
        wishes, note = self.work.wishes, self.work.reporter.note
        if wishes.save:
            wishes.save = False
            # Only those that are at work: to others the signal is an end.
            busy = self.work.run.running()
            ids = [job.id for job in self.jobs.values() if _any_of(job.task, busy)]
            if ids:
                cancel("--signal=USR1", "--full", *ids)
        if self.work.over and self.jobs and not self.told_to_end:
            self.told_to_end = True
            note("cancelling the jobs; they write checkpoints; Ctrl-C again leaves them to it")
            self.cancelled = cancel(self.every)

    def _look(self) -> None:
        """Ask SLURM and the folder what has become of the jobs."""
        if self.told_to_end and not self.cancelled:  # it did not answer
            self.cancelled = cancel(self.every)
        reply = ask(self.record.name)
        if (reply is not None) != self.answers:
            self.answers = reply is not None
            news = "answers again" if self.answers else "does not answer; waiting for it"
            self.work.reporter.note(f"SLURM {news}")
        for job in [*self.jobs.values()]:
            seen = None if reply is None else reply.get(job.id)
            if seen is not None and seen.alive:
                job.seen, job.seen_at, job.over_since = seen, time.monotonic(), None
                self._tell_reason(job.id, seen)
            if job.seen is None or job.seen.state != "PENDING":
                self.queue.look(job.task)
            if len(job.task.reported) == len(job.task.cells):
                self._end(job)
            elif reply is not None and (seen is None or not seen.alive):
                self._over(job, seen)

    def _tell_reason(self, job: str, seen: Seen) -> None:
        if seen.state == "PENDING" and seen.reason not in {*ORDINARY, *self.reasons}:
            self.reasons.add(seen.reason)
            self.work.reporter.note(f"SLURM holds job {job} back: {seen.reason}")

    def _over(self, job: _Followed, seen: Seen | None) -> None:
        """SLURM says that ``job`` is over, or has forgotten it; its cells are not all done."""
        now = time.monotonic()
        if job.over_since is None:
            job.over_since = now
        grace = GRACE_DONE if seen is not None and seen.state == "COMPLETED" else GRACE
        if now - job.over_since < grace and not self.work.over:
            return
        run, note = self.work.run, self.work.reporter.note
        # One that is cancelled while it waits is forgotten at once.
        waited = job.seen is not None and job.seen.state == "PENDING"
        forgotten = seen is None and waited and job.over_since - job.seen_at < UNSEEN_SECONDS
        if self.work.over or (seen is not None and seen.state == "COMPLETED"):
            self._end(job)
        elif forgotten or (seen is not None and seen.state == "CANCELLED"):
            names = [cell.name for cell in job.task.cells]
            run.record("job_cancelled", job=job.id, cells=names)
            note(f"SLURM job {job.id} was cancelled; `saesweep resume {run.path}` goes on with it")
            self._end(job)
        else:
            self._end(job, *self._how(job, seen))

    def _how(self, job: _Followed, seen: Seen | None) -> tuple[str, bool]:
        """How ``job`` ended before its time, and whether memory may have run out."""
        if seen is None:
            return "is no longer known to SLURM", False
        status = seen.status
        if 128 < status < 160 and status != 130:  # as of the task: 130 is what ours exit with
            status = 128 - status
        if seen.state != "FAILED" or not status or seen.reason == "JobLaunchFailure":
            reason = "" if seen.reason in ORDINARY else f" ({seen.reason})"
            return f"was ended by SLURM: {seen.state}{reason}", seen.state == "OUT_OF_MEMORY"
        words = _last_words(self.folder / f"{job.id}_0_log.err")
        if status == os.EX_IOERR:
            raise StorageError(last_error(words))
        return how_it_ended(status, words), status == -signal.SIGKILL

    def _end(self, job: _Followed, how: str = "", memory: bool = False) -> None:
        del self.jobs[job.id]
        self.queue.ended(job.task, how, memory)


def _any_of(task: Task, names: dict[str, Any]) -> bool:
    return any(cell.name in names for cell in task.cells)


def _last_words(log: Path) -> str:
    """The last line in the log of a task that is not of SLURM or submitit."""
    try:
        text = log.read_bytes()[-10_000:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(("slurmstepd", "submitit "))]
    return told[-1] if told else ""
