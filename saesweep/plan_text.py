"""What a sweep would do, before it does it."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

from saesweep.activations_config import ActivationsConfig
from saesweep.config import SweepConfig
from saesweep.data.sources import rows_of
from saesweep.files import to_json
from saesweep.grid import Job, expand, plan
from saesweep.jobs.backends import Backend, backend
from saesweep.jobs.local import Local
from saesweep.reporting import counted, duration
from saesweep.schedule import snapshot_count
from saesweep.training.estimate import Seconds, job_seconds, side_by_side

START_SECONDS = 2.0
"""Until a process trains that jobs are started in: it imports torch."""
MOST_JOBS = 20
"""Of which the text speaks one by one."""


@dataclass(frozen=True)
class _Rows:
    """Of activations on disk: how many are trained on, and how many are measured on."""

    train: int
    evaluation: int

    def passes(self, job: Job) -> float:
        """How often a job sees each row that it trains on, on average."""
        return _steps(job) * job.cells[0].train.batch_size / self.train


@dataclass(frozen=True)
class _Plan:
    """What a sweep would do, and where."""

    place: Backend
    jobs: list[Job]
    rows: _Rows | None
    seconds: list[Seconds] | None
    """About how long each job takes; None where that was not measured, as on a GPU."""
    whole: float | None
    """About how long all of them take, side by side and with the start of their processes."""
    why: str = ""
    """Where that was not measured, why."""


def plan_json(config: SweepConfig) -> str:
    """The plan for a program; ``RunError`` where the shards that it needs are not there."""
    plan = _plan(config)
    rows, seconds = plan.rows, plan.seconds
    jobs: list[dict[str, Any]] = [
        {
            "cells": [cell.name for cell in job.cells],
            "steps": _steps(job),
            "passes": rows and rows.passes(job),
            "bytes": job.bytes,
            "snapshots": _snapshots(config, job),
            "evaluation_share": _evaluation_share(config, job, rows),
            "seconds": seconds and seconds[index].whole,
            "snapshot_seconds": seconds and seconds[index].snapshots,
        }
        for index, job in enumerate(plan.jobs)
    ]
    cells = sum(len(job["cells"]) for job in jobs)
    counts = rows and {"train": rows.train, "evaluation": rows.evaluation}
    facts = {"cells": cells, "slots": plan.place.slots, "seconds": plan.whole}
    return to_json({**facts, "rows": counts, "jobs": jobs})


def plan_text(config: SweepConfig) -> str:
    """The plan for a person: the axes, where it runs, and each job with its memory and steps.

    ``RunError`` where the shards that it needs are not there.
    """
    plan = _plan(config)
    jobs, rows = plan.jobs, plan.rows
    cells = sum(len(job.cells) for job in jobs)
    lines = [f"{config.name}: {counted(cells, 'cell')} in {counted(len(jobs), 'job')}"]
    for axis, values in config.grid.items():
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        text = f"{axis}: {', '.join(shown)}"
        lines += textwrap.wrap(text, 80, initial_indent="  ", subsequent_indent="    ")
    if rows:
        lines.append(f"{rows.train:,} rows to train on, {rows.evaluation:,} others to measure on")
    lines.append(plan.place.describe())
    for index, job in enumerate(jobs[:MOST_JOBS]):
        stacked = f"{len(job.cells)} cells stacked" if len(job.cells) > 1 else job.cells[0].name
        size, memory = job.cells[0].train.batch_size, job.bytes / 2**20
        lines.append(
            f"job {index + 1}: {stacked}, {_steps(job):,} steps of {size:,} samples, "
            f"about {memory:,.0f} MiB"
        )
        if rows:
            lines.append(f"  {_number(rows.passes(job))} passes over the rows")
        lines.append(f"  {_takes(config, job, plan, index)}")
    if len(jobs) > MOST_JOBS:
        lines.append(f"… and {len(jobs) - MOST_JOBS} more jobs")
    if plan.whole is not None:
        text = f"{_about(plan.whole)} in all, from a few measured steps; then tables and figures"
        lines.append(text)
    else:
        lines.append(f"how long that takes is not known: {plan.why}")
    return "\n".join(lines)


def _takes(config: SweepConfig, job: Job, plan: _Plan, index: int) -> str:
    """How long the job takes, or where that was not measured what its snapshots add."""
    count = counted(_snapshots(config, job), "snapshot")
    if plan.seconds:
        seconds = plan.seconds[index]
        share = _percent(seconds.snapshots / seconds.whole)
        return f"{_about(seconds.whole)}, {share} of it for {count}"
    share = _percent(_evaluation_share(config, job, plan.rows))
    return f"{count}, whose evaluation takes about {share} of what training takes"


def _plan(config: SweepConfig) -> _Plan:
    place = backend(config.jobs)
    jobs = plan(config, expand(config), config.jobs.stack, place.slots)
    rows = None
    if isinstance(config.data, ActivationsConfig):
        train, held = rows_of(config.data)
        rows = _Rows(train, min(held, config.eval.n_samples))
    # A GPU may be another process's, and a cluster another machine.
    if not isinstance(place, Local) or place.device != "cpu":
        return _Plan(place, jobs, rows, None, None, "it is measured on this machine's CPU alone")
    samples = rows.evaluation if rows else config.eval.n_samples
    seconds = job_seconds(config, jobs, samples, place.threads)
    if seconds is None:
        return _Plan(place, jobs, rows, None, None, "there is too little memory to measure it")
    rounds = math.ceil(place.processes(len(jobs)) / place.slots)
    whole = side_by_side(seconds, place.slots) + START_SECONDS * rounds
    return _Plan(place, jobs, rows, seconds, whole)


def _about(seconds: float) -> str:
    """A duration that is not known well, as ``about 2m 10s``.

    >>> _about(0.2), _about(130)
    ('about 1s', 'about 2m 10s')
    """
    return f"about {duration(max(1, seconds))}"


def _snapshots(config: SweepConfig, job: Job) -> int:
    return snapshot_count(config.snapshot_every, job.cells[0].train.epochs)


def _evaluation_share(config: SweepConfig, job: Job, rows: _Rows | None) -> float:
    """What evaluating costs over what training does, in multiplications with the weights.

    A training step takes five products of its batch with encoders or decoders; a snapshot two of
    the evaluation set, and the cosines of the features with the atoms are one more.
    """
    samples = rows.evaluation if rows else config.eval.n_samples
    each = 2 * samples + config.data.n_features
    return _snapshots(config, job) * each / (5 * _steps(job) * job.cells[0].train.batch_size)


def _number(passes: float) -> str:
    """A number of passes in words.

    >>> _number(0.048), _number(6.54), _number(220.4)
    ('0.048', '6.5', '220')
    """
    return f"{passes:.2g}" if passes < 10 else f"{passes:,.0f}"


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
