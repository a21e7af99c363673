"""The gradient by autograd: batches, chunks, groups. Each variant's is in its own test."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import Options, ReluOptions, TopKOptions, VariationalOptions
from saesweep.training import autograd
from saesweep.training.autograd import AutogradGradient
from saesweep.training.fused import FusedGradient
from saesweep.training.loop import gradient_of
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


def cell(
    value: float, size: int, options: Options, variant: str, loss: str = "sum", lr: float = 1e-3
) -> Cell:
    train = TrainConfig(lr=lr, loss=loss)  # type: ignore[arg-type]
    return Cell(f"{value}_{size}_{lr}", value, size, 0, train, options, {}, variant)


def stack_of(*cells: Cell) -> Stack:
    stack = Stack(cells, 3, seed=0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(stack.parameters.shape, generator=generator, dtype=torch.float64)
    stack.parameters += 0.3 * noise
    return stack


def samples(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64)


def relu(l1: float, size: int, **more: float) -> Cell:
    return cell(l1, size, ReluOptions(decoder_bias=True), "relu", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("chunk", [7, 50, 64])
def test_of_l1_it_is_the_one_by_hand(loss: str, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(autograd, "chunk_size", lambda latents, batch, device: chunk)
    options = ReluOptions(decoder_bias=True)
    grid = [
        cell(l1, size, options, "relu", loss, lr)
        for l1 in (0.0, 0.4)
        for size in (4, 7)
        for lr in (1e-3, 1e-2)
    ]
    stack, x = stack_of(*grid), samples(50)
    FusedGradient(stack, 50, loss)(x)
    expected = stack.gradients.clone()
    AutogradGradient(stack, 50, loss)(x)
    torch.testing.assert_close(stack.gradients, expected, rtol=1e-9, atol=1e-12)


def test_a_second_batch_replaces_the_first():
    stack = stack_of(relu(0.1, 4), relu(0.3, 6))
    gradient = AutogradGradient(stack, 10, "sum")
    gradient(samples(10, seed=1))
    first = stack.gradients.clone()
    gradient(samples(10, seed=2))
    assert not torch.equal(stack.gradients, first)
    gradient(samples(10, seed=1))
    torch.testing.assert_close(stack.gradients, first, rtol=1e-9, atol=1e-12)


def test_atoms_get_norm_1_first():
    stack = stack_of(cell(2, 4, TopKOptions(), "topk"))
    (group,) = stack.groups
    directions = group.decoder / group.decoder.norm(dim=-1, keepdim=True)
    group.decoder.mul_(5)
    AutogradGradient(stack, 10, "sum")(samples(10))
    torch.testing.assert_close(group.decoder, directions)


def test_atoms_of_any_norm_keep_theirs():
    stack = stack_of(cell(0.1, 4, ReluOptions(unit_norm=False), "relu"))
    before = stack.parameters.clone()
    AutogradGradient(stack, 10, "sum")(samples(10))
    assert torch.equal(stack.parameters, before)


def test_parameters_that_follow_an_optimiser_are_those_it_sees():
    """Its leaves are views: a step in place changes the next gradient."""
    stack = stack_of(cell(0.2, 4, VariationalOptions(decoder_bias=True), "variational"))
    gradient, x = AutogradGradient(stack, 10, "sum"), samples(10)
    gradient(x)
    first = stack.gradients.clone()
    stack.parameters.add_(0.1)
    moved = stack.parameters.clone()
    gradient(x)
    again = stack.gradients.clone()
    assert not torch.equal(first, again)
    # From where that was: to scale atoms to norm 1 a second time may round them otherwise.
    stack.parameters.copy_(moved)
    AutogradGradient(stack, 10, "sum")(x)
    assert torch.equal(stack.gradients, again)
    assert not stack.parameters.requires_grad


@pytest.mark.parametrize(
    ("options", "by_hand"),
    [
        ({}, True),
        ({"tied": True}, True),
        ({"decoder_bias": True}, True),
        ({"lp": 0.5}, False),
        ({"penalty": "tanh"}, False),
        ({"unit_norm": False}, False),
    ],
)
def test_the_gradient_by_hand_is_taken_where_it_is_right(options: dict[str, object], by_hand: bool):
    one = cell(0.1, 4, ReluOptions.model_validate(options), "relu")
    found = gradient_of(TrainingState(stack_of(one)), one.train)
    assert isinstance(found, FusedGradient if by_hand else AutogradGradient)
    topk = cell(2, 4, TopKOptions(), "topk")
    assert isinstance(gradient_of(TrainingState(stack_of(topk)), topk.train), AutogradGradient)
