"""Schedules, against values that are written out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.training.fused import FusedGradient
from saesweep.training.loop import train
from saesweep.training.schedules import Schedule
from saesweep.training.state import TrainingState


def schedule(steps: int = 10, **keys: Any) -> Schedule:
    return Schedule(TrainConfig(epochs=steps, **keys))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"lr_warmup": 0.6}, [1 / 3, 2 / 3, 1, 1, 1]),
        ({"lr_decay": "linear"}, [1, 0.8, 0.6, 0.4, 0.2]),
        ({"lr_decay": "cosine"}, [1, 0.904508, 0.654508, 0.345492, 0.095492]),
        ({"lr_warmup": 0.2, "lr_decay": "linear"}, [1, 1, 0.75, 0.5, 0.25]),
        ({"lr_warmup": 0.4, "lr_decay": "cosine"}, [0.5, 1, 1, 0.75, 0.25]),
        ({"lr_warmup": 0.09}, [1, 1, 1, 1, 1]),
    ],
)
def test_learning_rate(keys: dict[str, Any], expected: list[float]):
    """Of five steps."""
    found = schedule(5, **keys)
    assert [found.lr(step) for step in range(5)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_decay_ends_at_0_and_no_step_is_lost(decay: str):
    found = schedule(1000, lr_decay=decay, lr_warmup=0.1)
    rates = [found.lr(step) for step in range(1001)]
    assert rates[99:101] == [1, 1]
    assert all(later < now for now, later in itertools.pairwise(rates[100:]))
    assert 0 < rates[999] < 2e-3
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert all(rate > 0 for rate in rates[:1000])


def test_penalty():
    found = schedule(penalty_warmup=0.4)
    values = [found.penalty(step) for step in range(10)]
    assert values == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])
    assert [schedule().penalty(step) for step in (0, 9)] == [1, 1]


def test_power():
    found = schedule(7, lp_end=0.5, penalty_warmup=0.3)
    values = [found.power(step, 1.0) for step in range(8)]
    assert values == pytest.approx([1, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.5])
    assert schedule(7).power(6, 0.8) == 0.8
    assert schedule(3, lp_end=0.2).power(2, 2.0) == pytest.approx(0.2)


def test_steps_are_those_of_all_epochs():
    found = schedule(5, steps_per_epoch=4, lr_decay="linear")
    assert found.steps == 20
    assert found.lr(10) == 0.5


def state_of(**keys: Any) -> TrainingState:
    one = Cell("one", 0.3, 6, 0, TrainConfig(epochs=4, batch_size=32, **keys), ReluOptions(), {})
    return TrainingState(Stack([one], 3, seed=0))


SOURCE = SyntheticSource(DataConfig(activation_dim=3, n_features=5, mean_active=1), seed=0)


@pytest.mark.usefixtures("one_thread")
def test_the_loop_steps_at_the_schedules_rates(monkeypatch: pytest.MonkeyPatch):
    state, rates, strengths = state_of(lr_warmup=0.5, penalty_warmup=0.75), [], []
    step, gradient = state.optimiser.step, FusedGradient.__call__

    def stepped(factor: float = 1.0) -> None:
        rates.append(factor)
        step(factor)

    def computed(
        self: FusedGradient, x: Any, at: int = 0, by: float = 1, fired: Any = None
    ) -> None:
        strengths.append(by)
        gradient(self, x, at, by, fired)

    monkeypatch.setattr(state.optimiser, "step", stepped)
    monkeypatch.setattr(FusedGradient, "__call__", computed)
    train(state, SOURCE, state.train, (), lambda *_: True)
    assert rates == pytest.approx([0.5, 1, 1, 1])
    assert strengths == pytest.approx([1 / 3, 2 / 3, 1, 1])


@pytest.mark.usefixtures("one_thread")
def test_adams_first_step_is_as_long_as_the_rate():
    """Whatever the gradient, a first step of Adam is the learning rate in every coordinate."""
    state = state_of(lr_warmup=0.5, lr=1e-3)
    state.stack.impose()
    before = state.stack.parameters.clone()
    train(state, SOURCE, state.train, (), lambda *_: True, lambda step: step < 1)
    moved = (state.stack.parameters - before).abs()
    steps = moved[state.stack.gradients.abs() > 1e-4]
    assert len(steps) > 10
    torch.testing.assert_close(steps, torch.full_like(steps, 5e-4), rtol=1e-2, atol=0)
