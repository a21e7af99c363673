"""Where jobs can run, and what every such place has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from saesweep.config import JobsConfig
from saesweep.grid import Job
from saesweep.jobs.work import Work


class Backend(Protocol):
    """A place where jobs run. It knows nothing of SAEs, and the run's folder says what is done."""

    @property
    def device(self) -> str:
        """What cells are trained on: ``cpu``, ``cuda`` or ``cuda:N``."""

    @property
    def slots(self) -> int:
        """How many jobs run at once."""

    def describe(self) -> str:
        """In a line, for `--dry-run` and for whoever watches."""

    def run(self, work: Work, jobs: Sequence[Job]) -> bool:
        """Run ``jobs`` until all are over, or until ``work`` is told to stop.

        False where they were only submitted, and go on by themselves.
        """


def backend(settings: JobsConfig) -> Backend:
    """The place that ``settings`` choose; ``UsageError`` where it is not to be had."""
    if settings.backend == "ray":
        from saesweep.jobs.ray import Ray

        return Ray(settings)
    if settings.backend == "slurm":
        from saesweep.jobs.slurm import Slurm

        return Slurm(settings)
    from saesweep.jobs.local import Local

    return Local(settings)
