"""What holds for every variant: codes and reconstructions, with the cell axis and without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.metrics import evaluate
from saesweep.training import autograd, fused
from saesweep.training.autograd import AutogradGradient
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}


def test_the_grid_holds_what_a_config_may(cells: list[Cell]):
    for cell in cells:
        assert [*cell.model.misfits(cell.sparsity, cell.dict_size)] == []
        assert [*cell.train.misfits(cell.model)] == []


def test_a_reconstruction_is_the_decoded_code(
    cells: list[Cell], shaken: Callable[..., Stack], doubles: Any
):
    """Of the forward pass that is measured; and no latent is negative."""
    data = doubles.evaluation(200)
    for group in shaken(cells).groups:
        rows = evaluate.snapshot(group, data, threshold=0.9).rows
        for place, row in enumerate(rows):
            sae = group.sae(place)
            latents = sae.encode(data.x)
            assert latents.min() >= 0
            assert latents.max() > 0
            x_hat = sae.decode(latents)
            torch.testing.assert_close(x_hat, latents @ sae.W_dec + sae.b_dec, **TIGHT)
            error = (data.x - x_hat).square().mean().item()
            assert row["recon_loss"] == pytest.approx(error, rel=1e-9)
            assert row["l0"] == pytest.approx((latents > 0).sum().item() / 200)
            assert row["l1"] == pytest.approx(latents.sum().item() / 200)


def test_a_stack_encodes_as_each_of_its_autoencoders(
    cells: list[Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    x = samples(6)
    for group in shaken(cells).groups:
        w, count, size = group.variant.folded(group.weights), len(group.cells), group.dict_size
        latents = group.variant.encode(w, x)
        x_hat = group.variant.decode(w, latents)
        chances = group.variant.probabilities(w, x)
        assert latents.shape == (count, 6, size)
        assert x_hat.shape == (count, 6, 4)
        for place in range(count):
            sae = group.sae(place)
            torch.testing.assert_close(sae.encode(x), latents[place], **TIGHT)
            torch.testing.assert_close(sae.decode(latents[place]), x_hat[place], **TIGHT)
            if chances is None:
                assert sae.probabilities(x) is None
            else:
                torch.testing.assert_close(sae.probabilities(x), chances[place], **TIGHT)


def test_any_leading_axes(cell: Cell, shaken: Callable[..., Stack], samples: Callable[..., Tensor]):
    sae, x = shaken([cell]).groups[0].sae(0), samples(6)
    latents = sae.encode(x)
    x_hat, chances = sae.decode(latents), sae.probabilities(x)
    for shape in ((2, 3), (1, 6), (3, 1, 2)):
        given = x.view(*shape, 4)
        assert sae.encode(given).shape == (*shape, 8)
        torch.testing.assert_close(sae.encode(given).view(6, 8), latents, **TIGHT)
        torch.testing.assert_close(sae.decode(sae.encode(given)).view(6, 4), x_hat, **TIGHT)
        if chances is not None:
            torch.testing.assert_close(sae.probabilities(given).view(6, 8), chances, **TIGHT)
    assert sae.encode(x[0]).shape == (8,)
    torch.testing.assert_close(sae.encode(x[0]), latents[0], **TIGHT)
    torch.testing.assert_close(sae.decode(latents[0]), x_hat[0], **TIGHT)
    assert sae.encode(x[:0]).shape == (0, 8)


def test_an_autoencoder_has_unit_atoms_and_leaves_the_stack_alone(
    cell: Cell, shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    stack, x = shaken([cell]), samples(4)
    sae, before = stack.groups[0].sae(0), stack.parameters.clone()
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(8, dtype=x.dtype))
    latents, given = sae.encode(x), x.clone()
    stack.parameters.fill_(7)
    torch.testing.assert_close(sae.encode(x), latents, rtol=0, atol=0)
    stack.parameters.copy_(before)
    assert torch.equal(x, given)


def weights_of(state: TrainingState) -> dict[str, dict[str, Tensor]]:
    with state.measured():
        return {
            one.name: group.sae(place).tensors()
            for group in state.stack.groups
            for place, one in enumerate(group.cells)
        }


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for key, part in one.items():
        torch.testing.assert_close(part, other[key], rtol=0, atol=tolerance)


def test_a_cell_alone_is_the_cell_in_a_stack(
    cells: list[Cell], trained: Callable[..., TrainingState]
):
    """To eight digits after 12 steps in float64; it starts elsewhere."""
    together = weights_of(trained(cells))
    for one in cells:
        (alone,) = weights_of(trained([one])).values()
        assert_same(alone, together[one.name], 1e-8)
    first, *_, last = together.values()
    assert (first["W_dec"][0] - last["W_dec"][0]).abs().max() > 1e-3


def test_chunks_do_not_matter(
    cells: list[Cell], trained: Callable[..., TrainingState], monkeypatch: pytest.MonkeyPatch
):
    whole = weights_of(trained(cells))
    for module in (autograd, fused):
        monkeypatch.setattr(module, "chunk_size", lambda latents, batch, device: 7)
    chunked = weights_of(trained(cells))
    for name, weights in whole.items():
        assert_same(weights, chunked[name], 1e-8)


def test_evaluation_in_chunks(
    cells: list[Cell],
    shaken: Callable[..., Stack],
    doubles: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    data = doubles.evaluation(100)
    group = shaken(cells).groups[0]
    whole = evaluate.full(group, data, evaluate.snapshot(group, data, threshold=0.9))
    monkeypatch.setattr(evaluate, "chunk_size", lambda latents, batch, device: 13)
    chunked = evaluate.full(group, data, evaluate.snapshot(group, data, threshold=0.9))
    for mine, theirs in zip(whole, chunked, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def test_strength_weighs_the_penalty_alone(
    cell: Cell, shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    """The gradient is a straight line in it."""
    stack, x = shaken([cell]), samples(30)
    gradient, found = AutogradGradient(stack, 30, "sum"), []
    for strength in (0.0, 0.5, 1.0):
        gradient(x, strength=strength)
        found.append(stack.gradients.clone())
    torch.testing.assert_close(found[1], (found[0] + found[2]) / 2, **TIGHT)
    paid = cell.variant not in ("topk", "batchtopk", "matryoshka")
    assert torch.equal(found[0], found[2]) != paid


def test_firing_is_counted(
    cells: list[Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    """By the latents that are trained, whose sums over the batch are added."""
    stack, x = shaken(cells), samples(30)
    fired = [torch.ones(len(g.cells), g.dict_size, dtype=x.dtype) for g in stack.groups]
    AutogradGradient(stack, 30, "sum")(x, fired=fired)
    for group, counted in zip(stack.groups, fired, strict=True):
        batch = group.variant.prepare(group.weights, x)
        latents = group.variant.active(group.weights, x, batch)
        torch.testing.assert_close(counted, 1 + latents.sum(dim=1), **TIGHT)


def test_projected_gradients(
    cells: list[Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    """No component along atoms; and the rest is as it was."""
    stack, x = shaken(cells), samples(30)
    AutogradGradient(stack, 30, "sum")(x)
    before = [group.decoder_grad.clone() for group in stack.groups]
    encoders = [group.encoder_grad.clone() for group in stack.groups]
    stack.project()
    for group, raw, encoder in zip(stack.groups, before, encoders, strict=True):
        along = (group.decoder_grad * group.decoder).sum(dim=-1)
        if getattr(cells[0].model, "tied", False):
            raw.add_(encoder[:, :-1].transpose(1, 2))
        else:
            assert torch.equal(group.encoder_grad, encoder)
        if cells[0].model.project_gradient:
            assert along.abs().max() < 1e-12
            rest = raw - (raw * group.decoder).sum(dim=-1, keepdim=True) * group.decoder
            torch.testing.assert_close(group.decoder_grad, rest, **TIGHT)
        else:
            assert torch.equal(group.decoder_grad, raw)
            assert along.abs().max() > 1e-4


def test_projecting_is_the_gradient_through_normalised_atoms(
    cell_of: Callable[..., Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    """Of atoms v / ‖v‖ it is 1 / ‖v‖ of that: here with norms of 1 to 8."""
    cell = cell_of("relu", project_gradient=True)
    stack, x = shaken([cell]), samples(30)
    AutogradGradient(stack, 30, "sum")(x)
    stack.project()
    (group,) = stack.groups
    norms = torch.arange(1, 9, dtype=x.dtype)[:, None]
    free = (norms * group.decoder[0]).requires_grad_()
    atoms = free / free.norm(dim=1, keepdim=True)
    latents = (x @ group.weights["W_enc"][0] + group.weights["b_enc"][0]).relu()
    loss = (x - latents @ atoms).square().sum(1).mean() + cell.sparsity * latents.sum(1).mean()
    (expected,) = torch.autograd.grad(loss, free)
    torch.testing.assert_close(group.decoder_grad[0] / norms, expected, **TIGHT)
