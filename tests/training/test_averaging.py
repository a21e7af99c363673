"""The running mean of the weights, against a plain loop."""

from __future__ import annotations

import pytest
import torch

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.training.averaging import Average
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


def stack_of(config: TrainConfig) -> Stack:
    cells = [Cell(f"{l1}", l1, 6, 0, config, ReluOptions(), {}) for l1 in (0.1, 0.4)]
    return Stack(cells, 3, seed=0, dtype=torch.float64)


def plainly(weights: list[torch.Tensor], decay: float) -> torch.Tensor:
    mean = weights[0]
    for step, now in enumerate(weights[1:], start=1):
        d = min(decay, (1 + step) / (10 + step))
        mean = d * mean + (1 - d) * now
    return mean


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.999])
def test_against_a_loop(decay: float):
    stack = stack_of(TrainConfig())
    average, weights = Average(stack, decay), [stack.parameters.clone()]
    for step in range(1, 20):
        stack.parameters.add_(torch.sin(torch.arange(len(stack.parameters)) + step))
        average.update(step)
        weights.append(stack.parameters.clone())
    torch.testing.assert_close(average.parameters, plainly(weights, decay))


def test_the_start_is_forgotten():
    """Of 1 at the start and 0 since, after 100 steps at 0.999 less than 1e-6 is left."""
    stack = stack_of(TrainConfig())
    stack.parameters.fill_(1)
    average = Average(stack, 0.999)
    stack.parameters.zero_()
    for step in range(1, 101):
        average.update(step)
    assert 0 < average.parameters.max() < 1e-6


def test_it_is_measured_and_training_goes_on_from_the_weights():
    config = TrainConfig(epochs=8, batch_size=32, average=0.8, lr=1e-2)
    source = SyntheticSource(DataConfig(activation_dim=3, n_features=5, mean_active=1), seed=0)
    state, weights, shown = TrainingState(stack_of(config)), [], []
    weights.append(state.stack.parameters.clone())

    def go_on(step: int) -> bool:
        if step:
            weights.append(state.stack.parameters.clone())
        return True

    def show(epoch: int, step: int) -> bool:
        shown.append(state.stack.parameters.clone())
        return True

    train(state, source, config, {4, 8}, show, go_on)
    weights.append(state.stack.parameters.clone())
    alike = TrainingState(stack_of(config.model_copy(update={"average": 0.0})))
    train(alike, source, alike.train, (), lambda *_: True)
    assert torch.equal(state.stack.parameters, alike.stack.parameters)
    for found, last in zip(shown[1:], (4, 8), strict=True):
        expected = stack_of(config)
        expected.parameters.copy_(plainly(weights[: last + 1], 0.8))
        expected.impose()
        torch.testing.assert_close(found, expected.parameters)
