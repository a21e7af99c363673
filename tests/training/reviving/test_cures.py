from __future__ import annotations

import pytest
import torch

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import Options, ReluOptions, TopKOptions
from saesweep.training.loop import train
from saesweep.training.reviving.cures import Cure
from saesweep.training.reviving.resample import ENCODER_NORM, Resample
from saesweep.training.reviving.residual import AUXK, Loss, auxk_loss, ghost_loss
from saesweep.training.reviving.windows import Windows
from saesweep.training.state import TrainingState

D = 6
DATA = DataConfig(activation_dim=D, n_features=12, mean_active=2)
CURES = ("resample", "ghost_grads", "auxk")


def cell(
    revive: str, model: Options | None = None, value: float = 0.1, size: int = 16, **train: object
) -> Cell:
    keys = {"epochs": 40, "batch_size": 64, "revive": revive, "dead_after": 0.1, **train}
    model = model or ReluOptions()
    variant = "relu" if isinstance(model, ReluOptions) else "topk"
    name = f"{value}_{size}_{keys}"
    return Cell(name, value, size, 0, TrainConfig(**keys), model, {}, variant)


def state_of(cells: list[Cell], silent: int = 0) -> TrainingState:
    """A fresh state, of whose latents the first ``silent`` of each cell never fire."""
    stack = Stack(cells, D, seed=0)
    for group in stack.groups:
        group.encoder[:, -1, :silent] = -100
    return TrainingState(stack)


def run(state: TrainingState) -> TrainingState:
    config = state.stack.groups[0].cells[0].train
    assert train(state, SyntheticSource(DATA, 0), config, set(), lambda epoch, step: True)
    return state


def never_fire(state: TrainingState) -> list[int]:
    x = SyntheticSource(DATA, 0).evaluation_set(2000).x
    return [
        int((group.variant.encode(group.weights, x) > 0).any(dim=1).logical_not().sum())
        for group in state.stack.groups
    ]


def test_a_window_ends_after_its_share_of_the_steps_and_knows_what_was_silent() -> None:
    stack = Stack([cell("auxk", size=4), cell("auxk", value=0.2, size=4)], D, seed=0)
    windows = Windows(stack, TrainConfig(epochs=10, steps_per_epoch=5, dead_after=0.06))
    assert windows.length == 3
    (fired,) = windows.fired
    fired[0] = torch.tensor([0.5, 0.0, 2.0, 0.0])
    assert not windows.turn(1)
    assert not windows.turn(2)
    assert [len(dead) for dead in windows.places[0]] == [0, 0]
    assert windows.turn(3)
    assert [dead.tolist() for dead in windows.places[0]] == [[1, 3], [0, 1, 2, 3]]
    assert windows.dead[0].tolist() == [[0, 1, 0, 1], [1, 1, 1, 1]]
    assert not fired.any()


@pytest.mark.parametrize("model", [ReluOptions(), TopKOptions()])
def test_firing_is_counted_where_latents_are_active(model: Options) -> None:
    """By the gradient by hand and by autograd, chunk by chunk."""
    value = 0.1 if isinstance(model, ReluOptions) else 3
    state = state_of([cell("auxk", model, value, epochs=1, batch_size=3000)], silent=5)
    (group,) = state.stack.groups
    x = SyntheticSource(DATA, 0).batch(0, 3000).x
    wanted = group.variant.encode(group.weights, x).sum(dim=1)
    run(state)
    windows = state.windows
    assert windows is not None
    # The only step ends its window.
    assert torch.equal(windows.dead[0] == 1, wanted == 0)
    assert 5 <= len(windows.places[0][0]) < 16


@pytest.mark.parametrize("revive", CURES)
@pytest.mark.parametrize("optimiser", ["adam", "schedule_free"])
def test_a_cure_brings_latents_back(revive: str, optimiser: str) -> None:
    keys = {"epochs": 600, "lr": 1e-2, "dead_after": 0.05, "optimiser": optimiser}
    without = run(state_of([cell("none", **keys)], silent=0))
    assert without.windows is None
    # Far enough below 0 that nothing else wakes them, near enough for exp(pre).
    cured = [cell(revive, **keys)]
    state, alone = (state_of(cells) for cells in (cured, [cell("none", **keys)]))
    for one in (state, alone):
        one.stack.groups[0].encoder[:, -1, :8] = -4
        one.optimiser.restore(0, one.optimiser.numbers())
        for flat in one.optimiser.iterates().values():
            flat.copy_(one.stack.parameters)
        run(one)
    assert never_fire(alone)[0] >= 8
    assert never_fire(state)[0] < never_fire(alone)[0] - 3


@pytest.mark.parametrize("revive", CURES)
def test_a_cure_does_nothing_where_nothing_is_dead(revive: str) -> None:
    keys = {"dead_after": 0.5, "lr": 1e-4, "batch_size": 512}
    small = [{"value": value, "size": 8} for value in (0.01, 0.02)]
    without = run(state_of([cell("none", **one, **keys) for one in small]))
    assert never_fire(without) == [0]
    cured = run(state_of([cell(revive, **one, **keys) for one in small]))
    assert torch.equal(cured.stack.parameters, without.stack.parameters)


