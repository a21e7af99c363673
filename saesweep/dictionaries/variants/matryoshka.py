"""matryoshka: prefixes of the dictionary reconstruct as well as all of it (Bussmann et al. 2025).

    latents = those of batchtopk
    loss    = mean over prefixes m of ‖x - latents[:m] W_dec[:m] - b_dec‖²

The first latents must do alone, so they keep to general features; later ones add what is special.
The paper sums over the prefixes; this divides by their number, so that losses are of one size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from saesweep.dictionaries.variant import Terms, Weights, squared
from saesweep.dictionaries.variants.batchtopk import BatchTopK
from saesweep.model_config import MatryoshkaOptions, Options


class Matryoshka(BatchTopK):
    """Nested prefixes: all of the dictionary, half of it, a quarter, …"""

    Options: ClassVar[type[Options]] = MatryoshkaOptions

    def terms(self, w: Weights, x: Tensor, batch: Mapping[str, Tensor]) -> Terms:
        """The mean of the squared errors of all prefixes."""
        latents = self.active(w, x, batch)
        ends = prefixes(latents.shape[-1], self.options.prefixes)
        x_hat = w["b_dec"].unsqueeze(-2) if "b_dec" in w else torch.zeros_like(x)
        errors = []
        for start, end in zip([0, *ends], ends, strict=False):
            x_hat = x_hat + latents[..., start:end] @ w["W_dec"][..., start:end, :]
            errors.append(squared(x_hat - x))
        error = torch.stack(errors).mean(dim=0)
        return Terms(error, self.penalty(w, latents), latents)

    def known_penalty(self, l0: Tensor, l1: Tensor) -> Tensor | None:
        """The error is more than that of the whole dictionary."""
        return None


def prefixes(dict_size: int, count: int) -> list[int]:
    """Where each of ``count`` prefixes ends, the shortest first.

    >>> prefixes(64, 4)
    [8, 16, 32, 64]
    """
    return [max(1, dict_size >> (count - 1 - i)) for i in range(count)]


VARIANT = Matryoshka
