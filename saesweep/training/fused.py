"""The gradient of a stack of L1 autoencoders, written by hand.

For one cell with residual r = x_hat - x and latents f, and with s and a the weights that the loss
gives to ‖r‖² and to ‖f‖₁:

    dL/dx_hat = 2 s r                      dL/dW_dec = f^T (2 s r)
    dL/df     = 2 s (r W_dec^T + a / 2s)   dL/dpre   = dL/df where f > 0, else 0
    dL/dW_enc = x^T dL/dpre                dL/db_enc = Σ dL/dpre

Five matrix products and one mask, tile by tile: the cells of a group on some samples, so that
latents stay in the cache between one product and the next. Their buffers are allocated once. Three
more things keep passes over memory away: the penalty is one more row of the decoder, under a
residual of 1; the factor 2 s is left to the products that end in a gradient; and x, the residual
and the decoder lie with samples or latents, not d_in, as their last axis, as rows of three numbers
make slow products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import chunk_size

mask_in_place = torch.ops.aten.threshold_backward.grad_input
"""ReLU's own backward pass: one read and one write."""


class _Tile:
    """The cells of a group on some samples of the batch: all that the products read and write.

    Views of what tiles share, made once, as each takes Python longer than some of the products:
    ``x`` [cells, d_in + 1, samples], the same for every cell, its last row 1;
    ``encoder`` [cells, d_in + 1, dict_size], for x itself;
    ``decoder`` [cells, d_in + 1, dict_size], atoms as columns, its last row a / 2s;
    ``latents``, ``latents_grad`` [cells, samples, dict_size];
    ``residual`` [cells, d_in + 1, samples], its last row 1.
    """

    def __init__(
        self,
        group: Group,
        x: Tensor,
        encoder: Tensor,
        decoder: Tensor,
        latents: Tensor,
        latents_grad: Tensor,
        residual: Tensor,
    ) -> None:
        self.x, self.x_T = x, x.transpose(1, 2)
        self.encoder, self.encoder_grad = encoder, group.encoder_grad
        self.decoder, self.decoder_grad = decoder, group.decoder_grad.transpose(1, 2)
        self.latents, self.latents_T = latents, latents.transpose(1, 2)
        self.latents_grad = latents_grad
        self.residual, self.residual_T = residual, residual.transpose(1, 2)
        self.error, self.ones = residual[:, :-1], residual[:, -1]
        self.bias = None if group.b_dec is None else group.b_dec.transpose(1, 2)
        self.bias_grad = None if group.b_dec_grad is None else group.b_dec_grad.squeeze(1)
        self.each = latents.new_ones(len(latents), 1, latents.shape[1])

    def count(self, fired: Tensor) -> None:
        """Let ``fired`` [cells, dict_size] grow where a latent is active."""
        # A product with ones: a fifth of what a sum over samples takes on a CPU.
        fired.unsqueeze(1).baddbmm_(self.each, self.latents)

    def accumulate(self, weight: float) -> None:
        """Add the gradient on these samples to the group's; ``weight`` is 2 s."""
        torch.bmm(self.x_T, self.encoder, out=self.latents).relu_()
        torch.bmm(self.decoder, self.latents_T, out=self.residual).sub_(self.x)
        if self.bias is not None:
            self.error.add_(self.bias)
        self.ones.fill_(1)
        self.decoder_grad.baddbmm_(self.error, self.latents, alpha=weight)
        if self.bias_grad is not None:
            self.bias_grad.add_(self.error.sum(dim=2), alpha=weight)
        torch.bmm(self.residual_T, self.decoder, out=self.latents_grad)
        mask_in_place(self.latents_grad, self.latents, 0, grad_input=self.latents_grad)
        self.encoder_grad.baddbmm_(self.x, self.latents_grad, alpha=weight)


