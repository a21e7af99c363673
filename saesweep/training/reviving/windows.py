"""Which latents are dead: those that fired in none of the last steps."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.dictionaries.stack import Stack


class Windows:
    """Counts firing in windows of a share `train.dead_after` of all steps.

    What fired in none of a window's steps is dead through the next, until it fires. The host looks
    once a window at what is dead, and waits for the device only then.
    """

    def __init__(self, stack: Stack, train: TrainConfig) -> None:
        self.length = max(1, round(train.dead_after * train.epochs * train.steps_per_epoch))
        """Steps of a window"""
        shapes = [(len(group.cells), group.dict_size) for group in stack.groups]
        like = stack.parameters
        self.fired = [like.new_zeros(shape) for shape in shapes]
        """[cells, dict_size] for each group: the latents, summed over this window"""
        self.dead = [like.new_zeros(shape) for shape in shapes]
        """[cells, dict_size] for each group: 1 where a latent fired in no step of the last"""
        self.look()

    def look(self) -> None:
        """Let the host know which latents are dead."""
        self.places: list[list[Tensor]] = [
            [cell.nonzero().squeeze(1) for cell in dead] for dead in self.dead
        ]
        """For each group and cell the dead latents [dead]"""

    def turn(self, step: int) -> bool:
        """After ``step`` steps: whether a window is over, and the next begun."""
        if step % self.length:
            return False
        for fired, dead in zip(self.fired, self.dead, strict=True):
            torch.eq(fired, 0, out=dead)
            fired.zero_()
        self.look()
        return True
