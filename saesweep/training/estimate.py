"""How long jobs will train on this machine's CPU, from a few measured steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import torch

from saesweep.config import SweepConfig
from saesweep.data.batch import Batch, Source
from saesweep.data.synthetic import SyntheticSource
from saesweep.data_config import DataConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell, Job
from saesweep.training.loop import gradient_of, step
from saesweep.training.reviving.cures import Cure
from saesweep.training.state import TrainingState

SECONDS, MOST_SECONDS, LEAST_STEPS = 0.3, 2.0, 10
"""The steps of a kind of job are measured for so long: at most, where there are fewer steps."""
ENOUGH = 1 << 22
"""Weights of the cells that are measured together: to make more of them would take longer than it
tells."""


class Noise:
    """A source of normal noise: steps on it take as long as on activations that are in memory."""

    def __init__(self, d_in: int) -> None:
        self.device, self.d_in = "cpu", d_in
        self.features, self.bias = torch.zeros(0, d_in), torch.zeros(d_in)

    def batch(self, step: int, size: int) -> Batch:
        """Samples [size, d_in]."""
        return Batch(torch.randn(size, self.d_in, generator=torch.Generator().manual_seed(step)))

    def evaluation_set(self, size: int) -> Batch:
        """The same."""
        return self.batch(0, size)

    def sample_set(self, name: str, size: int) -> Batch:
        """The same."""
        return self.batch(0, size)


def training_seconds(config: SweepConfig, jobs: Sequence[Job]) -> list[float]:
    """About how many seconds each of ``jobs`` takes to train here, alone; without its snapshots.

    Of each variant the steps of the largest job are measured, and others are taken to cost as much
    for each weight and sample.
    """
    data = config.data
    noise: Source = Noise(data.activation_dim)
    source = SyntheticSource(data, config.seed) if isinstance(data, DataConfig) else noise
    rates: dict[str, float] = {}
    for job in sorted(jobs, key=_work, reverse=True):
        variant = job.cells[0].variant
        if variant not in rates:
            rates[variant] = _rate(config, job, source)
    return [rates[job.cells[0].variant] * _work(job) for job in jobs]


def _rate(config: SweepConfig, job: Job, source: Source) -> float:
    """Seconds for each weight and sample, in the steps of ``job``."""
    cells = _some(job.cells, config.data.activation_dim)
    train = cells[0].train
    state = TrainingState(Stack(cells, config.data.activation_dim, config.seed, "cpu"))
    gradient, cure = gradient_of(state, train), Cure(state, source)

    def take_step() -> float:
        began = time.perf_counter()
        step(state, gradient, cure, source.batch(state.step, train.batch_size).x)
        return time.perf_counter() - began

    with torch.no_grad():
        take_step()  # warms up
        taken = [take_step()]
        while sum(taken) < (SECONDS if len(taken) >= LEAST_STEPS else MOST_SECONDS):
            taken.append(take_step())
    # Not their mean: where others use the cores, single steps take a hundred times as long.
    return median(taken) / (sum(cell.dict_size for cell in cells) * train.batch_size)


def _some(cells: Sequence[Cell], d_in: int) -> list[Cell]:
    """The largest of ``cells``, as many as have `ENOUGH` weights between them."""
    chosen: list[Cell] = []
    for cell in sorted(cells, key=lambda cell: -cell.dict_size):
        if chosen and sum(one.dict_size for one in chosen) * d_in >= ENOUGH:
            break
        chosen.append(cell)
    return chosen


def _work(job: Job) -> float:
    """Latents times samples of a job."""
    train = job.cells[0].train
    samples = train.epochs * train.steps_per_epoch * train.batch_size
    return float(samples * sum(cell.dict_size for cell in job.cells))
