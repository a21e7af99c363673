"""batchtopk: the k largest latents a sample, over the whole batch (Bussmann et al. 2024).

    latents = ReLU((x - b_dec) W_enc + b_enc) where it is among the k · batch largest
    loss    = ‖x - x_hat‖²

So samples may have more latents or fewer, and k on average. Afterwards there is no batch: a latent
is active above the threshold θ, a running mean of the smallest latent that was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from saesweep.dictionaries.variant import (
    Variant,
    Weights,
    pre_activations,
    scalar,
    stretched_weights,
)
from saesweep.dictionaries.variants.topk import TopK
from saesweep.model_config import BatchTopKOptions, Options

MOMENTUM = 0.99
"""Of the running mean of the threshold."""


class BatchTopK(Variant):
    """k latents are active on average."""

    Options: ClassVar[type[Options]] = BatchTopKOptions
    coefficients = TopK.coefficients
    known_penalty = TopK.known_penalty

    def kept(self) -> dict[str, float]:
        """The threshold; 0 until a batch was seen."""
        return {"threshold": 0.0}

    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """The pre-activations that are above the threshold."""
        pre = pre_activations(w, x).relu_()
        return pre * (pre > scalar(w, "threshold"))

    def active(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The pre-activations that are among the largest of the batch."""
        if "cutoff" not in batch:
            return self.encode(w, x)
        pre = pre_activations(w, x).relu()
        return pre * (pre >= batch["cutoff"][:, None, None])

    def prepare(self, w: Weights, x: Tensor) -> Mapping[str, Tensor]:
        """The cutoff of each cell in this batch, and its least latent, of which θ learns."""
        found = [
            cutoff(pre_activations({name: part[i] for name, part in w.items()}, x), int(k))
            for i, k in enumerate(self.sparsity)
        ]
        least, below = (torch.stack(column) for column in zip(*found, strict=True))
        threshold, kept = w["threshold"], least.relu()
        threshold.copy_(torch.where(threshold > 0, threshold.lerp(kept, 1 - MOMENTUM), kept))
        # Half way to the next, as products of other shapes round the least differently.
        return {"cutoff": torch.where(below.isfinite(), (least + below) / 2, below)}

    def stretched(self, w: Weights, factor: Tensor) -> Weights:
        """The one threshold goes with the pre-activations: ``factor`` is [], one for all."""
        return stretched_weights(w, factor) | {"threshold": w["threshold"] * factor}


def cutoff(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """[] each: the least of the k · samples largest entries of ``pre`` [samples, dict_size].

    Beside it the next one below, which is -inf where there is none.

    >>> cutoff(torch.tensor([[5.0, 1.0], [2.0, 3.0]]), 1)
    (tensor(3.), tensor(2.))
    """
    entries = pre.flatten()
    least = entries.kthvalue(entries.numel() - k * len(pre) + 1).values
    return least, entries.where(entries < least, -torch.inf).amax()


VARIANT = BatchTopK