@pytest.mark.parametrize("revive", CURES)
def test_a_cell_without_dead_latents_is_not_touched_by_its_neighbour(revive: str) -> None:
    """Cells side by side, one with silent latents: the other ends as it does alone."""
    keys = {"dead_after": 0.25, "lr": 1e-3, "batch_size": 512}
    lively, silent = (
        cell(revive, value=0.01, size=8, **keys),
        cell(revive, value=0.02, size=8, **keys),
    )
    both, alone = state_of([lively, silent]), state_of([lively])
    both.stack.groups[0].encoder[1, -1, :3] = -100
    run(both)
    run(alone)
    torch.testing.assert_close(
        both.stack.groups[0].encoder[0], alone.stack.groups[0].encoder[0], rtol=1e-4, atol=1e-6
    )


def test_ghost_gradients_are_those_of_the_published_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    pre, atoms, residual = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((5, 3), (3, 4), (5, 4))
    )
    loss = ghost_loss(pre, atoms, residual)
    found = torch.autograd.grad(loss, [pre, atoms])
    # Written out a sample at a time, with the scales as numbers.
    scales = [(residual[i].norm() / (2 * (pre[i].exp() @ atoms).norm())).item() for i in range(5)]
    ghost = sum(
        ((residual[i].detach() - scales[i] * (pre[i].exp() @ atoms)) ** 2).sum() for i in range(5)
    )
    factor = ((residual**2).sum() / ghost).item()
    wanted = torch.autograd.grad(factor * ghost, [pre, atoms])
    assert loss.item() == pytest.approx((residual**2).sum().item())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_auxk_reconstructs_with_the_largest_of_the_dead() -> None:
    pre = torch.tensor([[-3.0, -1.0, 2.0], [0.5, 0.4, -7.0]])
    atoms = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    residual = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    # d_in is 2, so one of the dead: 2 · (1, 1), and 0.5 · (1, 0).
    wanted = AUXK * ((1 - 2) ** 2 + (2 - 2) ** 2 + (3 - 0.5) ** 2 + 4**2)
    assert auxk_loss(pre, atoms, residual).item() == pytest.approx(wanted)


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("revive", ["ghost_grads", "auxk"])
def test_only_dead_latents_learn_from_the_residual(revive: str, loss: str) -> None:
    state = state_of([cell(revive, ReluOptions(decoder_bias=True), loss=loss)])
    windows, (group,) = state.windows, state.stack.groups
    assert windows is not None
    dead = torch.tensor([2, 7, 11])
    windows.dead[0][0, dead] = 1
    windows.fired[0][0, 7] = 0.3  # it has fired since
    windows.look()
    x = SyntheticSource(DATA, 0).batch(3, 64).x
    state.stack.gradients.zero_()
    Cure(state, SyntheticSource(DATA, 0)).add_gradient(x)
    learns = [2, 11]
    others = [i for i in range(16) if i not in learns]
    w = {name: part[0] for name, part in group.weights.items()}
    residual = x - group.variant.decode(w, group.variant.encode(w, x))
    leaves = [w["W_enc"][:, learns], w["b_enc"][learns], w["W_dec"][learns]]
    W_enc, b_enc, W_dec = (leaf.clone().requires_grad_() for leaf in leaves)
    pre = (x - w["b_dec"]) @ W_enc + b_enc
    samples = 64 * (D if loss == "mean" else 1)
    formula = ghost_loss if revive == "ghost_grads" else auxk_loss
    grads = torch.autograd.grad(formula(pre, W_dec, residual) / samples, [W_enc, b_enc, W_dec])
    torch.testing.assert_close(group.encoder_grad[0, :-1][:, learns], grads[0])
    torch.testing.assert_close(group.encoder_grad[0, -1][learns], grads[1])
    torch.testing.assert_close(group.decoder_grad[0][learns], grads[2])
    assert not group.encoder_grad[0][:, others].any()
    assert not group.decoder_grad[0][others].any()
    assert group.b_dec_grad is not None
    assert not group.b_dec_grad.any()


