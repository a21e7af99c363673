"""Estimates come from measured steps: a clock that is known shows how."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch

from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import Cell, Job, expand, plan
from saesweep.metrics.totals import EvaluationSet
from saesweep.training import estimate
from saesweep.training.estimate import Seconds, job_seconds

CONFIG = """
data: {activation_dim: 3, n_features: 4, mean_active: 1}
grid: {l1: [0.01, 0.1], dict_ratio: [2, 4]}
train: {epochs: EPOCHS, steps_per_epoch: 3, batch_size: 32}
"""


def planned(text: str, stack: str = "auto") -> tuple[SweepConfig, list[Job]]:
    config = parse_config(text)
    return config, plan(config, expand(config), stack if stack == "auto" else int(stack), 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds it a hundredth of a second later."""
    ticks = count()
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(ticks) / 100)


def seconds_of(config: SweepConfig, jobs: list[Job], samples: int = 100) -> list[Seconds]:
    found = job_seconds(config, jobs, samples)
    assert found is not None
    return found


@pytest.mark.usefixtures("clock")
def test_steps_and_snapshots_take_as_long_as_those_measured() -> None:
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = seconds_of(config, jobs)
    assert seconds.training == pytest.approx(50 * 3 * 0.01)
    assert seconds.snapshots == pytest.approx(6 * 0.01)  # 0, 10, … 50
    assert seconds.whole == pytest.approx(1.56)


def test_two_steps_of_unlike_length_are_not_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 0.1 and 1.5 s, after one that warms up: a quarter of the way between them."""
    ends = [0.0, 5.0, 0.0, 0.1, 0.0, 1.5, *[0.0, 0.01] * estimate.SNAPSHOTS]
    monkeypatch.setattr(estimate.time, "perf_counter", iter(ends).__next__)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = seconds_of(config, jobs)
    assert seconds.training == pytest.approx(50 * 3 * (0.1 + 1.4 / 4))


@pytest.mark.usefixtures("clock")
def test_smaller_jobs_cost_less_by_their_latents() -> None:
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"), stack="1")
    shares = [job.cells[0].dict_size / 16 for job in jobs]
    found = seconds_of(config, jobs)
    assert [one.training for one in found] == pytest.approx([0.01 * 150 * one for one in shares])
    assert [one.snapshots for one in found] == pytest.approx([0.01 * 6 * one for one in shares])


@pytest.mark.usefixtures("clock")
def test_of_large_jobs_few_cells_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "ENOUGH", 16 * 3)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = seconds_of(config, jobs)
    assert seconds.training == pytest.approx(150 * 0.01 * 48 / 16)


@pytest.mark.usefixtures("clock")
def test_of_large_dictionaries_a_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "ENOUGH", 4 * 3)
    made: list[int] = []

    def stack(cells: list[Cell], *args: Any) -> Stack:
        made.extend(cell.dict_size for cell in cells)
        return Stack(cells, *args)

    monkeypatch.setattr(estimate, "Stack", stack)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"), stack="1")
    seconds = seconds_of(config, jobs)
    assert made == [4]
    assert max(one.training for one in seconds) == pytest.approx(150 * 0.01 * 16 / 4)


@pytest.mark.usefixtures("clock")
def test_of_large_batches_a_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PRODUCTS", 48 * 3 * 8)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = seconds_of(config, jobs)
    assert seconds.training == pytest.approx(150 * 0.01 * 32 / 8)


@pytest.mark.usefixtures("clock")
def test_each_size_of_batch_is_measured() -> None:
    config, jobs = planned(
        CONFIG.replace("EPOCHS", "50").replace("4]}", "4], train.batch_size: [32, 64]}")
    )
    assert [one.training for one in seconds_of(config, jobs)] == pytest.approx([1.5, 1.5])


def test_where_memory_is_short_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(estimate, "step", short)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    assert job_seconds(config, jobs, 100) is None


def test_it_is_measured_on_the_threads_that_a_job_has(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), set()
    monkeypatch.setattr(estimate, "snapshot", lambda *_: seen.add(torch.get_num_threads()))
    config, jobs = planned(CONFIG.replace("EPOCHS", "5"))
    job_seconds(config, jobs, 100, threads=3)
    assert (seen, torch.get_num_threads()) == ({3}, before)


def test_features_too_many_to_draw_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MOST_TRUTH", 4 * 3 - 1)
    monkeypatch.setattr(estimate, "SyntheticSource", None)
    config, jobs = planned(CONFIG.replace("EPOCHS", "5"))
    assert seconds_of(config, jobs)[0].training > 0


@pytest.mark.usefixtures("clock")
def test_of_large_evaluation_sets_a_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights: two cells of 8 latents and two of 16, at d = 3."""
    monkeypatch.setattr(estimate, "PRODUCTS", 48 * 3 * 250)
    measured: list[tuple[int, int]] = []

    def look(group: Group, data: EvaluationSet, threshold: float) -> None:
        measured.append((len(data), len(data.features)))

    monkeypatch.setattr(estimate, "snapshot", look)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = seconds_of(config, jobs, samples=1000)
    assert set(measured) == {(250, 1)}  # a quarter of the samples, and of the 4 features
    assert seconds.snapshots == pytest.approx(6 * 0.01 * 4)


def test_every_variant_and_cure_can_be_measured() -> None:
    config, jobs = planned(
        "data: {activation_dim: 3, n_features: 4, mean_active: 1}\n"
        "grid: {model.variant: [relu, topk, jumprelu, variational], l1: [0.1], k: [2],"
        " l0_coefficient: [0.1], prior_rate: [0.1], dict_size: [8]}\n"
        "train: {epochs: 50, batch_size: 32, revive: auxk}\n"
    )
    seconds = seconds_of(config, jobs)
    assert len(seconds) == 4
    assert all(one.training > 0 and one.snapshots > 0 for one in seconds)


def test_activations_are_not_read() -> None:
    config, jobs = planned(
        "data: {source: activations, path: nowhere, activation_dim: 4}\n"
        "grid: {l1: [1], dict_ratio: [2]}\ntrain: {epochs: 5, batch_size: 32}\n"
    )
    assert seconds_of(config, jobs)[0].training > 0
