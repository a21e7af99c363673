"""p-annealing: the power falls, and the penalty keeps its size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.training import autograd
from saesweep.training.loop import gradient_of
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 9
CONFIG = TrainConfig(epochs=STEPS, batch_size=40, lp_end=0.5)


def state_of(config: TrainConfig = CONFIG, **options: object) -> TrainingState:
    model = ReluOptions.model_validate(options)
    cells = [
        Cell(f"{l1}_{size}", l1, size, 0, config, model, {}) for l1 in (0.1, 0.4) for size in (5, 8)
    ]
    return TrainingState(Stack(cells, 3, seed=0, dtype=torch.float64))


def samples(step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(40, 3, generator=generator, dtype=torch.float64)


def power(step: int) -> float:
    """From 1 in the first step to 0.5 in the last."""
    return 1 - 0.5 * min(step, STEPS - 1) / (STEPS - 1)


def sums(state: TrainingState, place: int, x: Tensor, p: float) -> Tensor:
    """[cells] Σ f^p, and the small number that keeps its slope at 0 finite."""
    w = state.stack.groups[place].weights
    pre = torch.stack([x @ one for one in w["W_enc"]]) + w["b_enc"][:, None]
    latents = pre.clamp(min=0)
    if not state.stack.groups[place].cells[0].model.unit_norm:
        latents = latents * w["W_dec"].norm(dim=-1)[:, None]
    if p == 1:
        return latents.sum(dim=(1, 2))
    return ((latents + 1e-6) ** p - 1e-6**p).sum(dim=(1, 2))


@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("chunk", [40, 11])
def test_the_penalty_keeps_its_size(unit_norm: bool, chunk: int, monkeypatch: pytest.MonkeyPatch):
    """On the batch at which p changes: scale · Σ f^p is what it was before."""
    monkeypatch.setattr(autograd, "chunk_size", lambda latents, batch, device: chunk)
    state = state_of(unit_norm=unit_norm)
    gradient, annealing = gradient_of(state, CONFIG), state.annealing
    assert annealing is not None
    for step in range(STEPS):
        before = [scale.clone() for scale in annealing.scales]
        gradient(samples(step), step)
        for place, scale in enumerate(annealing.scales):
            then = before[place] * sums(state, place, samples(step), power(step))
            now = scale * sums(state, place, samples(step), power(step + 1))
            torch.testing.assert_close(now, then)
    assert all((scale < 0.95).all() for scale in annealing.scales), "Σ f^p grows as p falls"


@pytest.mark.parametrize("first", [1.0, 0.8])
def test_first_and_last_power(first: float):
    state = state_of(lp=first)
    assert state.annealing is not None
    w = state.stack.groups[0].weights
    latents = torch.full((2, 1, 5), 4.0, dtype=torch.float64)
    for step, p in ((0, first), (STEPS - 1, 0.5), (STEPS, 0.5)):
        found = state.annealing.penalty(w, 0, latents, step)
        assert found.tolist() == pytest.approx([5 * 4**p] * 2, rel=1e-3)  # of 5 latents of 4


@pytest.mark.parametrize("step", [0, 3, 8])
def test_the_gradient_is_that_of_the_scaled_penalty(step: int):
    state, x = state_of(), samples(0)
    assert state.annealing is not None
    gradient = gradient_of(state, CONFIG)
    for place, scale in enumerate(state.annealing.scales):
        scale.copy_(torch.tensor([0.7, 1.3]) + place)
    scales = [scale.clone() for scale in state.annealing.scales]
    gradient(x, step)
    for place, group in enumerate(state.stack.groups):
        for i, cell in enumerate(group.cells):
            w = {name: part[i].clone().requires_grad_() for name, part in group.weights.items()}
            latents = (x @ w["W_enc"] + w["b_enc"]).clamp(min=0)
            penalty = (latents + 1e-6) ** power(step) if step else latents
            loss = (x - latents @ w["W_dec"]).square().sum(1).mean()
            loss = loss + cell.sparsity * scales[place][i] * penalty.sum(1).mean()
            expected = torch.autograd.grad(loss, list(w.values()))
            for name, value in zip(w, expected, strict=True):
                torch.testing.assert_close(group.gradients[name][i], value)


def test_a_cell_that_never_fires_keeps_its_scale():
    state = state_of()
    assert state.annealing is not None
    for group in state.stack.groups:
        group.encoder[0, -1] = -100
    gradient_of(state, CONFIG)(samples(0), 3)
    assert all(scale[0] == 1 for scale in state.annealing.scales)
    assert all(scale[1] != 1 for scale in state.annealing.scales)
