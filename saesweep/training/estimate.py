"""How long jobs will take on this machine's CPU, from a few measured steps and a snapshot."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from saesweep.config import SweepConfig
from saesweep.data.batch import Batch, Source
from saesweep.data.synthetic import SyntheticSource
from saesweep.data_config import DataConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell, Job
from saesweep.metrics.evaluate import snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.schedule import snapshot_count
from saesweep.training.loop import gradient_of, step
from saesweep.training.reviving.cures import Cure
from saesweep.training.state import TrainingState

SECONDS, MOST_SECONDS, LEAST_STEPS = 0.3, 2.0, 10
"""The steps of a kind of job are measured for so long: at most, where there are fewer steps."""
ENOUGH = 1 << 22
"""Weights of the cells that are measured together: to make more of them would take longer than it
tells."""
SNAPSHOTS, PRODUCTS = 3, 1 << 32
"""How many snapshots are measured, and of how many weights times samples: 0.1 s on two cores."""


class Noise:
    """A source of normal noise: steps on it take as long as on activations that are in memory."""

    def __init__(self, d_in: int) -> None:
        self.device = "cpu"
        self.features, self.bias = torch.zeros(0, d_in), torch.zeros(d_in)

    def batch(self, step: int, size: int) -> Batch:
        """Samples [size, d_in]."""
        return Batch(
            torch.randn(size, len(self.bias), generator=torch.Generator().manual_seed(step))
        )

    def evaluation_set(self, size: int) -> Batch:
        """The same."""
        return self.batch(0, size)

    def sample_set(self, name: str, size: int) -> Batch:
        """The same."""
        return self.batch(0, size)


@dataclass(frozen=True)
class Seconds:
    """About how long a job takes here, alone."""

    training: float
    snapshots: float
    """Of which most goes into measuring its cells on the evaluation set."""

    @property
    def whole(self) -> float:
        """Both."""
        return self.training + self.snapshots


def job_seconds(config: SweepConfig, jobs: Sequence[Job], samples: int) -> list[Seconds]:
    """About how long each of ``jobs`` takes, with ``samples`` in the evaluation set.

    Of each variant the largest job is measured, and others are taken to cost as much for each
    weight and sample.
    """
    data = config.data
    noise: Source = Noise(data.activation_dim)
    source = SyntheticSource(data, config.seed) if isinstance(data, DataConfig) else noise
    rates: dict[str, Seconds] = {}
    for job in sorted(jobs, key=_latents, reverse=True):
        variant = job.cells[0].variant
        if variant not in rates:
            rates[variant] = _rates(config, job, source, samples)
    return [_scaled(config, job, rates[job.cells[0].variant]) for job in jobs]


def _scaled(config: SweepConfig, job: Job, rates: Seconds) -> Seconds:
    """What ``job`` takes, given what a latent takes in a step and in a snapshot."""
    train = job.cells[0].train
    steps = train.epochs * train.steps_per_epoch
    count = snapshot_count(config.snapshot_every, train.epochs)
    latents = _latents(job)
    return Seconds(rates.training * steps * latents, rates.snapshots * count * latents)


def _latents(job: Job) -> int:
    return sum(cell.dict_size for cell in job.cells)


def _rates(config: SweepConfig, job: Job, source: Source, samples: int) -> Seconds:
    """Seconds for each latent of ``job``: in a step, and in a snapshot."""
    cells = _some(job.cells, config.data.activation_dim)
    state = TrainingState(Stack(cells, config.data.activation_dim, config.seed, "cpu"))
    latents = sum(cell.dict_size for cell in cells)
    with torch.no_grad():
        step_seconds = _step_seconds(state, source)
        snapshot_seconds = _snapshot_seconds(config, state, source, samples)
    return Seconds(step_seconds / latents, snapshot_seconds / latents)


def _step_seconds(state: TrainingState, source: Source) -> float:
    """Of a step of ``state``, with its batch."""
    gradient, cure = gradient_of(state, state.train), Cure(state, source)

    def take_step() -> float:
        began = time.perf_counter()
        step(state, gradient, cure, source.batch(state.step, state.train.batch_size).x)
        return time.perf_counter() - began

    take_step()  # warms up
    taken = [take_step()]
    while sum(taken) < (SECONDS if len(taken) >= LEAST_STEPS else MOST_SECONDS):
        taken.append(take_step())
    # Not their mean: where others use the cores, single steps take a hundred times as long.
    return median(taken)


def _snapshot_seconds(
    config: SweepConfig, state: TrainingState, source: Source, samples: int
) -> float:
    """Of a snapshot of ``state``: measured, on a part of the evaluation set where that is large.

    Of the features, whose cosines with the atoms are the rest of the work, it takes the same part.
    """
    weights = (
        sum(group.weights["b_enc"].numel() for group in state.stack.groups)
        * source.features.shape[1]
    )
    part = min(1.0, PRODUCTS / (samples * weights))
    features = source.features[: math.ceil(part * len(source.features))]
    batch = source.evaluation_set(math.ceil(part * samples))
    data = EvaluationSet(Batch(batch.x), features)
    taken = []
    for _ in range(SNAPSHOTS):
        began = time.perf_counter()
        for group in state.stack.groups:
            snapshot(group, data, config.eval.learned_threshold)
        taken.append(time.perf_counter() - began)
    return median(taken) / part


def _some(cells: Sequence[Cell], d_in: int) -> list[Cell]:
    """The largest of ``cells``, as many as have `ENOUGH` weights between them."""
    chosen: list[Cell] = []
    for cell in sorted(cells, key=lambda cell: -cell.dict_size):
        if chosen and sum(one.dict_size for one in chosen) * d_in >= ENOUGH:
            break
        chosen.append(cell)
    return chosen
