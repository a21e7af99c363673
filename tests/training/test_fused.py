"""The gradient written by hand, against autograd and finite differences, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.training import fused
from saesweep.training.fused import FusedGradient

TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}
"""float64 has 1e-16; sums over some thousand terms keep about 1e-13."""


def cell(l1: float, size: int, lr: float, loss: str, bias: bool) -> Cell:
    train = TrainConfig(lr=lr, loss=loss)  # type: ignore[arg-type]
    return Cell(f"{l1}_{size}_{lr}", l1, size, 0, train, ReluOptions(decoder_bias=bias), {})


def stack_of(
    sizes: Sequence[int], d: int, loss: str, *, bias: bool, rates: Sequence[float] = (1e-3,)
) -> Stack:
    """Cells of all sizes and rates with an L1 from 0 on, at a place that is not the start."""
    points = [(size, rate) for size in sizes for rate in rates]
    cells = [cell(0.3 * i, size, rate, loss, bias) for i, (size, rate) in enumerate(points)]
    stack = Stack(cells, d, seed=0, dtype=torch.float64)
    stack.parameters += 0.3 * torch.randn(
        stack.parameters.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return stack


def samples(count: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, d, generator=generator, dtype=torch.float64)


def loss_of(x: Tensor, parts: Sequence[Tensor], l1: float, loss: str) -> Tensor:
    """The loss of one cell as DESIGN writes it."""
    W_enc, b_enc, W_dec, b_dec = parts
    latents = torch.relu((x - b_dec) @ W_enc + b_enc)
    x_hat = latents @ W_dec + b_dec
    penalty = latents.abs().sum(dim=1).mean()
    if loss == "mean":
        return (x - x_hat).square().mean() + l1 * penalty / W_dec.shape[0]
    return (x - x_hat).square().sum(dim=1).mean() + l1 * penalty


def parts_of(group: Group, place: int) -> list[Tensor]:
    sae = group.sae(place)
    return [sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec]


def written_by_hand(group: Group, place: int) -> list[Tensor]:
    encoder = group.encoder_grad[place]
    parts = [encoder[:-1], encoder[-1], group.decoder_grad[place]]
    return parts if group.b_dec_grad is None else [*parts, group.b_dec_grad[place, 0]]


def assert_matches_autograd(stack: Stack, x: Tensor, loss: str) -> None:
    FusedGradient(stack, len(x), loss)(x)
    for group in stack.groups:
        for place, one in enumerate(group.cells):
            leaves = [part.requires_grad_() for part in parts_of(group, place)]
            expected = torch.autograd.grad(loss_of(x, leaves, one.sparsity, loss), leaves)
            found = written_by_hand(group, place)
            for mine, theirs in zip(found, expected, strict=False):
                torch.testing.assert_close(mine, theirs, **TIGHT)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("bias", [False, True])
def test_against_autograd(loss: str, bias: bool):
    stack = stack_of([3, 5], d=4, loss=loss, bias=bias, rates=[1e-3, 1e-2])
    assert len(stack.groups) == 4
    assert_matches_autograd(stack, samples(50, 4), loss)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("bias", [False, True])
def test_against_autograd_in_chunks(loss: str, bias: bool):
    # So many latents that 512 samples are a chunk: 700 leave a shorter one.
    stack = stack_of([1024], d=2, loss=loss, bias=bias, rates=[1e-3])
    gradient = FusedGradient(stack, 700, loss)
    assert [tile.x.shape[2] for _, tile in gradient.tiles] == [512, 188]
    assert_matches_autograd(stack, samples(700, 2), loss)


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(
    d=st.integers(1, 6),
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    batch=st.integers(1, 20),
    chunk=st.integers(1, 20),
    loss=st.sampled_from(["sum", "mean"]),
    bias=st.booleans(),
)
def test_against_autograd_for_any_shape(
    d: int, sizes: list[int], batch: int, chunk: int, loss: str, bias: bool
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "chunk_size", lambda latents, most, device: min(chunk, most))
        stack = stack_of(sizes, d, loss, bias=bias)
        assert_matches_autograd(stack, samples(batch, d, seed=batch), loss)


@pytest.mark.parametrize("loss", ["sum", "mean"])
def test_against_finite_differences(loss: str):
    """A second witness, in numpy: (L(w + h) - L(w - h)) / 2h for every parameter."""

    def value(parts: list[np.ndarray]) -> float:
        W_enc, b_enc, W_dec, b_dec = parts
        latents = np.maximum((x - b_dec) @ W_enc + b_enc, 0)
        error = (latents @ W_dec + b_dec - x) ** 2
        if loss == "mean":
            return float(error.mean() + 0.7 * latents.mean())
        return float(error.sum() / len(x) + 0.7 * latents.sum() / len(x))

    stack = Stack([cell(0.7, 3, 1e-3, loss, bias=True)], 2, seed=5, dtype=torch.float64)
    group = stack.groups[0]
    assert group.b_dec is not None
    group.b_dec.add_(0.2)
    x = samples(9, 2).numpy()
    FusedGradient(stack, 9, loss)(torch.from_numpy(x))
    parts = [part.numpy() for part in parts_of(group, 0)]
    step = 1e-6
    for part, found in zip(parts, written_by_hand(group, 0), strict=True):
        for place in np.ndindex(part.shape):
            old = part[place]
            part[place] = old + step
            above = value(parts)
            part[place] = old - step
            below = value(parts)
            part[place] = old
            assert found[place].item() == pytest.approx((above - below) / (2 * step), abs=1e-8)


def test_atoms_are_normalised_first():
    stack = stack_of([4], d=3, loss="sum", bias=False)
    group = stack.groups[0]
    directions = group.decoder[0] / group.decoder[0].norm(dim=1, keepdim=True)
    group.decoder.mul_(5)
    FusedGradient(stack, 10, "sum")(samples(10, 3))
    torch.testing.assert_close(group.decoder[0], directions)


def test_a_second_batch_replaces_the_first():
    stack = stack_of([4, 2], d=3, loss="sum", bias=True)
    gradient = FusedGradient(stack, 10, "sum")
    gradient(samples(10, 3, seed=1))
    first = stack.gradients.clone()
    gradient(samples(10, 3, seed=2))
    assert not torch.equal(stack.gradients, first)
    gradient(samples(10, 3, seed=1))
    torch.testing.assert_close(stack.gradients, first, **TIGHT)


def test_a_latent_that_is_off_gets_no_gradient():
    stack = stack_of([4], d=3, loss="sum", bias=False)
    group = stack.groups[0]
    group.encoder[0, -1, 2] = -1e6
    FusedGradient(stack, 10, "sum")(samples(10, 3))
    assert group.encoder_grad[0, :, 2].tolist() == [0, 0, 0, 0]
    assert group.decoder_grad[0, 2].tolist() == [0, 0, 0]
    assert (group.encoder_grad[0, :, [0, 1, 3]] != 0).any()


def test_single_precision_is_close_to_double():
    # The stack of real runs. Sums over 4,096 samples in float32 keep about six digits.
    cells = [cell(l1, size, 1e-3, "sum", bias=False) for l1 in (0.01, 0.1) for size in (24, 48)]
    stacks = [Stack(cells, 3, seed=0, dtype=kind) for kind in (torch.float32, torch.float64)]
    x = samples(4096, 3)
    FusedGradient(stacks[0], 4096, "sum")(x.float())
    FusedGradient(stacks[1], 4096, "sum")(x)
    single, double = stacks[0].gradients.double(), stacks[1].gradients
    assert (single - double).norm() / double.norm() < 1e-5
