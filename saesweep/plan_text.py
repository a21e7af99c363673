"""What a sweep would do, before it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from saesweep.activations_config import ActivationsConfig
from saesweep.config import SweepConfig
from saesweep.data.sources import rows_of
from saesweep.files import to_json
from saesweep.grid import Job, expand, plan
from saesweep.jobs.backends import Backend, backend
from saesweep.reporting import counted, duration
from saesweep.schedule import snapshot_count
from saesweep.training.estimate import training_seconds


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
    training: list[float] | None
    """Seconds that each job trains; None where that was not measured, as on a GPU."""

    def seconds(self, config: SweepConfig) -> list[float] | None:
        """About how long each job takes, with its snapshots."""
        if self.training is None:
            return None
        return [
            seconds * (1 + _evaluation_share(config, job, self.rows))
            for seconds, job in zip(self.training, self.jobs, strict=True)
        ]


def plan_json(config: SweepConfig) -> str:
    """The plan for a program; ``RunError`` where the shards that it needs are not there."""
    plan = _plan(config)
    rows, seconds = plan.rows, plan.seconds(config)
    jobs: list[dict[str, Any]] = [
        {
            "cells": [cell.name for cell in job.cells],
            "steps": _steps(job),
            "passes": rows and rows.passes(job),
            "bytes": job.bytes,
            "snapshots": _snapshots(config, job),
            "evaluation_share": _evaluation_share(config, job, rows),
            "seconds": seconds and seconds[index],
        }
        for index, job in enumerate(plan.jobs)
    ]
    cells = sum(len(job["cells"]) for job in jobs)
    counts = rows and {"train": rows.train, "evaluation": rows.evaluation}
    return to_json({"cells": cells, "slots": plan.place.slots, "rows": counts, "jobs": jobs})


def plan_text(config: SweepConfig) -> str:
    """The plan for a person: the axes, where it runs, and each job with its memory and steps.

    ``RunError`` where the shards that it needs are not there.
    """
    plan = _plan(config)
    jobs, rows, seconds = plan.jobs, plan.rows, plan.seconds(config)
    cells = sum(len(job.cells) for job in jobs)
    lines = [f"{config.name}: {counted(cells, 'cell')} in {counted(len(jobs), 'job')}"]
    for axis, values in config.grid.items():
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        lines.append(f"  {axis}: {', '.join(shown)}")
    if rows:
        lines.append(f"{rows.train:,} rows to train on, {rows.evaluation:,} others to measure on")
    lines.append(plan.place.describe())
    for number, job in enumerate(jobs[:20], start=1):
        stacked = f"{len(job.cells)} cells stacked" if len(job.cells) > 1 else job.cells[0].name
        lines.append(
            f"job {number}: {stacked}, {_steps(job):,} steps of {job.cells[0].train.batch_size:,} "
            f"samples, about {job.bytes / 2**20:,.0f} MiB"
            + (f", {_about(seconds[number - 1])}" if seconds else "")
        )
        if rows:
            lines.append(f"  {_number(rows.passes(job))} passes over the rows")
        lines.append(
            f"  {_snapshots(config, job)} snapshots, whose evaluation takes about "
            f"{_percent(_evaluation_share(config, job, rows))} of what training takes"
        )
    if len(jobs) > 20:
        lines.append(f"… and {len(jobs) - 20} more jobs")
    if seconds:
        lines.append(
            f"{_about(sum(seconds))} in all, from a few measured steps; then tables and figures"
        )
    return "\n".join(lines)


def _plan(config: SweepConfig) -> _Plan:
    place = backend(config.jobs)
    jobs = plan(config, expand(config), config.jobs.stack, place.slots)
    rows = None
    if isinstance(config.data, ActivationsConfig):
        train, held = rows_of(config.data)
        rows = _Rows(train, min(held, config.eval.n_samples))
    # A GPU may be another process's, and a cluster another machine.
    here = config.jobs.backend == "local" and place.device == "cpu"
    return _Plan(place, jobs, rows, training_seconds(config, jobs) if here else None)


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