class FusedGradient:
    """Fills ``stack.gradients`` for batches of ``batch_size`` activations, under ``loss``."""

    def __init__(self, stack: Stack, batch_size: int, loss: str) -> None:
        self.stack = stack
        self.weight = 2 / (batch_size * (stack.d_in if loss == "mean" else 1))
        self.x = stack.parameters.new_ones(stack.d_in + 1, batch_size)
        self.encoders = [
            group.encoder if group.b_dec is None else torch.empty_like(group.encoder)
            for group in stack.groups
        ]
        self.decoders = [_with_penalty(group, loss) for group in stack.groups]
        self.penalties = [decoder[:, -1].clone() for decoder in self.decoders]
        self.strength = 1.0
        self.tiles = self._tiles(batch_size)

    def _tiles(self, batch_size: int) -> list[tuple[int, _Tile]]:
        """The tiles of a batch, each with the place of its group."""
        like, groups = self.stack.parameters, self.stack.groups
        tiles: list[tuple[int, _Tile]] = []
        widths = [len(group.cells) * group.dict_size for group in groups]
        chunks = [chunk_size(width, batch_size, like.device.type) for width in widths]
        most = max(width * chunk for width, chunk in zip(widths, chunks, strict=True))
        latents, latents_grad = like.new_empty(2, most)
        for place, (group, chunk) in enumerate(zip(groups, chunks, strict=True)):
            cells = len(group.cells)
            residual = like.new_empty(cells * (self.stack.d_in + 1) * chunk)
            for x in self.x.split(chunk, dim=1):
                shape = (cells, x.shape[1], group.dict_size)
                tile = _Tile(
                    group,
                    x.expand(cells, -1, -1),
                    self.encoders[place],
                    self.decoders[place],
                    latents[: math.prod(shape)].view(shape),
                    latents_grad[: math.prod(shape)].view(shape),
                    residual[: cells * x.numel()].view(cells, *x.shape),
                )
                tiles.append((place, tile))
        return tiles

    def __call__(
        self,
        x: Tensor,
        step: int = 0,
        strength: float = 1.0,
        fired: Sequence[Tensor] | None = None,
    ) -> None:
        """Compute every cell's gradient on ``x`` [batch, d_in], its penalty times ``strength``.

        Atoms get norm 1 first. ``fired`` [cells, dict_size], for each group, grows where a latent
        is active.
        """
        self.x[:-1] = x.T
        self._weigh(strength)
        self.stack.gradients.zero_()
        groups = self.stack.groups
        for group, encoder, decoder in zip(groups, self.encoders, self.decoders, strict=True):
            group.impose()
            decoder[:, :-1] = group.decoder.transpose(1, 2)
            if group.b_dec is not None:
                encoder.copy_(group.effective_encoder())
        for place, tile in self.tiles:
            tile.accumulate(self.weight)
            if fired is not None:
                tile.count(fired[place])
        for group in groups:
            if group.b_dec is not None and group.b_dec_grad is not None:
                # The encoder saw x - b_dec: what flowed into the bias flows back into b_dec.
                bias_grad = group.encoder_grad[:, -1:]
                group.encoder_grad[:, :-1] -= group.b_dec.transpose(1, 2) @ bias_grad
                group.b_dec_grad.sub_(bias_grad @ group.encoder[:, :-1].transpose(1, 2))

    def _weigh(self, strength: float) -> None:
        """Multiply the penalties by ``strength``."""
        if strength != self.strength:
            for decoder, penalty in zip(self.decoders, self.penalties, strict=True):
                decoder[:, -1] = strength * penalty
            self.strength = strength


def _with_penalty(group: Group, loss: str) -> Tensor:
    """[cells, d_in + 1, dict_size] room for the decoder, above a row of a / 2s.

    That is by how much the reconstruction of a lone feature shrinks.
    """
    d_in = group.decoder.shape[2]
    scale = d_in / group.dict_size if loss == "mean" else 1.0
    shrinkage = torch.tensor(
        [scale * cell.sparsity / 2 for cell in group.cells], dtype=torch.float64
    )
    decoder = torch.zeros_like(group.encoder)
    decoder[:, -1] = shrinkage.to(decoder)[:, None]
    return decoder
