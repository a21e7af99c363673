"""What a sweep would do, before it does it."""

from __future__ import annotations

from typing import Any

from saesweep.config import SweepConfig
from saesweep.files import to_json
from saesweep.grid import Job, expand, plan
from saesweep.jobs.backends import Backend, backend
from saesweep.reporting import counted
from saesweep.schedule import snapshot_count


def plan_json(config: SweepConfig) -> str:
    """The plan for a program."""
    place, planned = _plan(config)
    jobs: list[dict[str, Any]] = [
        {
            "cells": [cell.name for cell in job.cells],
            "steps": _steps(job),
            "bytes": job.bytes,
            "snapshots": _snapshots(config, job),
            "evaluation_share": _evaluation_share(config, job),
        }
        for job in planned
    ]
    cells = sum(len(job["cells"]) for job in jobs)
    return to_json({"cells": cells, "slots": place.slots, "jobs": jobs})


def plan_text(config: SweepConfig) -> str:
    """The plan for a person: the axes, where it runs, and each job with its memory and steps."""
    place, jobs = _plan(config)
    cells = sum(len(job.cells) for job in jobs)
    lines = [f"{config.name}: {counted(cells, 'cell')} in {counted(len(jobs), 'job')}"]
    for axis, values in config.grid.items():
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        lines.append(f"  {axis}: {', '.join(shown)}")
    lines.append(place.describe())
    for number, job in enumerate(jobs[:20], start=1):
        stacked = f"{len(job.cells)} cells stacked" if len(job.cells) > 1 else job.cells[0].name
        lines.append(
            f"job {number}: {stacked}, {_steps(job):,} steps of {job.cells[0].train.batch_size:,} "
            f"samples, about {job.bytes / 2**20:,.0f} MiB"
        )
        lines.append(
            f"  {_snapshots(config, job)} snapshots, whose evaluation takes about "
            f"{_percent(_evaluation_share(config, job))} of what training takes"
        )
    if len(jobs) > 20:
        lines.append(f"… and {len(jobs) - 20} more jobs")
    return "\n".join(lines)


def _plan(config: SweepConfig) -> tuple[Backend, list[Job]]:
    place = backend(config.jobs)
    return place, plan(config, expand(config), config.jobs.stack, place.slots)


def _snapshots(config: SweepConfig, job: Job) -> int:
    return snapshot_count(config.snapshot_every, job.cells[0].train.epochs)


def _evaluation_share(config: SweepConfig, job: Job) -> float:
    """What evaluating costs over what training does, in multiplications with the weights.

    A training step takes five products of its batch with encoders or decoders; a snapshot two of
    the evaluation set, and the cosines of the features with the atoms are one more.
    """
    each = 2 * config.eval.n_samples + config.data.n_features
    return _snapshots(config, job) * each / (5 * _steps(job) * job.cells[0].train.batch_size)


def _percent(share: float) -> str:
    """A share in words.

    >>> _percent(0.048), _percent(0.65), _percent(220.4)
    ('4.8 %', '65 %', '22,040 %')
    """
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 100 else f"{percent:,.0f} %"


def _steps(job: Job) -> int:
    train = job.cells[0].train
    return train.epochs * train.steps_per_epoch
