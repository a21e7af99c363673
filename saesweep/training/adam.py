"""Adam over the flat parameters of a stack."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba 2015), one kernel for all cells of a learning rate.

    The kernel is torch's own, called past `torch.optim`, whose bookkeeping takes longer than the
    kernel: 0.14 ms a step of the toy grid, of 1.5 in all.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rates = list(stack.parameters_by_rate())
        self.moments = torch.zeros_like(stack.parameters).expand(2, -1).clone()
        """[2, parameters] running means of the gradient and of its square."""
        self.steps = torch.zeros((), device=stack.parameters.device)

    def step(self, factor: float = 1.0) -> None:
        """Change the parameters by the gradients, at ``factor`` times the learning rates."""
        self.steps += 1
        for rate, place in self.rates:
            torch._fused_adam_(
                [self.stack.parameters[place]],
                [self.stack.gradients[place]],
                [self.moments[0, place]],
                [self.moments[1, place]],
                [],
                [self.steps],
                lr=rate * factor,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def moments_by_name(self) -> dict[str, Tensor]:
        """What is kept of each parameter, [parameters] each; 0 for one that starts again."""
        return {"mean": self.moments[0], "square": self.moments[1]}

    def iterates(self) -> dict[str, Tensor]:
        """Second copies of the parameters, [parameters] each."""
        return {}

    def numbers(self) -> dict[float, dict[str, float]]:
        """What is kept besides, for each learning rate."""
        return {}

    def restore(self, step: int, numbers: dict[float, dict[str, float]]) -> None:
        """Go on after ``step`` steps with ``numbers``."""
        self.steps.fill_(step)

    def measure(self) -> None:
        """Put those weights into the stack that are to be measured: they are there."""
