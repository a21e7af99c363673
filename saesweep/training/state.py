"""The state of a stack's training: all that the next step depends on."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.training.adam import Adam


class TrainingState:
    """``stack`` after ``step`` steps, with the optimiser that takes them.

    Batches are drawn by the number of their step, so there is nothing else to keep.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.adam = Adam(stack)
        self.step = 0

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """For each cell, by name, the tensors of its state: views, no copies.

        Its parameters as in an `SAE`, and ``mean.W_enc``, …, ``square.W_enc``, …: Adam's moments of
        them.
        """
        mean, square = (self.stack.parts(moments) for moments in self.adam.moments)
        return {
            name: {
                **own,
                **{f"mean.{key}": part for key, part in mean[name].items()},
                **{f"square.{key}": part for key, part in square[name].items()},
            }
            for name, own in self.stack.parts(self.stack.parameters).items()
        }

    def restore(self, step: int, saved: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go back to ``step``, with the tensors of every cell as `parts` gave them then."""
        for name, parts in self.parts().items():
            for key, part in parts.items():
                part.copy_(saved[name][key])
        self.step = step
        self.adam.steps.fill_(step)
