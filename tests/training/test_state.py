"""What a checkpoint must hold: training goes on from it bit for bit."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrainConfig(epochs=12, steps_per_epoch=3, batch_size=64)
SNAPSHOTS = range(0, 13, 2)
SOURCE = SyntheticSource(DataConfig(activation_dim=3, n_features=5, mean_active=1), seed=0)


def cells(*, bias: bool) -> list[Cell]:
    model = ReluOptions(decoder_bias=bias)
    grid = itertools.product((0.0, 0.3), (6, 9), (1e-3, 1e-2))
    return [
        Cell(f"{l1}_{size}_{lr}", l1, size, 0, CONFIG.model_copy(update={"lr": lr}), model, {})
        for l1, size, lr in grid
    ]


def new_state(these: list[Cell]) -> TrainingState:
    return TrainingState(Stack(these, 3, seed=0))


def copied(state: TrainingState) -> dict[str, dict[str, Tensor]]:
    return {
        name: {key: part.clone() for key, part in parts.items()}
        for name, parts in state.parts().items()
    }


def stopped_at(step: int, these: list[Cell]) -> TrainingState:
    state = new_state(these)
    ended = train(state, SOURCE, CONFIG, SNAPSHOTS, lambda *_: True, lambda now: now < step)
    assert (ended, state.step) == (False, step)
    return state


def trained(state: TrainingState) -> tuple[list[tuple[int, int]], dict[str, dict[str, Tensor]]]:
    """The snapshots that are taken on the way to the end, and the state there."""
    moments: list[tuple[int, int]] = []

    def on_snapshot(epoch: int, step: int) -> bool:
        moments.append((epoch, step))
        return True

    assert train(state, SOURCE, CONFIG, SNAPSHOTS, on_snapshot)
    return moments, copied(state)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("step", [1, 3, 5, 6, 7, 35])
def test_training_goes_on_bit_for_bit(step: int, bias: bool) -> None:
    these = cells(bias=bias)
    whole_moments, whole = trained(new_state(these))
    saved = copied(stopped_at(step, these))
    state = new_state(these)
    state.restore(step, saved)
    moments, end = trained(state)
    assert moments == [moment for moment in whole_moments if moment[1] > step]
    for name, parts in whole.items():
        assert set(end[name]) == set(parts)
        for key, part in parts.items():
            assert torch.equal(end[name][key], part), (name, key)


def test_a_cell_goes_on_alone_within_rounding() -> None:
    these = cells(bias=True)
    _, whole = trained(new_state(these))
    saved = copied(stopped_at(20, these))
    for cell in these:
        state = new_state([cell])
        state.restore(20, saved)
        _, end = trained(state)
        for key, part in whole[cell.name].items():
            torch.testing.assert_close(end[cell.name][key], part, atol=1e-5, rtol=1e-4)


def test_parts_are_views_of_all_there_is() -> None:
    state = new_state(cells(bias=True))
    for i, part in enumerate(part for parts in state.parts().values() for part in parts.values()):
        part.fill_(i + 1)
    assert (state.stack.parameters != 0).all()
    assert (state.optimiser.moments != 0).all()
    (first, *_) = state.stack.groups
    sae = first.sae(0)
    own = state.parts()[first.cells[0].name]
    for name, tensor in sae.tensors().items():
        assert torch.equal(tensor, own[name])


def test_a_stop_before_the_first_step_leaves_all_as_it_was() -> None:
    these = cells(bias=False)
    start = copied(new_state(these))
    for name, parts in copied(stopped_at(0, these)).items():
        assert all(torch.equal(part, start[name][key]) for key, part in parts.items())
