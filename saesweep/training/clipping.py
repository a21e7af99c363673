"""Gradients that are too long, cell by cell."""

from __future__ import annotations

import torch

from saesweep.dictionaries.stack import Stack


def clip(stack: Stack, most: float) -> None:
    """Shorten the gradient of every cell to the norm ``most`` where it is longer, in place.

    Cells are clipped apart, so that none depends on which others it is stacked with.
    """
    for group in stack.groups:
        parts = list(group.gradients.values())
        squares = [part.square().flatten(1).sum(dim=1) for part in parts]
        norms = torch.stack(squares).sum(dim=0).sqrt()
        # A gradient of 0 stays so.
        factors = (most / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_max_(1)
        for part in parts:
            part.mul_(factors.view(-1, *[1] * (part.dim() - 1)))
