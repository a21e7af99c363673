"""Training goes on from a checkpoint bit for bit, whatever the variant and the trainer's keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
STOP = 7
Parts = dict[str, dict[str, Tensor]]

TRAIN: list[dict[str, Any]] = [
    {},
    {"optimiser": "schedule_free", "average": 0.9, "lr_warmup": 0.3, "clip_norm": 0.1},
    {
        "revive": "resample",
        "dead_after": 0.25,
        "average": 0.9,
        "lr_warmup": 0.2,
        "lr_decay": "cosine",
    },
    {"revive": "ghost_grads", "dead_after": 0.25, "penalty_warmup": 0.8, "lr_decay": "linear"},
    {"revive": "auxk", "dead_after": 0.17, "optimiser": "schedule_free", "loss": "mean"},
]


def with_keys(cells: list[Cell], keys: dict[str, Any]) -> list[Cell]:
    configs = [TrainConfig(**{**one.train.model_dump(), **keys}) for one in cells]
    return [replace(one, train=config) for one, config in zip(cells, configs, strict=True)]


def started(cells: list[Cell], *, silent: bool) -> TrainingState:
    """A fresh state; where latents are to be revived every cell has some that are silent."""
    stack = Stack(cells, 4, seed=0, dtype=torch.float64)
    for group in stack.groups:
        if silent:
            group.encoder[:, -1, :3] = -20
            if cells[0].variant == "gated":
                group.learned["b_mag"][:, :3] = -20
    return TrainingState(stack)


def copied(state: TrainingState) -> Parts:
    return {
        name: {key: part.clone() for key, part in parts.items()}
        for name, parts in state.parts().items()
    }


def measured(state: TrainingState) -> Parts:
    with state.measured():
        return {
            one.name: group.sae(place).tensors()
            for group in state.stack.groups
            for place, one in enumerate(group.cells)
        }


def assert_equal(one: Parts, other: Parts) -> None:
    assert one.keys() == other.keys()
    for name, parts in one.items():
        assert parts.keys() == other[name].keys()
        for key, part in parts.items():
            assert torch.equal(part, other[name][key]), (name, key)


def assert_goes_on(cells: list[Cell], doubles: Any, *, silent: bool) -> TrainingState:
    config = cells[0].train
    whole = started(cells, silent=silent)
    assert train(whole, doubles, config, (), lambda *_: True)
    stopped = started(cells, silent=silent)
    assert not train(stopped, doubles, config, (), lambda *_: True, lambda step: step < STOP)
    fresh = started(cells, silent=False)
    fresh.restore(STOP, copied(stopped))
    assert_equal(copied(fresh), copied(stopped))
    assert train(fresh, doubles, config, (), lambda *_: True)
    assert_equal(copied(fresh), copied(whole))
    assert_equal(measured(fresh), measured(whole))
    return whole


@pytest.mark.parametrize("keys", TRAIN, ids=str)
def test_every_variant_goes_on_bit_for_bit(
    cell: Cell, doubles: Any, keys: dict[str, Any], vary: Callable[..., Cell]
):
    cells = with_keys([cell, vary(cell, size=12, lr=3e-2)], keys)
    assert_goes_on(cells, doubles, silent="revive" in keys)


@pytest.mark.parametrize("more", [{}, {"average": 0.9}, {"optimiser": "schedule_free"}], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"unit_norm": False}, {"tied": True}, {"lp": 0.8}], ids=str
)
def test_a_falling_power_goes_on_bit_for_bit(
    options: dict[str, Any],
    more: dict[str, Any],
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    doubles: Any,
):
    one = cell_of("relu", **options)
    keys = {"lp_end": 0.4, "penalty_warmup": 0.25, **more}
    state = assert_goes_on(with_keys([one, vary(one, size=12)], keys), doubles, silent=False)
    assert state.annealing is not None
    assert all((scale - 1).abs().min() > 0.01 for scale in state.annealing.scales)


def test_latents_were_dead(cell: Cell, doubles: Any):
    """The tests above are about something: silent latents are found, and given new weights."""
    for revive in ("resample", "auxk"):
        (one,) = with_keys([cell], {"revive": revive, "dead_after": 0.25})
        state = started([one], silent=True)
        assert not train(state, doubles, one.train, (), lambda *_: True, lambda step: step < 5)
        assert state.windows is not None
        assert {0, 1, 2} <= {*state.windows.places[0][0].tolist()}
        assert train(state, doubles, one.train, (), lambda *_: True)
        fresh = state.stack.groups[0].encoder[0, -1, :3] > -19
        assert fresh.all() == (revive == "resample")
