"""Training: the optimiser against torch's own, and the law of shrinkage that L1 follows."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
import torch
from torch import Tensor

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.batch import Batch
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


def cell(l1: float, size: int, config: TrainConfig, *, seed: int = 0, bias: bool = False) -> Cell:
    name = f"{l1}_{size}_{seed}_{config.lr}"
    return Cell(name, l1, size, seed, config, ReluOptions(decoder_bias=bias), {})


class Fixed:
    """A source whose every batch is ``x``; it remembers what was asked for."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.asked: list[tuple[int, int]] = []

    def batch(self, step: int, size: int) -> Batch:
        self.asked.append((step, size))
        return Batch(self.x, torch.zeros(len(self.x), 1))


def trained(cells: list[Cell], source: Fixed | SyntheticSource, d: int) -> dict[str, SAE]:
    stack = Stack(cells, d, seed=0)
    train(
        TrainingState(stack),
        source,
        cells[0].train,
        {cells[0].train.epochs},
        lambda epoch, step: True,
    )
    return {c.name: group.sae(i) for group in stack.groups for i, c in enumerate(group.cells)}


# The law: an isolated unit feature with coefficient g comes back as max(0, g - α/2) under
# `loss: sum`, because (g - f)² + α f is least there. Under `loss: mean` the loss of one sample is
# (g - f)²/d + α f / dict_size, least at g - α d / (2 dict_size).
#
# The feature lies along an axis. Adam scales every coordinate's step by itself, and atoms are put
# back to norm 1 afterwards, so for an oblique feature that is all there is in the data, its fixed
# point is a little beside the minimum of the loss.

FEATURE = torch.tensor([1.0, 0, 0])
SIZE = 12
SCALE = {"sum": 1 / 2, "mean": 3 / (2 * SIZE)}


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("g", [0.3, 1.0, 2.0])
def test_a_lone_feature_shrinks_by_the_law(g: float, loss: Literal["sum", "mean"]):
    config = TrainConfig(epochs=1500, batch_size=1, lr=3e-3, loss=loss)
    penalties = [0.0, 0.1, 0.4, 1.0, 3.0, 12.0]
    saes = trained([cell(l1, SIZE, config) for l1 in penalties], Fixed(g * FEATURE[None]), d=3)
    for l1, sae in zip(penalties, saes.values(), strict=True):
        expected = max(0, g - SCALE[loss] * l1)
        latents = sae.encode(g * FEATURE)
        torch.testing.assert_close(sae.decode(latents), expected * FEATURE, atol=1e-3, rtol=0)
        if l1 > 0:  # what is left points along the feature: it costs least L1
            assert latents.sum().item() == pytest.approx(expected, abs=0.02)


def test_one_autoencoder_follows_the_law_for_every_coefficient():
    config = TrainConfig(epochs=3000, batch_size=40, lr=3e-3)
    x = torch.linspace(0.05, 2, 40)[:, None] * FEATURE
    one = cell(0.6, SIZE, config)
    sae = trained([one], Fixed(x), d=3)[one.name]
    expected = (x - 0.3 * FEATURE).clamp(min=0)
    torch.testing.assert_close(sae.decode(sae.encode(x)), expected, atol=2e-3, rtol=0)


# The optimiser


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("bias", [False, True])
def test_steps_are_those_of_torch_adam_for_each_cell_alone(loss: str, bias: bool):
    steps, d = 25, 3
    configs = [
        TrainConfig(epochs=steps, batch_size=64, lr=lr, loss=loss)  # type: ignore[arg-type]
        for lr in (1e-3, 3e-2)
    ]
    cells = [
        cell(l1, size, config, bias=bias)
        for l1, size, config in itertools.product((0.0, 0.2), (4, 6), configs)
    ]
    data = DataConfig(activation_dim=d, n_features=5, mean_active=1)
    source = SyntheticSource(data, seed=0)
    stack = Stack(cells, d, seed=0, dtype=torch.float64)
    starts = {
        c.name: group.sae(i).tensors() for group in stack.groups for i, c in enumerate(group.cells)
    }
    train(TrainingState(stack), source, configs[0], {0, steps}, lambda epoch, step: True)
    for group in stack.groups:
        for place, one in enumerate(group.cells):
            expected = by_torch(one, starts[one.name], source, steps)
            for name, tensor in group.sae(place).tensors().items():
                torch.testing.assert_close(tensor, expected[name], rtol=1e-7, atol=1e-9)


