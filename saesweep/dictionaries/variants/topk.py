"""topk: the k largest latents of each sample (Makhzani and Frey 2013; Gao et al. 2024).

latents = TopK(ReLU((x - b_dec) W_enc + b_enc))
loss    = ‖x - x_hat‖²
"""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.dictionaries.variant import Variant, Weights, pre_activations, stretched_weights
from saesweep.model_config import TopKOptions


class TopK(Variant):
    """Exactly k latents are active, or fewer where fewer pre-activations are above 0."""

    Options = TopKOptions

    def coefficients(self) -> list[float]:
        """There is no penalty."""
        return [0.0] * len(self.sparsity)

    def encode(self, w: Weights, x: Tensor) -> Tensor:
        """The k largest pre-activations of each sample, as far as they are above 0."""
        return keep_largest(pre_activations(w, x), [int(k) for k in self.sparsity]).relu_()

    def stretched(self, w: Weights, factor: Tensor) -> Weights:
        """One ``factor`` for all keeps the order of latents."""
        return stretched_weights(w, factor)

    def known_penalty(self, l0: Tensor, l1: Tensor) -> Tensor | None:
        """None is paid."""
        return torch.zeros_like(l0)


def keep_largest(pre: Tensor, k: list[int]) -> Tensor:
    """``pre`` [(cells), samples, dict_size] where it is among the k largest of its sample, else 0.

    ``k`` has a value for each cell.

    >>> keep_largest(torch.tensor([[3.0, 1.0, 2.0]]), [2])
    tensor([[3., 0., 2.]])
    """
    values, places = pre.topk(max(k), dim=-1)
    if len(set(k)) > 1:
        ranks = torch.arange(max(k), device=pre.device)
        kept = ranks < torch.tensor(k, device=pre.device)[:, None, None]
        values = values.where(kept, 0)
    return torch.zeros_like(pre).scatter(-1, places, values)


VARIANT = TopK
