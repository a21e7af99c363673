"""Every variant with its options, as cells and as stacks; and what a gradient is compared with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.batch import Batch
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Group, Stack
from saesweep.dictionaries.variant import Weights
from saesweep.grid import Cell
from saesweep.metrics.evaluate import snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.model_config import BUILT_IN, Options
from saesweep.training.autograd import AutogradGradient
from saesweep.training.loop import train
from saesweep.training.state import TrainingState

D = 4
"""d_in"""
TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("relu", {}),
    ("relu", {"lp": 0.5}),
    ("relu", {"penalty": "tanh"}),
    ("relu", {"tied": True}),
    ("relu", {"unit_norm": False}),
    ("relu", {"unit_norm": False, "penalty": "tanh"}),
    ("topk", {}),
    ("batchtopk", {}),
    ("jumprelu", {"threshold": 0.2, "bandwidth": 0.3}),
    ("gated", {}),
    ("matryoshka", {"prefixes": 3}),
    ("variational", {"kl_weight": 0.1}),
    ("variational", {"prior": "laplace", "slab_std": 0.5}),
]
VALUES = {
    "l1": (0.05, 0.4),
    "k": (1.0, 3.0),
    "l0_coefficient": (0.02, 0.2),
    "prior_rate": (0.1, 0.4),
}
"""Two on each sparsity axis."""


def _kinds() -> Iterator[Any]:
    """Every variant with its options, without a decoder bias and with it."""
    for variant, own in MODELS:
        both = {"decoder_bias": True, "project_gradient": own.get("unit_norm", True)}
        for more in ({}, both):
            options = BUILT_IN[variant](**own, **more)
            words = [f"{key}={value}" for key, value in own.items()]
            bias = ["decoder_bias"] if more else []
            yield pytest.param((variant, options), id="-".join([variant, *words, *bias]))


def _cell(variant: str, options: Options) -> Cell:
    config = TrainConfig(epochs=12, batch_size=48, lr=1e-2)
    value = VALUES[options.sparsity][0]
    return Cell(f"{value}_8_0_0.01", value, 8, 0, config, options, {}, variant)


@pytest.fixture(params=_kinds())
def cell(request: pytest.FixtureRequest) -> Cell:
    """A cell of 8 latents, of every variant with its options."""
    return _cell(*request.param)


@pytest.fixture
def cell_of() -> Callable[..., Cell]:
    """A cell of 8 latents, of a variant with options."""
    return lambda variant, **options: _cell(variant, BUILT_IN[variant](**options))


def _vary(
    cell: Cell, sparsity: float | None = None, size: int = 8, seed: int = 0, **train: Any
) -> Cell:
    config = cell.train.model_copy(update=train)
    value = cell.sparsity if sparsity is None else sparsity
    name = f"{value}_{size}_{seed}_{config.lr}"
    return replace(cell, name=name, sparsity=value, dict_size=size, seed=seed, train=config)


@pytest.fixture
def vary() -> Callable[..., Cell]:
    """A cell with another sparsity, size, seed, or other keys of `train`."""
    return _vary


def _spread(cell: Cell) -> list[Cell]:
    first, second = VALUES[cell.model.sparsity]
    return [
        *[_vary(cell, value, size) for value in (first, second) for size in (8, 12)],
        _vary(cell, second, 8, seed=1),
        _vary(cell, first, 8, lr=3e-2),
    ]


@pytest.fixture
def cells(cell: Cell) -> list[Cell]:
    """Several sparsity values, sizes, seeds and learning rates of one variant."""
    return _spread(cell)


def _samples(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=generator, dtype=torch.float64)


@pytest.fixture
def samples() -> Callable[..., Tensor]:
    """[count, d_in] normal samples in float64."""
    return _samples


def _shaken(cells: Sequence[Cell]) -> Stack:
    stack = Stack(cells, D, seed=0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(stack.parameters.shape, generator=generator, dtype=torch.float64)
    stack.parameters += 0.2 * noise
    stack.impose()
    for group in stack.groups:
        if "threshold" in group.kept:
            group.kept["threshold"][:] = torch.linspace(0.3, 0.9, len(group.cells))
    return stack


@pytest.fixture
def shaken() -> Callable[[Sequence[Cell]], Stack]:
    """A stack in float64 at a place that is not the start."""
    return _shaken


class Doubles:
    """Synthetic activations in float64."""

    def __init__(self) -> None:
        config = DataConfig(activation_dim=D, n_features=7, mean_active=2, noise_std=0.05)
        self.source = SyntheticSource(config, seed=0)

    def batch(self, step: int, size: int) -> Batch:
        batch = self.source.batch(step, size)
        return Batch(batch.x.double(), batch.codes)

    def evaluation(self, size: int) -> EvaluationSet:
        batch = self.source.evaluation_set(size)
        return EvaluationSet(Batch(batch.x.double(), batch.codes), self.source.features.double())


@pytest.fixture(scope="session")
def doubles() -> Doubles:
    """A source of activations in float64, with an evaluation set."""
    return Doubles()


@pytest.fixture
def trained(doubles: Doubles) -> Callable[[Sequence[Cell]], TrainingState]:
    """The state after all steps."""

    def run(cells: Sequence[Cell]) -> TrainingState:
        state = TrainingState(Stack(cells, D, seed=0, dtype=torch.float64))
        assert train(state, doubles, cells[0].train, (), lambda *_: True)
        return state

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads only wait for each other where batches are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# A loss as a test writes it from its formula, without the package: of the weights of one cell, of x
# [samples, d_in], of the cell, and of the weights as they are where some are held. It gives errors
# and weighed penalties, [samples] each.
Formula = Callable[[Weights, Tensor, Cell, Weights], tuple[Tensor, Tensor]]


def _weighed(formula: Formula, w: Weights, x: Tensor, cell: Cell, held: Weights) -> Tensor:
    errors, penalties = formula(w, x, cell, held)
    if cell.train.loss == "mean":
        return errors.mean() / D + penalties.mean() / cell.dict_size
    return errors.mean() + penalties.mean()


def _own(group: Group, place: int) -> dict[str, Tensor]:
    """The weights of one cell as they are, atoms of any norm."""
    return {
        name: part[place].clone(memory_format=torch.contiguous_format)
        for name, part in group.weights.items()
    }


def _by_autograd(
    formula: Formula, w: dict[str, Tensor], learned: Collection[str], x: Tensor, cell: Cell
) -> Mapping[str, Tensor]:
    leaves = {k: v.clone().requires_grad_() if k in learned else v for k, v in w.items()}
    value = _weighed(formula, leaves, x, cell, w)
    found = torch.autograd.grad(value, [leaves[key] for key in learned], materialize_grads=True)
    return dict(zip(learned, found, strict=True))


def _by_differences(
    formula: Formula, w: dict[str, Tensor], learned: Collection[str], x: Tensor, cell: Cell
) -> Mapping[str, Tensor]:
    """(L(w + h) - L(w - h)) / 2h for every parameter."""
    step, found = 1e-6, {}
    for key in learned:
        found[key] = torch.zeros_like(w[key])
        for place in range(w[key].numel()):
            ends = []
            for sign in (1, -1):
                moved = {**w, key: w[key].clone()}
                moved[key].view(-1)[place] += sign * step
                ends.append(_weighed(formula, moved, x, cell, w).item())
            found[key].view(-1)[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def _with_loss(cell: Cell, kind: str) -> list[Cell]:
    """Cells like `spread`'s under another `train.loss`."""
    cells = _spread(cell)
    return [replace(one, train=one.train.model_copy(update={"loss": kind})) for one in cells]


