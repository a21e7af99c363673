"""Clipping: each cell's gradient by its own norm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import GatedOptions, Options, ReluOptions
from saesweep.training.clipping import clip

CELLS = [(0.1, 4), (0.3, 4), (0.1, 7)]


def stack_of(variant: str, options: Options, scales: tuple[float, ...] = (1, 1, 1)) -> Stack:
    cells = [
        Cell(f"{l1}_{size}", l1, size, 0, TrainConfig(), options, {}, variant) for l1, size in CELLS
    ]
    stack = Stack(cells, 3, seed=0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for (_, own), scale in zip(stack.parts(stack.gradients).items(), scales, strict=True):
        for part in own.values():
            part.copy_(scale * torch.randn(part.shape, generator=generator, dtype=torch.float64))
    return stack


def vectors(stack: Stack) -> list[Tensor]:
    """The gradient of each cell as one vector."""
    parts = stack.parts(stack.gradients).values()
    return [torch.cat([part.flatten() for part in own.values()]) for own in parts]


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("relu", ReluOptions()),
        ("relu", ReluOptions(decoder_bias=True)),
        ("gated", GatedOptions(decoder_bias=True)),
    ],
)
def test_long_ones_are_shortened_and_others_left(variant: str, options: Options):
    stack = stack_of(variant, options, (1e-2, 1, 100))
    before = vectors(stack)
    clip(stack, 2.0)
    after = vectors(stack)
    assert torch.equal(after[0], before[0])
    for mine, given in zip(after[1:], before[1:], strict=True):
        assert given.norm() > 2
        torch.testing.assert_close(mine, 2 * given / given.norm())


def test_as_torch_clips_a_cell_alone():
    stack = stack_of("gated", GatedOptions())
    expected = []
    for own in stack.parts(stack.gradients).values():
        leaves = [torch.nn.Parameter(torch.zeros_like(part)) for part in own.values()]
        for leaf, part in zip(leaves, own.values(), strict=True):
            leaf.grad = part.clone()
        torch.nn.utils.clip_grad_norm_(leaves, 0.5)
        expected.append(
            torch.cat([leaf.grad.flatten() for leaf in leaves if leaf.grad is not None])
        )
    clip(stack, 0.5)
    for mine, theirs in zip(vectors(stack), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=0)  # torch adds 1e-6 to the norm


def test_none_and_nothing_finite_stay_with_their_cell():
    stack = stack_of("relu", ReluOptions(), (0, 1, 1))
    second = next(iter([*stack.parts(stack.gradients).values()][1].values()))
    second[0] = torch.nan
    third = vectors(stack)[2]
    clip(stack, 0.5)
    zero, sick, well = vectors(stack)
    assert zero.eq(0).all()
    assert sick.isnan().all()
    torch.testing.assert_close(well, 0.5 * third / third.norm())
