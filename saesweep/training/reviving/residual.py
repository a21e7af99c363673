"""Dead latents that learn to make up for the error of the others: ghost_grads and auxk.

Cell by cell, and only those that have dead latents: others take no time. Each cell's own gradient
is there already; what flows into the dead latents is added to it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group, Stack
from saesweep.dictionaries.variant import Weights, pre_activations, squared
from saesweep.training.reviving.windows import Windows

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The loss [] of the dead latents, from their pre-activations [batch, dead], -inf for
what is alive again, their atoms [dead, d_in] and the residual x - x_hat [batch, d_in]."""

LARGEST = 20.0
"""Of a pre-activation under the exponential, which float32 would not hold from 88 on."""

AUXK = 1 / 32
"""What auxk's error weighs beside that of the reconstruction (Gao et al. 2024)."""


def ghost_loss(pre: Tensor, atoms: Tensor, residual: Tensor) -> Tensor:
    """Ghost gradients (Jermyn and Templeton 2024): exp(pre) reconstructs half of the residual.

    x_g = exp(pre) atoms, scaled to half of each residual's norm; the loss Σ ‖r - x_g‖² is scaled to
    the reconstruction's, Σ ‖r‖². No gradient goes through r or either scale.
    """
    made = pre.clamp(max=LARGEST).exp() @ atoms
    with torch.no_grad():
        norms = torch.linalg.vector_norm(made, dim=1, keepdim=True)
        goal = torch.linalg.vector_norm(residual, dim=1, keepdim=True) / 2
        scale = torch.where(norms > 0, goal / norms, 0)
    loss = squared(residual - made * scale)
    return loss * (squared(residual) / loss.detach().clamp_min(torch.finfo(loss.dtype).tiny))


def auxk_loss(pre: Tensor, atoms: Tensor, residual: Tensor) -> Tensor:
    """AuxK (Gao et al. 2024): the largest dead latents of each sample reconstruct the residual.

    At most d_in / 2 of them, by their pre-activations, and without ReLU: those of relu are all
    below 0, and nothing would flow.
    """
    count = min(pre.shape[1], max(1, atoms.shape[1] // 2))
    values, places = pre.topk(count, dim=1)
    values = values.where(values.isfinite(), 0)
    made = torch.zeros_like(pre).scatter(1, places, values) @ atoms
    return AUXK * squared(residual - made)


LOSSES: dict[str, Loss] = {"ghost_grads": ghost_loss, "auxk": auxk_loss}


class ResidualCure:
    """Adds the gradient of ``loss`` for the dead latents; ``weight`` is that of a squared error."""

    def __init__(self, stack: Stack, windows: Windows, loss: Loss, weight: float) -> None:
        self.stack, self.windows, self.loss, self.weight = stack, windows, loss, weight

    def add_gradient(self, x: Tensor) -> None:
        """Add to the gradients of the stack on ``x`` [batch, d_in]."""
        for place, group in enumerate(self.stack.groups):
            for cell, dead in enumerate(self.windows.places[place]):
                if len(dead):
                    fired = self.windows.fired[place][cell, dead]
                    self._add(group, cell, dead, fired == 0, x)

    def _add(self, group: Group, cell: int, dead: Tensor, silent: Tensor, x: Tensor) -> None:
        """The same for one ``cell``: latents ``dead`` [dead] that still are ``silent`` [dead]."""
        residual = group.residual(cell, x)
        w = {name: part[cell] for name, part in group.parameters.items()}
        own: dict[str, Tensor] = {
            "W_enc": w["W_enc"][:, dead],
            "b_enc": w["b_enc"][dead],
            "W_dec": w["W_dec"][dead],
        }
        leaves = {name: part.clone().requires_grad_() for name, part in own.items()}
        with torch.enable_grad():
            beside: Weights = {"b_dec": w["b_dec"]} if "b_dec" in w else {}
            # What has fired since is alive: it learns from the reconstruction alone.
            pre = pre_activations({**leaves, **beside}, x).where(silent, -torch.inf)
            loss = self.weight * self.loss(pre, leaves["W_dec"], residual)
            loss.backward()
        gradients = {name: part[cell] for name, part in group.gradients.items()}
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            gradients[name].index_add_(1 if name == "W_enc" else 0, dead, leaf.grad)
