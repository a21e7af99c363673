"""Estimates come from measured steps: a clock that is known shows how."""

from __future__ import annotations

from itertools import count

import pytest

from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.dictionaries.stack import Group
from saesweep.grid import Job, expand, plan
from saesweep.metrics.totals import EvaluationSet
from saesweep.training import estimate
from saesweep.training.estimate import job_seconds

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


@pytest.mark.usefixtures("clock")
def test_steps_and_snapshots_take_as_long_as_those_measured() -> None:
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = job_seconds(config, jobs, samples=100)
    assert seconds.training == pytest.approx(50 * 3 * 0.01)
    assert seconds.snapshots == pytest.approx(6 * 0.01)  # 0, 10, … 50
    assert seconds.whole == pytest.approx(1.56)


@pytest.mark.usefixtures("clock")
def test_smaller_jobs_cost_less_by_their_latents() -> None:
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"), stack="1")
    shares = [job.cells[0].dict_size / 16 for job in jobs]
    found = job_seconds(config, jobs, samples=100)
    assert [one.training for one in found] == pytest.approx([0.01 * 150 * one for one in shares])
    assert [one.snapshots for one in found] == pytest.approx([0.01 * 6 * one for one in shares])


@pytest.mark.usefixtures("clock")
def test_of_large_jobs_few_cells_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "ENOUGH", 16 * 3)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = job_seconds(config, jobs, samples=100)
    assert seconds.training == pytest.approx(150 * 0.01 * 48 / 16)


@pytest.mark.usefixtures("clock")
def test_of_large_evaluation_sets_a_part_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights: two cells of 8 latents and two of 16, at d = 3."""
    monkeypatch.setattr(estimate, "PRODUCTS", 48 * 3 * 250)
    measured: list[tuple[int, int]] = []

    def look(group: Group, data: EvaluationSet, threshold: float) -> None:
        measured.append((len(data), len(data.features)))

    monkeypatch.setattr(estimate, "snapshot", look)
    config, jobs = planned(CONFIG.replace("EPOCHS", "50"))
    (seconds,) = job_seconds(config, jobs, samples=1000)
    assert set(measured) == {(250, 1)}  # a quarter of the samples, and of the 4 features
    assert seconds.snapshots == pytest.approx(6 * 0.01 * 4)


def test_every_variant_and_cure_can_be_measured() -> None:
    config, jobs = planned(
        "data: {activation_dim: 3, n_features: 4, mean_active: 1}\n"
        "grid: {model.variant: [relu, topk, jumprelu, variational], l1: [0.1], k: [2],"
        " l0_coefficient: [0.1], prior_rate: [0.1], dict_size: [8]}\n"
        "train: {epochs: 50, batch_size: 32, revive: auxk}\n"
    )
    seconds = job_seconds(config, jobs, samples=100)
    assert len(seconds) == 4
    assert all(one.training > 0 and one.snapshots > 0 for one in seconds)


def test_activations_are_not_read() -> None:
    config, jobs = planned(
        "data: {source: activations, path: nowhere, activation_dim: 4}\n"
        "grid: {l1: [1], dict_ratio: [2]}\ntrain: {epochs: 5, batch_size: 32}\n"
    )
    assert job_seconds(config, jobs, samples=100)[0].training > 0
