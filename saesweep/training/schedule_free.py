"""AdamW without a schedule (Defazio et al. 2024), of the package `schedulefree`."""

from __future__ import annotations

from typing import Any

import torch
from schedulefree import AdamWScheduleFree
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.training.adam import BETAS, EPSILON

NUMBERS = ("weight_sum", "lr_max")
"""What the package counts for each learning rate, beside its steps."""


class ScheduleFree:
    """The optimiser of a stack's flat parameters, a parameter group for each learning rate.

    While it trains, the stack holds the points at which gradients are taken; what is measured is
    their weighted mean, which follows from them and ``z``.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rates = [rate for rate, _ in stack.parameters_by_rate()]
        self.z, self.square = stack.parameters.clone(), torch.zeros_like(stack.parameters)
        """[parameters] the base sequence, and the running mean of squared gradients"""
        self.optimiser = AdamWScheduleFree(
            [
                {"params": [torch.nn.Parameter(stack.parameters[place])], "lr": rate}
                for rate, place in stack.parameters_by_rate()
            ],
            betas=BETAS,
            eps=EPSILON,
            weight_decay=0,
        )
        for group, (_, place) in zip(self._groups, stack.parameters_by_rate(), strict=True):
            (parameter,) = group["params"]
            parameter.grad = stack.gradients[place]
            state = {"z": self.z[place], "exp_avg_sq": self.square[place]}
            self.optimiser.state[parameter] = state
        self.optimiser.train()

    @property
    def _groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = self.optimiser.param_groups
        return groups

    def step(self, factor: float = 1.0) -> None:
        """Change the parameters by the gradients, at ``factor`` times the learning rates."""
        for group, rate in zip(self._groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.step()
        # The gradients are taken at unit atoms, so the sequence is one of unit atoms, too.
        self.stack.impose_on(self.z)

    def moments_by_name(self) -> dict[str, Tensor]:
        """What is kept of each parameter, [parameters] each; 0 for one that starts again."""
        return {"square": self.square}

    def iterates(self) -> dict[str, Tensor]:
        """Second copies of the parameters, [parameters] each."""
        return {"z": self.z}

    def numbers(self) -> dict[float, dict[str, float]]:
        """What is kept besides, for each learning rate."""
        return {
            rate: {name: float(group[name]) for name in NUMBERS}
            for rate, group in zip(self.rates, self._groups, strict=True)
        }

    def restore(self, step: int, numbers: dict[float, dict[str, float]]) -> None:
        """Go on after ``step`` steps with ``numbers``."""
        for rate, group in zip(self.rates, self._groups, strict=True):
            group.update({"k": step, **numbers[rate]})

    def measure(self) -> None:
        """Put those weights into the stack that are to be measured; the next step needs others."""
        self.optimiser.eval()
        for group in self._groups:
            group["train_mode"] = True  # the stack is put back by a copy, not by arithmetic
