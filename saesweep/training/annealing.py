"""p-annealing: the power of the penalty falls while training, and the penalty keeps its size."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.dictionaries.variant import Weights
from saesweep.dictionaries.variants.relu import Relu
from saesweep.training.schedules import Schedule


class Annealing:
    """After Karvonen et al. (2024): f^p with p falling to `train.lp_end`.

    From a step to the next the coefficient of each cell is multiplied by Σ f^p / Σ f^p' over the
    batch, p' the next power, so that what the penalty comes to stays as it was.
    """

    def __init__(self, stack: Stack, schedule: Schedule) -> None:
        self.schedule = schedule
        like = stack.parameters
        self.scales = [like.new_ones(len(group.cells)) for group in stack.groups]
        """[cells] for each group: what the coefficients are multiplied by"""
        # No other variant has a power, and none other is annealed (`TrainingState`).
        self.variants = [cast(Relu, group.variant) for group in stack.groups]

    def penalty(self, w: Weights, place: int, latents: Tensor, step: int) -> Tensor:
        """[cells] the penalty on ``latents`` of the group at ``place``, with weights ``w``."""
        return self.scales[place] * self._at(place, w, latents, step)

    def sums(self, w: Weights, place: int, latents: Tensor, step: int) -> Tensor:
        """[2, cells]: the penalties on ``latents`` at the powers of this step and of the next."""
        return torch.stack([self._at(place, w, latents, at) for at in (step, step + 1)])

    def follow(self, place: int, sums: Tensor) -> None:
        """Take up the `sums` [2, cells] over a batch."""
        now, later = sums
        self.scales[place] *= (now / later).where(later > 0, 1)

    def _at(self, place: int, w: Weights, latents: Tensor, step: int) -> Tensor:
        variant = self.variants[place]
        return variant.penalty_at(w, latents, self.schedule.power(step, variant.options.lp))
