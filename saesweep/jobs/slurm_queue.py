"""What SLURM has of a run's jobs: its queue, and the record of what was submitted.

Light to import: `saesweep status` asks here, and so does every task.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from saesweep import files
from saesweep.errors import RunError, UsageError

if TYPE_CHECKING:
    from saesweep.run_folder import Run

OVER = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
    )
)
"""States of a job that is over. It may still be in one of them for a moment before it goes on:
when it is put back into the queue."""

COLUMNS = "ArrayJobID:20,ArrayTaskID:20,State:24,exit_code:16,Reason:80"
"""What `squeue` is asked. Columns of a fixed width: old versions know no separators here."""

NOBODY = "saesweep-nobody"
"""A name that no job has."""

PATIENCE = 30.0
"""Seconds for SLURM's commands: with a controller that is down they try for about ten."""


@dataclass(frozen=True)
class Seen:
    """What `squeue` said of a job."""

    state: str
    reason: str = ""
    status: int = 0
    """How its process ended, as `subprocess` has it: below 0 it was killed by that signal."""

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state not in OVER

    @property
    def in_words(self) -> str:
        """For whoever looks at a cell of it."""
        if self.state in ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"):
            return "queued"
        alike = ("RUNNING", "CONFIGURING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED")
        return "running" if self.state in alike else self.state.lower()


def ask(name: str) -> dict[str, Seen] | None:
    """The jobs called ``name`` by id, as ``12`` or ``12_3``; None where SLURM does not answer.

    By name and not by id: an id that SLURM has forgotten is an error that hides the others, and one
    is not known of jobs whose submission was cut off.
    """
    words = ["squeue", "-h", "-r", "-t", "all", f"--name={name}", "-O", COLUMNS]
    said = _call(words)
    if said is None or said.returncode != 0:
        return None
    seen = {}
    for line in said.stdout.splitlines():
        array, task, state, code, reason = [*line.split(maxsplit=4), "", "", "", "", ""][:5]
        if array.isdigit():
            # A task that is in no array is called N/A.
            job = f"{array}_{task}" if task.isdigit() else array
            seen[job] = Seen(state, reason.strip(), exit_status(code))
    return seen


def exit_status(code: str) -> int:
    """The exit status in what SLURM says: a number as of wait(2), or ``STATUS:SIGNAL``.

    >>> exit_status("35072"), exit_status("9"), exit_status("1:0"), exit_status("0:15")
    (137, -9, 1, -15)
    """
    status, _, number = code.partition(":")
    if not status.isdigit() or not (number or "0").isdigit():
        return 0
    if ":" in code:
        return -int(number) or int(status)
    try:
        return os.waitstatus_to_exitcode(int(status))
    except ValueError:  # of its own, as for a job that could not be launched
        return 1


def refuse_if_silent() -> None:
    """Refuse with ``UsageError`` where no cluster answers: its commands may be there without one.

    Of a name that no job has, so that a long queue takes no time.
    """
    said = _call(["squeue", "-h", f"--name={NOBODY}"])
    if said is None:
        raise UsageError(f"backend slurm: no answer from squeue in {PATIENCE:.0f} s")
    if said.returncode != 0:
        lines = said.stderr.strip().splitlines() or [f"exit code {said.returncode}"]
        raise UsageError(f"backend slurm: no cluster answers here: {lines[-1]}")


def cancel(*words: str) -> bool:
    """Call `scancel` with ids or ``--name=…``, and perhaps ``--signal=…``; whether it went well."""
    said = _call(["scancel", "--quiet", *words])
    return said is not None and said.returncode == 0


def _call(words: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a command of SLURM said; None if it said nothing in time.

    In a process group of its own: a Ctrl-C is for the sweep, and not for what it asks. Without a
    person's own filters: they would hide jobs, and what is hidden looks as if it had ended.
    """
    environment = {k: value for k, value in os.environ.items() if not k.startswith("SQUEUE_")}
    try:
        return subprocess.run(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
            process_group=0,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


@dataclass
class Record:
    """What a sweep submitted: ``jobs/slurm.json``, for who comes later and asks."""

    path: Path
    name: str = ""
    """What its jobs are called, and no other sweep's."""
    jobs: dict[str, list[str]] = field(default_factory=dict)
    """By id, the names of the cells."""
    conclusion: str = ""
    """The id of the job that comes after all, if there is one."""

    @classmethod
    def of(cls, run: Run) -> Record:
        """The record of ``run``; an empty one if there is none."""
        record = cls(run.path / "jobs" / "slurm.json")
        if os.path.exists(record.path):
            with contextlib.suppress(RunError, LookupError, TypeError, AttributeError, ValueError):
                facts = files.read_json(record.path)
                jobs = {str(job): [*map(str, cells)] for job, cells in facts["jobs"].items()}
                record.name, record.jobs = str(facts["name"]), jobs
                record.conclusion = str(facts.get("conclusion") or "")
        return record

    def write(self) -> None:
        """Put it on disk."""
        facts = {"name": self.name, "jobs": self.jobs, "conclusion": self.conclusion}
        files.write_json(self.path, facts)

    def alive(self) -> dict[str, Seen]:
        """Those of its jobs that SLURM still has, by id; none where it cannot be asked."""
        if not self.name or shutil.which("squeue") is None:
            return {}
        seen = ask(self.name) or {}
        return {job: what for job, what in seen.items() if what.alive}


def live_jobs(run: Run) -> dict[str, str]:
    """The cells of ``run`` that are in SLURM's queue, by name: ``queued``, ``running``, ….

    Where nothing was submitted, nothing is asked.
    """
    record = Record.of(run)
    return {
        cell: seen.in_words
        for job, seen in record.alive().items()
        for cell in record.jobs.get(job, ())
    }


def refuse_if_queued(run: Run) -> None:
    """Refuse with ``UsageError`` to go on with ``run`` while SLURM has jobs of it.

    To be called before the run is locked: the sweep that locks it puts such jobs out of date. Where
    SLURM cannot be asked, that and the claims of those that run keep jobs of two sweeps apart.
    """
    record = Record.of(run)
    left = [
        job
        for job in record.alive()
        if job not in record.jobs
        or any(run.folder(cell).state() == "waiting" for cell in record.jobs[job])
    ]
    if left:
        arrays = dict.fromkeys(job.partition("_")[0] for job in left)
        raise UsageError(
            f"{run.path}: SLURM still has jobs {compact(left)} of this run; "
            f"wait for them, or `scancel {' '.join(arrays)}`"
        )


def compact(ids: Iterable[str]) -> str:
    """Ids of jobs as SLURM writes them.

    >>> compact(["12_3", "12_1", "12_0", "12_2", "12_7", "15", "16_4"])
    '12_[0-3,7], 15, 16_4'
    """
    tasks: dict[str, list[int]] = {}
    for job in ids:
        array, _, task = job.partition("_")
        tasks.setdefault(array, []).extend([int(task)] if task else [])
    return ", ".join(
        array + (f"_{_ranges(numbers)}" if numbers else "")
        for array, numbers in sorted(tasks.items(), key=lambda item: int(item[0]))
    )


def _ranges(numbers: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return texts[0] if texts[0].isdigit() and len(texts) == 1 else f"[{','.join(texts)}]"
