"""A cell's result does not depend on the cells that it is stacked with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from saesweep.config import DataConfig, SweepConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions
from saesweep.run_folder import Run
from saesweep.sweep import run_sweep
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

DATA = DataConfig(activation_dim=3, n_features=6, mean_active=1, correlation="batch")
STEPS = 40
FEW = 10
"""Steps where threads take part, which wait for each other on a busy machine."""


def cell(l1: float, size: int, *, seed: int = 0, lr: float = 1e-2, bias: bool = False) -> Cell:
    config = TrainConfig(epochs=STEPS, batch_size=600, lr=lr)
    name = f"l1={l1}_dict={size}_seed={seed}_lr={lr}"
    return Cell(name, l1, size, seed, config, ReluOptions(decoder_bias=bias), {})


Weights = dict[str, dict[str, torch.Tensor]]


def trained(
    cells: list[Cell], dtype: torch.dtype = torch.float64, poison: str = "", steps: int = STEPS
) -> Weights:
    """Each cell's weights after training; the encoder of the cell ``poison`` starts as NaN."""
    config = cells[0].train.model_copy(update={"epochs": steps})
    stack = Stack(cells, 3, seed=0, dtype=dtype)
    for group in stack.groups:
        for place, one in enumerate(group.cells):
            if one.name == poison:
                group.encoder[place] = math.nan
    source = SyntheticSource(DATA, 0)
    train(TrainingState(stack), source, config, {0, steps}, lambda epoch, step: True)
    return {c.name: g.sae(i).tensors() for g in stack.groups for i, c in enumerate(g.cells)}


def assert_same(one: Weights, other: Weights, name: str, tolerance: float) -> None:
    for key, tensor in one[name].items():
        torch.testing.assert_close(tensor, other[name][key], rtol=0, atol=tolerance)


GRID = [cell(l1, size) for l1 in (0.01, 0.1, 0.3) for size in (12, 24)]
RATES = [cell(0.1, 12, lr=lr) for lr in (1e-3, 3e-3)]
SEEDS = [cell(0.1, 24, seed=seed) for seed in (1, 2)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("bias", [False, True])
def test_in_double_precision_to_ten_digits(bias: bool):
    cells = [
        cell(c.sparsity, c.dict_size, seed=c.seed, lr=c.train.lr, bias=bias)
        for c in [*GRID, *RATES, *SEEDS]
    ]
    together = trained(cells)
    for one in cells:
        assert_same(trained([one]), together, one.name, 1e-10)


@pytest.mark.usefixtures("one_thread")
def test_order_and_neighbours_do_not_matter():
    together = trained([*GRID, *RATES, *SEEDS])
    backwards = trained([*SEEDS, *RATES, *GRID[::-1]])
    some = trained(GRID[1:4])
    for one in GRID[1:4]:
        assert_same(together, backwards, one.name, 1e-10)
        assert_same(together, some, one.name, 1e-10)


@pytest.mark.usefixtures("one_thread")
def test_in_single_precision_within_rounding():
    # Products of other shapes round otherwise: 1e-7 a step, which training spreads over 40 steps.
    together = trained([*GRID, *RATES], torch.float32)
    for one in [*GRID, *RATES]:
        assert_same(trained([one], torch.float32), together, one.name, 2e-4)


def test_twice_the_same_is_bit_identical():
    first, second = (trained(GRID, torch.float32, steps=FEW) for _ in range(2))
    for one in GRID:
        assert_same(first, second, one.name, 0)


@pytest.mark.parametrize("sick", [GRID[0], GRID[3], RATES[1]])
def test_a_cell_of_nan_leaves_its_neighbours_untouched(sick: Cell):
    cells = [*GRID, *RATES]
    healthy = trained(cells, torch.float32, steps=FEW)
    with_sick = trained(cells, torch.float32, poison=sick.name, steps=FEW)
    assert with_sick[sick.name]["W_enc"].isnan().all()
    for one in cells:
        if one is not sick:
            assert_same(healthy, with_sick, one.name, 0)


@pytest.mark.usefixtures("one_thread")
def test_a_learning_rate_that_explodes_hurts_its_own_cell_only():
    healthy, absurd = ([*GRID, cell(0.1, 12, lr=lr)] for lr in (0.5, 1e30))
    calm, wild = trained(healthy, torch.float32), trained(absurd, torch.float32)
    assert not wild[absurd[-1].name]["b_enc"].isfinite().all()
    for one in GRID:
        assert_same(calm, wild, one.name, 0)


@pytest.mark.usefixtures("undrawn")
def test_in_a_sweep_the_diverged_cell_fails_alone(tmp_path: Path):
    config = SweepConfig.model_validate(
        {
            "name": "wild",
            "data": DATA.model_dump(),
            "grid": {"l1": [0.1], "dict_size": [6, 12], "train.lr": [1e-3, 1e30]},
            "train": {"epochs": 20, "batch_size": 64},
            "snapshot_every": 5,
            "eval": {"n_samples": 500, "baselines": []},
        }
    )
    summary = run_sweep(Run.create(config, tmp_path))
    assert not summary.done
    for row in summary.rows:
        wild = row["train.lr"] == 1e30
        assert row["state"] == ("failed" if wild else "done")
        assert math.isfinite(row["recon_loss"]) == (not wild)
        if wild:
            reason = summary.run.folder(row["cell"]).error()
            assert "diverged" in reason
            assert "epoch 5" in reason
    alone = SweepConfig.model_validate(
        {**config.model_dump(), "grid": {"l1": [0.1], "dict_size": [6, 12], "train.lr": [1e-3]}}
    )
    rows = run_sweep(Run.create(alone, tmp_path)).rows
    done = [row for row in summary.rows if row["state"] == "done"]
    for mine, theirs in zip(rows, done, strict=True):
        assert mine["recon_loss"] == pytest.approx(theirs["recon_loss"], rel=1e-4)