def test_resampled_latents_follow_the_recipe() -> None:
    state = state_of([cell("resample", ReluOptions(decoder_bias=True), average=0.9)])
    windows, (group,) = state.windows, state.stack.groups
    assert windows is not None
    assert group.b_dec is not None
    assert state.average is not None
    group.b_dec[:] = 0.1
    group.b_dec[0, 0, 0] = -0.2
    state.step, dead = 8, torch.tensor([1, 4])
    windows.dead[0][0, dead] = 1
    windows.look()
    for moment in state.optimiser.moments_by_name().values():
        moment.fill_(1)
    before = group.encoder.clone()
    source = SyntheticSource(DATA, 0)
    resample = Resample(state, source)
    assert resample.is_due()
    resample()
    alive = [i for i in range(16) if i not in (1, 4)]
    assert torch.equal(group.encoder[0][:, alive], before[0][:, alive])
    mean = before[0, :-1][:, alive].norm(dim=0).mean()
    inputs = torch.cat([source.batch(step, 64).x for step in range(8)]) - group.b_dec[0, 0]
    units = inputs / inputs.norm(dim=1, keepdim=True)
    for latent in (1, 4):
        atom = group.decoder[0, latent]
        assert (units @ atom).max().item() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(group.encoder[0, :-1, latent], ENCODER_NORM * mean * atom)
        assert group.encoder[0, -1, latent] == 0
    for moment in state.optimiser.moments_by_name().values():
        parts = state.stack.parts(moment)[group.cells[0].name]
        assert not parts["W_dec"][dead].any()
        assert not parts["W_enc"][:, dead].any()
        assert parts["W_dec"][alive].all()
    averaged = state.stack.parts(state.average.parameters)[group.cells[0].name]
    assert torch.equal(averaged["W_dec"][dead], group.decoder[0][dead])
    assert [len(places) for places in windows.places[0]] == [0]


def test_inputs_are_drawn_by_their_squared_loss() -> None:
    """One input with a hundred times the loss of the others, and as many dead as draws say."""
    state = state_of([cell("resample", batch_size=64)])
    windows, (group,) = state.windows, state.stack.groups
    assert windows is not None
    group.encoder.zero_()  # x_hat is 0: the loss of an input is ‖x‖²
    group.encoder[:, -1] = -1

    class Fixed:
        def batch(self, step: int, size: int) -> object:
            x = torch.eye(D).repeat(11, 1)[:size]
            x[::D] *= 3  # the loss of the first direction is 9 times, its square 81 times, as large
            return type("Batch", (), {"x": x})()

    counts = torch.zeros(D)
    resample = Resample(state, Fixed())  # type: ignore[arg-type]
    for step in range(8, 8 * 60, 8):
        state.step = step
        windows.dead[0][0, 0] = 1
        windows.look()
        resample()
        counts[int(group.decoder[0, 0].argmax())] += 1
        group.encoder.zero_()
        group.encoder[:, -1] = -1
    # 81 / (81 + 5) = 0.94 of the draws; without the square it would be 0.64.
    assert counts[0] / counts.sum() > 0.85


@pytest.mark.parametrize(
    ("step", "due"), [(4, False), (8, True), (12, False), (16, True), (24, False)]
)
def test_resampling_is_due_at_every_second_window_so_many_times(step: int, due: bool) -> None:
    state = state_of([cell("resample", resample_times=2)])
    assert state.windows is not None
    assert state.windows.length == 4
    state.step = step
    assert Resample(state, SyntheticSource(DATA, 0)).is_due() == due


@pytest.mark.parametrize("revive", CURES)
def test_a_cell_that_diverged_harms_no_other(revive: str) -> None:
    cells = [cell(revive, value=value, dead_after=0.25) for value in (0.1, 0.2)]
    both, alone = state_of(cells, silent=4), state_of([cells[1]], silent=4)
    both.stack.groups[0].encoder[0, 0, 9] = torch.nan
    run(both)
    run(alone)
    assert not both.stack.groups[0].decoder[0].isfinite().all()
    torch.testing.assert_close(
        both.stack.groups[0].decoder[1], alone.stack.groups[0].decoder[0], rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("revive", CURES)
def test_cells_with_different_k_are_cured_in_one_stack(revive: str) -> None:
    keys = {"epochs": 40, "dead_after": 0.1}
    cells = [cell(revive, TopKOptions(), k, **keys) for k in (1, 3)]
    both, alone = state_of(cells, silent=6), state_of([cells[1]], silent=6)
    run(both)
    run(alone)
    torch.testing.assert_close(
        both.stack.groups[0].decoder[1], alone.stack.groups[0].decoder[0], rtol=1e-3, atol=1e-5
    )


def test_nothing_starts_again_when_it_could_not_learn() -> None:
    state = state_of([cell("resample", epochs=32, dead_after=0.125, resample_times=4)])
    resample = Resample(state, SyntheticSource(DATA, 0))
    due = []
    for state.step in range(1, 33):
        if resample.is_due():
            due.append(state.step)
    assert due == [8, 16, 24]


@pytest.mark.parametrize("formula", [ghost_loss, auxk_loss])
def test_what_is_alive_again_has_no_part_in_the_residual(formula: Loss) -> None:
    generator = torch.Generator().manual_seed(0)
    pre, atoms, residual = (
        torch.randn(shape, generator=generator) for shape in ((5, 4), (4, 6), (5, 6))
    )
    silent = torch.tensor([True, False, True, False])
    masked = formula(pre.where(silent, -torch.inf), atoms, residual)
    torch.testing.assert_close(masked, formula(pre[:, silent], atoms[silent], residual))
    assert torch.isfinite(formula(torch.full((5, 4), -torch.inf), atoms, residual))
