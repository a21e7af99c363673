"""The schedule-free optimiser of a stack, against the package's own on each cell alone."""

from __future__ import annotations

import pytest
import torch
from schedulefree import AdamWScheduleFree
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import GatedOptions
from saesweep.training.schedule_free import ScheduleFree

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 20
FACTORS = [min(1, (step + 1) / 5) for step in range(STEPS)]


def stack_of(dtype: torch.dtype = torch.float64) -> Stack:
    options = GatedOptions(decoder_bias=True)
    grid = [(l1, size, lr) for l1 in (0.1, 0.3) for size in (4, 6) for lr in (1e-3, 1e-2)]
    cells = [
        Cell(f"{l1}_{size}_{lr}", l1, size, 0, TrainConfig(lr=lr), options, {}, "gated")
        for l1, size, lr in grid
    ]
    return Stack(cells, 3, seed=0, dtype=dtype)


def slope(step: int, parameters: Tensor, seed: int) -> Tensor:
    """A gradient that depends on where it is taken, noisy from step to step."""
    generator = torch.Generator().manual_seed(1000 * seed + step)
    noise = torch.randn(parameters.shape, generator=generator, dtype=parameters.dtype)
    return parameters - 0.5 + noise


def alone(start: dict[str, Tensor], lr: float, seed: int) -> tuple[dict[str, Tensor], ...]:
    """The points where gradients are taken, and those that are measured, after all steps."""
    leaves = {name: torch.nn.Parameter(part.clone()) for name, part in start.items()}
    optimiser = AdamWScheduleFree(leaves.values(), lr=lr, betas=(0.9, 0.999), weight_decay=0)
    optimiser.train()
    for step, factor in enumerate(FACTORS):
        for leaf in leaves.values():
            leaf.grad = slope(step, leaf.detach(), seed)
        optimiser.param_groups[0]["lr"] = lr * factor
        optimiser.step()
        z = optimiser.state[leaves["W_dec"]]["z"]
        z.div_(z.norm(dim=1, keepdim=True))  # the base sequence is one of unit atoms
    live = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    optimiser.eval()
    return live, {name: leaf.detach() for name, leaf in leaves.items()}


def fill(stack: Stack, step: int) -> None:
    """Every cell's gradient, from a stream of its own."""
    here, found = stack.parts(stack.parameters), stack.parts(stack.gradients)
    for seed, name in enumerate(sorted(here)):
        for key, gradient in found[name].items():
            gradient.copy_(slope(step, here[name][key], seed))


@torch.no_grad()
def test_steps_are_those_of_the_package_for_each_cell_alone():
    stack = stack_of()
    starts = {
        n: {k: p.clone() for k, p in own.items()}
        for n, own in stack.parts(stack.parameters).items()
    }
    optimiser = ScheduleFree(stack)
    for step, factor in enumerate(FACTORS):
        fill(stack, step)
        optimiser.step(factor)
    rates = {cell.name: cell.train.lr for group in stack.groups for cell in group.cells}
    live = stack.parameters.clone()
    optimiser.measure()
    for seed, name in enumerate(sorted(starts)):
        points, means = alone(starts[name], rates[name], seed)
        for flat, expected in ((live, points), (stack.parameters, means)):
            for key, part in stack.parts(flat)[name].items():
                torch.testing.assert_close(part, expected[key], rtol=1e-9, atol=1e-12)
    assert not torch.equal(live, stack.parameters)


@torch.no_grad()
def test_measuring_leaves_the_next_step_alone():
    ends = []
    for looks in (False, True):
        stack = stack_of()
        optimiser = ScheduleFree(stack)
        for step, factor in enumerate(FACTORS):
            fill(stack, step)
            optimiser.step(factor)
            if looks:
                live = stack.parameters.clone()
                optimiser.measure()
                stack.parameters.copy_(live)
        ends.append(stack.parameters.clone())
    assert torch.equal(*ends)


@torch.no_grad()
def test_it_goes_on_from_what_it_keeps():
    whole, stopped = stack_of(), stack_of()
    optimisers = [ScheduleFree(whole), ScheduleFree(stopped)]
    for step, factor in enumerate(FACTORS):
        fill(whole, step)
        optimisers[0].step(factor)
        if step < 8:
            fill(stopped, step)
            optimisers[1].step(factor)
    fresh = stack_of()
    fresh.parameters.copy_(stopped.parameters)
    optimiser = ScheduleFree(fresh)
    optimiser.z.copy_(optimisers[1].z)
    optimiser.square.copy_(optimisers[1].square)
    optimiser.restore(8, optimisers[1].numbers())
    for step in range(8, STEPS):
        fill(fresh, step)
        optimiser.step(FACTORS[step])
    assert torch.equal(fresh.parameters, whole.parameters)
    assert optimiser.numbers() == optimisers[0].numbers()
