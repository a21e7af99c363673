"""relu: its penalties, tied encoders, and atoms of any norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.training.autograd import AutogradGradient
from saesweep.training.fused import FusedGradient
from saesweep.training.state import TrainingState

Weights = Mapping[str, Tensor]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lp": 0.5},
    {"lp": 2.0},
    {"penalty": "tanh"},
    {"unit_norm": False},
    {"unit_norm": False, "lp": 0.5},
    {"unit_norm": False, "penalty": "tanh"},
]


def formula(w: Weights, x: Tensor, cell: Cell, held: Weights) -> tuple[Tensor, Tensor]:
    b_dec = w.get("b_dec", torch.zeros(x.shape[1], dtype=x.dtype))
    latents = ((x - b_dec) @ w["W_enc"] + w["b_enc"]).clamp(min=0)
    error = (x - latents @ w["W_dec"] - b_dec).pow(2).sum(1)
    weighed = latents
    if not cell.model.unit_norm:
        weighed = latents * w["W_dec"].pow(2).sum(1).sqrt()
    if cell.model.penalty == "tanh":
        penalty = torch.tanh(weighed)
    else:  # the 1e-6 keeps the slope at 0 finite
        p = cell.model.lp
        penalty = weighed if p == 1 else (weighed + 1e-6) ** p - 1e-6**p
    return error, cell.sparsity * penalty.sum(1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_loss_and_gradient(
    options: dict[str, Any],
    bias: bool,
    cell_of: Callable[..., Cell],
    assert_gradient: Callable[..., None],
    assert_loss: Callable[..., None],
):
    cell = cell_of("relu", decoder_bias=bias, **options)
    assert_gradient(cell, formula)
    assert_loss(cell, formula)


def test_the_penalty_written_out(cell_of: Callable[..., Cell], vary: Callable[..., Cell]):
    """p = ½ of a latent of 4 costs 2, tanh of 4 costs 0.9993, and 4 times an atom of norm 3 12."""
    eye = torch.eye(2, dtype=torch.float64)
    latents = torch.tensor([[4.0, 0]], dtype=torch.float64)
    for options, expected in (
        ({"lp": 0.5}, 2.0),
        ({"lp": 2.0}, 16.0),
        ({"penalty": "tanh"}, 0.9993293),
        ({"unit_norm": False}, 12.0),
    ):
        group = Stack([vary(cell_of("relu", **options), size=2)], 2, 0).groups[0]
        found = group.variant.penalty({"W_dec": 3 * eye}, latents)  # type: ignore[attr-defined]
        assert found.item() == pytest.approx(expected, abs=2e-3 if "lp" in options else 1e-6)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_l1_by_autograd_is_that_by_hand(
    tied: bool,
    bias: bool,
    loss: str,
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    one = cell_of("relu", tied=tied, decoder_bias=bias)
    grid = [vary(one, l1, size, loss=loss) for l1 in (0.0, 0.3) for size in (5, 9)]
    stack, x = shaken(grid), samples(50)
    counts: list[list[Tensor]] = []
    gradients = []
    for kind in (AutogradGradient, FusedGradient):
        fired = [torch.zeros(2, group.dict_size, dtype=x.dtype) for group in stack.groups]
        kind(stack, 50, loss)(x, strength=0.7, fired=fired)
        gradients.append(stack.gradients.clone())
        counts.append(fired)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(*counts, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [AutogradGradient, FusedGradient])
@pytest.mark.parametrize("project", [False, True])
def test_the_gradient_of_tied_weights(
    project: bool,
    kind: Any,
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    """Of the loss in one matrix, which is both encoder and decoder."""
    one = cell_of("relu", tied=True, decoder_bias=True, project_gradient=project)
    stack, x = shaken([vary(one, l1) for l1 in (0.1, 0.5)]), samples(30)
    kind(stack, 30, "sum")(x)
    stack.project()
    (group,) = stack.groups
    assert group.encoder_grad[:, :-1].eq(0).all()
    for place, cell in enumerate(group.cells):
        w = {name: part[place].clone() for name, part in group.weights.items()}
        learned = [w[name].requires_grad_() for name in ("W_dec", "b_enc", "b_dec")]
        atoms = w["W_dec"] / w["W_dec"].norm(dim=1, keepdim=True) if project else w["W_dec"]
        errors, penalties = formula({**w, "W_dec": atoms, "W_enc": atoms.T}, x, cell, w)
        expected = torch.autograd.grad((errors + penalties).mean(), learned)
        for name, value in zip(("W_dec", "b_enc", "b_dec"), expected, strict=True):
            torch.testing.assert_close(group.gradients[name][place], value, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("optimiser", ["adam", "schedule_free"])
@pytest.mark.parametrize("revive", ["none", "resample", "auxk"])
def test_tied_stays_tied(
    optimiser: str,
    revive: str,
    cell_of: Callable[..., Cell],
    vary: Callable[..., Cell],
    trained: Callable[..., TrainingState],
):
    cell = vary(cell_of("relu", tied=True), optimiser=optimiser, revive=revive, dead_after=0.25)
    state = trained([cell])
    (group,) = state.stack.groups
    start = Stack([cell], 4, seed=0, dtype=torch.float64).groups[0].decoder
    with state.measured():
        assert torch.equal(group.weights["W_enc"], group.decoder.transpose(1, 2))
        assert (group.decoder - start).abs().max() > 0.01
        sae = group.sae(0)
    assert torch.equal(sae.W_enc, sae.W_dec.T)


@pytest.mark.parametrize("bias", [False, True])
def test_atoms_of_any_norm_are_folded(
    bias: bool,
    cell_of: Callable[..., Cell],
    shaken: Callable[..., Stack],
    samples: Callable[..., Tensor],
):
    (group,) = shaken([cell_of("relu", unit_norm=False, decoder_bias=bias)]).groups
    norms = group.decoder[0].norm(dim=1)
    assert (norms - 1).abs().max() > 0.1
    x, w = samples(40), group.weights
    sae = group.sae(0)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones_like(norms))
    latents = group.variant.encode(w, x)
    torch.testing.assert_close(sae.encode(x), latents[0] * norms)
    torch.testing.assert_close(sae.decode(sae.encode(x)), group.variant.decode(w, latents)[0])


def test_an_atom_of_norm_zero_folds_to_numbers(
    cell_of: Callable[..., Cell], shaken: Callable[..., Stack], samples: Callable[..., Tensor]
):
    (group,) = shaken([cell_of("relu", unit_norm=False)]).groups
    group.decoder[0, 3] = 0
    sae, x = group.sae(0), samples(10)
    assert sae.decode(sae.encode(x)).isfinite().all()
    assert sae.W_dec[3].tolist() == [0, 0, 0, 0]