def _assert_gradient(cell: Cell, formula: Formula, skip: str = "") -> None:
    """The gradient is that of ``formula``, by autograd and by differences, without ``skip``."""
    for kind in ("sum", "mean"):
        stack = _shaken(_with_loss(cell, kind))
        x = _samples(40)
        AutogradGradient(stack, len(x), kind)(x)
        for group in stack.groups:
            found = group.gradients
            learned = [key for key in found if key != skip]
            for place, one in enumerate(group.cells):
                w = _own(group, place)
                expected = _by_autograd(formula, w, learned, x, one)
                for key in learned:
                    torch.testing.assert_close(found[key][place], expected[key], **TIGHT)
        one, w = group.cells[0], _own(group, 0)
        for key, value in _by_differences(formula, w, learned, x, one).items():
            torch.testing.assert_close(found[key][0], value, rtol=1e-6, atol=1e-7)


@pytest.fixture
def assert_gradient() -> Callable[..., None]:
    """Compares the gradient of a cell's variant with that of a formula."""
    return _assert_gradient


def _assert_loss(cell: Cell, formula: Formula, doubles: Doubles) -> None:
    data = doubles.evaluation(300)
    for kind in ("sum", "mean"):
        for group in _shaken(_with_loss(cell, kind)).groups:
            rows = snapshot(group, data, threshold=0.9).rows
            for place, (one, row) in enumerate(zip(group.cells, rows, strict=True)):
                w = _own(group, place)
                expected = _weighed(formula, w, data.x, one, w).item()
                assert row["loss"] == pytest.approx(expected, rel=1e-9)


@pytest.fixture
def assert_loss(doubles: Doubles) -> Callable[..., None]:
    """Compares the loss on the evaluation set with that of a formula."""
    return lambda cell, formula: _assert_loss(cell, formula, doubles)