def by_torch(
    one: Cell, start: dict[str, Tensor], source: SyntheticSource, steps: int
) -> dict[str, Tensor]:
    """The same training, written with autograd and `torch.optim.Adam`, in float64."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    W_enc, b_enc, W_dec, b_dec = (leaves[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    learned = (
        leaves if one.model.decoder_bias else {k: v for k, v in leaves.items() if k != "b_dec"}
    )
    adam = torch.optim.Adam(learned.values(), lr=one.train.lr, foreach=False, fused=False)
    for step in range(steps):
        x = source.batch(step, one.train.batch_size).x.double()
        with torch.no_grad():
            W_dec.div_(W_dec.norm(dim=1, keepdim=True))
        latents = torch.relu((x - b_dec) @ W_enc + b_enc)
        error = (x - latents @ W_dec - b_dec).square()
        l1 = latents.abs().sum(dim=1).mean()
        if one.train.loss == "mean":
            loss = error.mean() + one.sparsity * l1 / one.dict_size
        else:
            loss = error.sum(dim=1).mean() + one.sparsity * l1
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        W_dec.div_(W_dec.norm(dim=1, keepdim=True))
    return {name: tensor.detach() for name, tensor in leaves.items()}


# The loop


def test_batches_are_asked_for_step_by_step():
    config = TrainConfig(epochs=3, steps_per_epoch=2, batch_size=8)
    source = Fixed(torch.ones(8, 3))
    trained([cell(0.1, 4, config)], source, d=3)
    assert source.asked == [(step, 8) for step in range(6)]


@pytest.mark.parametrize(
    ("epochs", "moments"),
    [(6, [0, 2, 4, 6]), (7, [0, 3, 6, 7]), (1, [0, 1]), (9, [0, 1, 2, 8, 9])],
)
def test_snapshots_come_when_they_are_wanted(epochs: int, moments: list[int]):
    config = TrainConfig(epochs=epochs, steps_per_epoch=3, batch_size=8)
    stack = Stack([cell(0.1, 4, config), cell(0.1, 6, config)], 3, seed=0)
    seen = []

    def on_snapshot(epoch: int, step: int) -> bool:
        for group in stack.groups:
            norms = group.decoder.norm(dim=-1)
            torch.testing.assert_close(norms, torch.ones_like(norms))
        seen.append((epoch, step))
        return True

    train(TrainingState(stack), Fixed(torch.randn(8, 3)), config, moments, on_snapshot)
    assert seen == [(epoch, 3 * epoch) for epoch in moments]


@pytest.mark.parametrize(("stop", "steps"), [(0, 0), (4, 4)])
def test_training_ends_when_a_snapshot_says_so(stop: int, steps: int):
    config = TrainConfig(epochs=100, batch_size=8)
    source = Fixed(torch.ones(8, 3))
    stack = Stack([cell(0.1, 4, config)], 3, seed=0)
    train(TrainingState(stack), source, config, range(0, 101, 2), lambda epoch, step: epoch < stop)
    assert len(source.asked) == steps


def test_the_global_generator_plays_no_part():
    config = TrainConfig(epochs=5, batch_size=32)
    data = DataConfig(activation_dim=3, n_features=4, mean_active=1, correlation="batch")
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        saes = trained([cell(0.1, 6, config)], SyntheticSource(data, 0), 3)
        results.append(next(iter(saes.values())))
    assert torch.equal(results[0].W_enc, results[1].W_enc)
    assert torch.equal(results[0].W_dec, results[1].W_dec)


@pytest.mark.parametrize("flushing", [False, True])
def test_denormal_numbers_are_flushed_for_the_time_of_training_only(flushing: bool):
    def flushed() -> bool:
        return (torch.tensor(1e-40) * 1).item() == 0

    class Watched(Fixed):
        def batch(self, step: int, size: int) -> Batch:
            assert flushed()
            return super().batch(step, size)

    config = TrainConfig(epochs=2, batch_size=4)
    torch.set_flush_denormal(flushing)
    try:
        trained([cell(0.1, 4, config)], Watched(torch.ones(4, 3)), d=3)
        assert flushed() == flushing
        failing = Fixed(torch.ones(5, 3))  # not of the size that was asked for
        with pytest.raises(RuntimeError):
            trained([cell(0.1, 4, config)], failing, d=3)
        assert flushed() == flushing
    finally:
        torch.set_flush_denormal(False)
