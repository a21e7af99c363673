"""What a sweep would do, before it does it."""

from __future__ import annotations

from typing import Any

from saesweep.config import SweepConfig
from saesweep.files import to_json
from saesweep.grid import Job, expand, plan


def plan_json(config: SweepConfig) -> str:
    """The plan for a program."""
    jobs: list[dict[str, Any]] = [
        {"cells": [cell.name for cell in job.cells], "steps": _steps(job), "bytes": job.bytes}
        for job in plan(config, expand(config))
    ]
    return to_json({"cells": sum(len(job["cells"]) for job in jobs), "jobs": jobs})


def plan_text(config: SweepConfig) -> str:
    """The plan for a person: the axes, and each job with its memory and steps."""
    cells = expand(config)
    jobs = plan(config, cells)
    lines = [f"{config.name}: {len(cells)} cells in {len(jobs)} job{'s' * (len(jobs) != 1)}"]
    for axis, values in config.grid.items():
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        lines.append(f"  {axis}: {', '.join(shown)}")
    for number, job in enumerate(jobs[:20], start=1):
        stacked = f"{len(job.cells)} cells stacked" if len(job.cells) > 1 else job.cells[0].name
        lines.append(
            f"job {number}: {stacked}, {_steps(job):,} steps of {job.cells[0].train.batch_size:,} "
            f"samples, about {job.bytes / 2**20:,.0f} MiB"
        )
    if len(jobs) > 20:
        lines.append(f"… and {len(jobs) - 20} more jobs")
    return "\n".join(lines)


def _steps(job: Job) -> int:
    train = job.cells[0].train
    return train.epochs * train.steps_per_epoch
