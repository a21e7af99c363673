"""The gradient of a stack of any variant, by autograd.

Chunk by chunk of the batch, so that what autograd keeps for the way back stays in the cache, and
into the stack's own gradients, where the optimiser finds those of `training/fused.py`, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import chunk_size
from saesweep.training.annealing import Annealing


class AutogradGradient:
    """Fills ``stack.gradients`` for batches of ``batch_size`` activations, under ``loss``."""

    def __init__(
        self, stack: Stack, batch_size: int, loss: str, annealing: Annealing | None = None
    ) -> None:
        self.stack, self.annealing = stack, annealing
        mean = loss == "mean"
        self.leaves = [_leaves(group) for group in stack.groups]
        self.error_weight = 1 / (batch_size * (stack.d_in if mean else 1))
        self.penalty_weights = [
            stack.parameters.new_tensor(group.variant.coefficients())
            / (batch_size * (group.dict_size if mean else 1))
            for group in stack.groups
        ]
        self.chunks = [
            chunk_size(len(group.cells) * group.dict_size, batch_size, stack.parameters.device.type)
            for group in stack.groups
        ]

    def __call__(
        self,
        x: Tensor,
        step: int = 0,
        strength: float = 1.0,
        fired: Sequence[Tensor] | None = None,
    ) -> None:
        """Compute every cell's gradient on ``x`` [batch, d_in], its penalty times ``strength``.

        ``fired`` [cells, dict_size], for each group, grows where a latent is active.
        """
        self.stack.gradients.zero_()
        for place, group in enumerate(self.stack.groups):
            group.impose()
            batch = group.variant.prepare(group.weights, x)
            sums: list[Tensor] = []
            for part in x.split(self.chunks[place]):
                latents = self._accumulate(place, part, batch, step, strength)
                if fired is not None:
                    fired[place] += latents.sum(dim=1)
                if self.annealing is not None:
                    sums.append(self.annealing.sums(group.weights, place, latents, step))
            if self.annealing is not None:
                self.annealing.follow(place, torch.stack(sums).sum(dim=0))

    @torch.enable_grad()
    def _accumulate(
        self, place: int, x: Tensor, batch: Mapping[str, Tensor], step: int, strength: float
    ) -> Tensor:
        """Add the gradient on ``x`` to that of the group at ``place``; the latents it has."""
        group, w = self.stack.groups[place], self.leaves[place]
        terms = group.variant.terms(w, x, batch)
        penalty = terms.penalty
        if self.annealing is not None:
            penalty = self.annealing.penalty(w, place, terms.latents, step)
        weighted = self.error_weight * terms.error
        weighted = weighted + strength * self.penalty_weights[place] * penalty
        learned = group.gradients
        found = torch.autograd.grad(
            weighted.sum(), [w[name] for name in learned], materialize_grads=True
        )
        for gradient, more in zip(learned.values(), found, strict=True):
            gradient.add_(more)
        return terms.latents.detach()


def _leaves(group: Group) -> dict[str, Tensor]:
    """The weights of ``group``, of which those that are learned ask for a gradient."""
    leaves = {name: part.detach().requires_grad_() for name, part in group.parameters.items()}
    return {**leaves, **group.kept}
