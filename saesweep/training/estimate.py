"""How long jobs will take on this machine's CPU, from a few measured steps and a snapshot."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import quantiles

import torch

from saesweep.config import SweepConfig
from saesweep.data.batch import Batch, Source
from saesweep.data.synthetic import SyntheticSource
from saesweep.data_config import DataConfig
from saesweep.dictionaries.stack import Stack
from saesweep.errors import is_out_of_memory
from saesweep.grid import Cell, Job
from saesweep.metrics.evaluate import snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.schedule import snapshot_count
from saesweep.training.loop import gradient_of, step
from saesweep.training.reviving.cures import Cure
from saesweep.training.state import TrainingState

SECONDS, MOST_SECONDS, LEAST_STEPS = 0.3, 1.0, 10
"""The steps of a kind of job are measured for so long: at most, where there are fewer steps."""
ENOUGH = 1 << 20
"""Weights of the cells that are measured together. More tell nothing more, and to draw those of a
dictionary of 100,000 latents takes minutes."""
SNAPSHOTS, PRODUCTS = 3, 1 << 31
"""How many snapshots are measured, and how many weights times samples in one, or in a step: 0.1 to
0.2 s on two cores."""
MOST_TRUTH = 1 << 26
"""Numbers in the features of data that are drawn to measure. Of more a part is, and noise takes
the place of batches: what it costs to draw those is then not counted."""


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


def job_seconds(
    config: SweepConfig, jobs: Sequence[Job], samples: int, threads: int | None = None
) -> list[Seconds] | None:
    """About how long each of ``jobs`` takes on ``threads``, or as many as torch has now.

    There are ``samples`` in the evaluation set. Of each variant and size of batch the largest job
    is measured, at most `ENOUGH` weights and `PRODUCTS` of it, and others are taken to cost as much
    for each latent and sample. None where memory runs out: then a sweep would tell more.
    """
    rates: dict[tuple[str, int], Seconds] = {}
    try:
        with _with_threads(threads or torch.get_num_threads()), torch.no_grad():
            source = _source(config)
            for job in sorted(jobs, key=_latents, reverse=True):
                if _kind(job) not in rates:
                    rates[_kind(job)] = _rates(config, job, source, samples)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return [_scaled(config, job, rates[_kind(job)]) for job in jobs]


def side_by_side(seconds: Sequence[Seconds], slots: int) -> float:
    """About how long jobs take, in their order, each in the first of ``slots`` that is free.

    >>> side_by_side([Seconds(3, 1), Seconds(2, 0), Seconds(1, 0)], slots=2)
    4.0
    """
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one.whole)
    return max(free)


def _kind(job: Job) -> tuple[str, int]:
    """What jobs have in common that cost as much for each latent and sample."""
    return job.cells[0].variant, job.cells[0].train.batch_size


def _latents(job: Job) -> int:
    return sum(cell.dict_size for cell in job.cells)


def _source(config: SweepConfig) -> Source:
    data = config.data
    if isinstance(data, DataConfig) and data.n_features * data.activation_dim <= MOST_TRUTH:
        return SyntheticSource(data, config.seed)
    return Noise(data.activation_dim)


def _scaled(config: SweepConfig, job: Job, rates: Seconds) -> Seconds:
    """What ``job`` takes, given what a latent takes for a sample of a step, and in a snapshot."""
    train, latents = job.cells[0].train, _latents(job)
    samples = train.epochs * train.steps_per_epoch * train.batch_size
    count = snapshot_count(config.snapshot_every, train.epochs)
    return Seconds(rates.training * samples * latents, rates.snapshots * count * latents)


def _rates(config: SweepConfig, job: Job, source: Source, samples: int) -> Seconds:
    """Seconds for each latent of ``job``: for a sample of a step, and in a snapshot."""
    d_in = config.data.activation_dim
    cells = _some(job.cells, d_in)
    latents = sum(cell.dict_size for cell in cells)
    size = max(1, min(cells[0].train.batch_size, PRODUCTS // (latents * d_in)))
    state = TrainingState(Stack(cells, d_in, config.seed, "cpu"))
    step_seconds = _step_seconds(state, source, size)
    snapshot_seconds = _snapshot_seconds(config, state, source, samples)
    return Seconds(step_seconds / (latents * size), snapshot_seconds / latents)


def _step_seconds(state: TrainingState, source: Source, size: int) -> float:
    """Of a step of ``state`` on ``size`` samples, with drawing them."""
    train = state.train.model_copy(update={"batch_size": size})
    gradient, cure = gradient_of(state, train), Cure(state, source)

    def take_step() -> float:
        began = time.perf_counter()
        step(state, gradient, cure, source.batch(state.step, size).x)
        return time.perf_counter() - began

    take_step()  # warms up
    taken = [take_step()]
    while sum(taken) < (SECONDS if len(taken) >= LEAST_STEPS else MOST_SECONDS):
        taken.append(take_step())
    # Where others use the cores for a moment, half of the steps take twice as long, and some a
    # hundred times: the median said 20 seconds or 45, as it came.
    return quantiles(taken, n=4, method="inclusive")[0]


def _snapshot_seconds(
    config: SweepConfig, state: TrainingState, source: Source, samples: int
) -> float:
    """Of a snapshot of ``state``: measured, on a part of the evaluation set where that is large.

    Of the features, whose cosines with the atoms are the rest of the work, it takes the same part.
    """
    d_in, count = config.data.activation_dim, config.data.n_features
    weights = sum(group.weights["W_dec"].numel() for group in state.stack.groups)
    part = min(1.0, PRODUCTS / (samples * weights), MOST_TRUTH / max(1, count * d_in))
    features = torch.randn(math.ceil(part * count), d_in)
    batch = source.evaluation_set(math.ceil(part * samples))
    data = EvaluationSet(Batch(batch.x), features)
    taken = []
    for _ in range(SNAPSHOTS):
        began = time.perf_counter()
        for group in state.stack.groups:
            snapshot(group, data, config.eval.learned_threshold)
        taken.append(time.perf_counter() - began)
    return min(taken) / part


def _some(cells: Sequence[Cell], d_in: int) -> list[Cell]:
    """The largest of ``cells``, as many as have `ENOUGH` weights between them, or a part of one."""
    chosen: list[Cell] = []
    left = ENOUGH // d_in
    for cell in sorted(cells, key=lambda cell: -cell.dict_size):
        if chosen and cell.dict_size > left:
            break
        # No fewer latents than are to be active.
        least = math.ceil(cell.sparsity) if cell.axis.key == "k" else 1
        chosen.append(replace(cell, dict_size=min(cell.dict_size, max(left, least))))
        left -= cell.dict_size
    return chosen


@contextmanager
def _with_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
