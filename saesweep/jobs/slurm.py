"""Jobs as tasks of SLURM arrays, submitted with submitit.

A task is told nothing but the command that every backend runs and the names of its cells. What is
done is what the run's folder says; SLURM is only asked whether a task is still alive.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from saesweep.config import JobsConfig, Scalar
from saesweep.errors import StorageError, UsageError
from saesweep.extras import is_installed
from saesweep.grid import Job
from saesweep.jobs.slurm_queue import refuse_if_silent
from saesweep.jobs.slurm_sweep import SlurmSweep
from saesweep.jobs.slurm_task import JobTask
from saesweep.jobs.work import Work
from saesweep.reporting import counted

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "srun")
OWN = (
    *("array", "job_name", "output", "error", "signal", "time", "requeue", "no_requeue"),
    *("wait", "parsable", "clusters"),
)
"""Options of sbatch that may not be set: tasks are found by them, and go on by them."""
TIME_LIMITS = 1000
"""How often a task may reach its time limit, write checkpoints, and go back into the queue."""


class Slurm:
    """Tasks of SLURM arrays, `jobs.slurm.at_once` at a time."""

    def __init__(self, settings: JobsConfig) -> None:
        self.settings = settings.slurm
        if not is_installed("submitit"):
            raise UsageError("backend slurm needs submitit: pip install 'saesweep[slurm]'")
        absent = [name for name in PROGRAMS if shutil.which(name) is None]
        if absent:
            raise UsageError(f"backend slurm: no {', '.join(absent)} here; is this a login node?")
        refuse_if_silent()
        self.device = _device(settings.device, self.settings.gpus)
        self.gpus = self.settings.gpus if self.device == "cuda" else 0
        self.options = _options(self.settings.options)
        self.slots = self.settings.at_once

    def describe(self) -> str:
        """In a line."""
        each = counted(self.settings.cpus, "CPU core")
        if self.gpus:
            each += f" and {counted(self.gpus, 'GPU')}"
        where = f" in partition {self.settings.partition}" if self.settings.partition else ""
        return f"through SLURM{where}, up to {counted(self.slots, 'task')} at once, {each} each"

    def run(self, work: Work, jobs: Sequence[Job]) -> bool:
        """Submit ``jobs``, and unless `jobs.slurm.detach` wait until all are over."""
        if not jobs:
            return True
        sweep = SlurmSweep(self, work, jobs)
        if self.settings.detach:
            sweep.detach()
            return False
        sweep.follow()
        return True

    def submit(self, tasks: Sequence[JobTask], folder: Path, name: str, at_once: int) -> list[str]:
        """Submit ``tasks`` as one array, or one as a plain job; the id of each."""
        import submitit

        # Not a folder for each job: SLURM makes none, and a task may start before submitit does.
        executor = submitit.SlurmExecutor(
            folder=folder,
            max_num_timeout=TIME_LIMITS,
            # The shell of the batch script becomes the task: so signals reach it, and scancel
            # leaves it SLURM's KillWait to write checkpoints.
            python=f"exec {shlex.quote(sys.executable)}",
        )
        minutes = self.settings.minutes
        number = submitit.JobEnvironment.USR_SIG
        asked: dict[str, Any] = {"gpus_per_node": self.gpus or None}
        if any(key.startswith(("gres", "gpus")) for key in self.options):
            asked = {}
        executor.update_parameters(
            job_name=name,
            time=minutes,
            cpus_per_task=self.settings.cpus,
            mem=f"{self.settings.memory_gb}GB" if self.settings.memory_gb else None,
            partition=self.settings.partition,
            account=self.settings.account,
            setup=self.settings.setup or None,
            array_parallelism=at_once,
            use_srun=False,
            wckey=None,
            additional_parameters={
                "signal": f"B:{number}@{min(90, 15 * minutes)}",
                "requeue": True,
                **self.options,
            },
            **asked,
        )
        with _submitting():
            batch = []
            with executor.batch():
                batch = [executor.submit(task) for task in tasks]
            return [job.job_id for job in batch]

    def submit_conclusion(
        self, command: Sequence[str], after: Sequence[str], folder: Path, name: str
    ) -> str:
        """Submit ``command`` as a job on CPUs once the arrays ``after`` are over; its id."""
        facts = self.settings
        options: dict[str, Scalar | None] = {
            "job-name": name,
            "output": str(folder / "%j_0_log.out"),
            "time": facts.minutes,
            "cpus-per-task": facts.cpus,
            "mem": f"{facts.memory_gb}GB" if facts.memory_gb else None,
            "partition": facts.partition,
            "account": facts.account,
            "requeue": True,
        }
        options |= {
            key.replace("_", "-"): value
            for key, value in self.options.items()
            if not key.startswith(("gres", "gpu", "mem_per_gpu", "cpus_per_gpu"))
        }
        options["dependency"] = f"afterany:{':'.join(after)}"
        words = [
            f"--{key}" if value is True else f"--{key}={value}"
            for key, value in options.items()
            if value is not None
        ]
        script = "\n".join(["#!/bin/bash", *facts.setup, f"exec {shlex.join(command)}", ""])
        with _submitting():
            said = subprocess.run(
                ["sbatch", "--parsable", *words],
                input=script,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if said.returncode != 0:
                raise RuntimeError(said.stderr)
        return said.stdout.strip().partition(";")[0]


def _device(wanted: str, gpus: int) -> str:
    """What tasks train on; ``UsageError`` where that cannot be."""
    if ":" in wanted:
        raise UsageError(f"device {wanted}: SLURM gives out the devices; ask for cuda")
    if wanted == "cuda" and not gpus:
        raise UsageError("device cuda: with jobs.slurm.gpus: 0 a task has none")
    return "cuda" if gpus and wanted != "cpu" else "cpu"


def _options(given: dict[str, Scalar]) -> dict[str, Scalar]:
    """``given`` under submitit's names; an option that is false is left out."""
    options = {key.lstrip("-").replace("-", "_"): value for key, value in given.items()}
    for key in options:
        if key in OWN:
            hint = "use jobs.slurm.minutes" if key == "time" else "saesweep sets it, or needs it so"
            raise UsageError(f"jobs.slurm.options: {key.replace('_', '-')}: {hint}")
    return {key: value for key, value in options.items() if value is not False}


@contextlib.contextmanager
def _submitting() -> Iterator[None]:
    """Turn what goes wrong within into a line.

    Signals wait meanwhile: an sbatch that a Ctrl-C ends may or may not have submitted.
    """
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints the error, too
            yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StorageError(f"{where}cannot be written: {error.strerror or error}") from error
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        last = lines[-1].removeprefix("sbatch: error: ") if lines else type(error).__name__
        raise UsageError(f"SLURM takes no jobs: {last}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
