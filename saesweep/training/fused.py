"""The gradient of a stack of L1 autoencoders, written by hand.

For one cell with residual r = x_hat - x and latents f, and with s and a the weights that the loss
gives to ‖r‖² and to ‖f‖₁:

    dL/dx_hat = 2 s r                      dL/dW_dec = f^T (2 s r)
    dL/df     = 2 s (r W_dec^T + a / 2s)   dL/dpre   = dL/df where f > 0, else 0
    dL/dW_enc = x^T dL/dpre                dL/db_enc = Σ dL/dpre

Five matrix products and one mask. They run tile by tile, a tile being some cells on some samples, so
that latents stay in the cache between one product and the next, into buffers that are allocated
once. Three things keep other passes over the latents away: the penalty is one more row of the
decoder, under a residual of 1; the factor 2 s is left to the products that end in a gradient; and
all but the latents have samples or latents, never d_in, as their last axis, because products whose
rows have three numbers are slow (the toy grid: 0.7 ms a step against 1.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import tile_shape


@dataclass(frozen=True)
class _Tile:
    """Some cells of a group on some samples of the batch, as views of what they share."""

    x: Tensor  # [cells, d_in + 1, samples], the last row 1, the same for every cell
    encoder: Tensor  # [cells, d_in + 1, dict_size], for x itself
    encoder_grad: Tensor
    decoder: Tensor  # [cells, d_in + 1, dict_size]: atoms as columns; the last row a / 2s
    decoder_grad: Tensor  # [cells, d_in, dict_size]
    b_dec: Tensor | None  # [cells, d_in, 1]
    b_dec_grad: Tensor | None
    latents: Tensor  # [cells, samples, dict_size]
    latents_grad: Tensor
    residual: Tensor  # [cells, d_in + 1, samples], the last row 1

    def accumulate(self, weight: float) -> None:
        """Add the gradient; ``weight`` is 2 s."""
        f, f_grad, r = self.latents, self.latents_grad, self.residual
        torch.bmm(self.x.transpose(1, 2), self.encoder, out=f).relu_()
        torch.bmm(self.decoder, f.transpose(1, 2), out=r)
        r.sub_(self.x)
        if self.b_dec is not None:
            r[:, :-1] += self.b_dec
        r[:, -1].fill_(1)
        self.decoder_grad.baddbmm_(r[:, :-1], f, alpha=weight)
        if self.b_dec_grad is not None:
            self.b_dec_grad.add_(r[:, :-1].sum(dim=2, keepdim=True), alpha=weight)
        torch.bmm(r.transpose(1, 2), self.decoder, out=f_grad)
        # ReLU's own backward pass: the mask in place, in one read and one write.
        torch.ops.aten.threshold_backward.grad_input(f_grad, f, 0, grad_input=f_grad)
        self.encoder_grad.baddbmm_(self.x, f_grad, alpha=weight)


class FusedGradient:
    """Fills ``stack.gradients`` for batches of ``batch_size`` activations, under ``loss``."""

    def __init__(self, stack: Stack, batch_size: int, loss: str) -> None:
        self.stack, like = stack, stack.parameters
        self.x = like.new_ones(stack.d_in + 1, batch_size)
        self.weight = 2 / (batch_size * (stack.d_in if loss == "mean" else 1))
        self.encoders = [
            group.encoder if group.b_dec is None else torch.empty_like(group.encoder)
            for group in stack.groups
        ]
        self.decoders = [self._with_penalty(group, loss) for group in stack.groups]
        self.shapes = [
            tile_shape(len(group.cells), group.dict_size, batch_size)
            if like.device.type == "cpu"
            else (len(group.cells), batch_size)
            for group in stack.groups
        ]
        tiles = [
            (cells * samples * group.dict_size, cells * samples * (stack.d_in + 1))
            for group, (cells, samples) in zip(stack.groups, self.shapes, strict=True)
        ]
        latents, residuals = (max(sizes) for sizes in zip(*tiles, strict=True))
        self.buffers = [like.new_empty(size) for size in (latents, latents, residuals)]
        self.tiles = [tile for index in range(len(stack.groups)) for tile in self._tiles(index)]

    def _with_penalty(self, group: Group, loss: str) -> Tensor:
        """Room for the decoder, above a row of a / 2s: by how much a lone latent shrinks."""
        scale = self.stack.d_in / group.dict_size if loss == "mean" else 1.0
        shrinkage = [scale * cell.l1 / 2 for cell in group.cells]
        decoder = torch.empty_like(group.encoder)
        decoder[:, -1] = torch.tensor(shrinkage, dtype=torch.float64).to(decoder)[:, None]
        return decoder

    def _tiles(self, index: int) -> Iterator[_Tile]:
        group, (most_cells, most_samples) = self.stack.groups[index], self.shapes[index]
        for first in range(0, len(group.cells), most_cells):
            some = slice(first, min(first + most_cells, len(group.cells)))
            for x in self.x.split(most_samples, dim=1):
                yield self._tile(index, some, x)

    def _tile(self, index: int, some: slice, x: Tensor) -> _Tile:
        group, (rows, samples) = self.stack.groups[index], x.shape
        cells, size = some.stop - some.start, group.dict_size
        shapes = [(cells, samples, size), (cells, samples, size), (cells, rows, samples)]
        latents, latents_grad, residual = (
            buffer[: shape[0] * shape[1] * shape[2]].view(shape)
            for buffer, shape in zip(self.buffers, shapes, strict=True)
        )
        return _Tile(
            x.expand(cells, -1, -1),
            self.encoders[index][some],
            group.encoder_grad[some],
            self.decoders[index][some],
            group.decoder_grad[some].transpose(1, 2),
            None if group.b_dec is None else group.b_dec[some].transpose(1, 2),
            None if group.b_dec_grad is None else group.b_dec_grad[some].transpose(1, 2),
            latents,
            latents_grad,
            residual,
        )

    def __call__(self, x: Tensor) -> None:
        """Normalise the atoms, then compute every cell's gradient on ``x`` [batch, d_in]."""
        self.x[:-1] = x.T
        self.stack.gradients.zero_()
        for group, encoder, decoder in zip(
            self.stack.groups, self.encoders, self.decoders, strict=True
        ):
            group.normalise()
            decoder[:, :-1] = group.decoder.transpose(1, 2)
            if group.b_dec is not None:
                encoder.copy_(group.effective_encoder())
        for tile in self.tiles:
            tile.accumulate(self.weight)
        for group in self.stack.groups:
            if group.b_dec is not None and group.b_dec_grad is not None:
                # The encoder saw x - b_dec: what flowed into the bias flows back into b_dec.
                bias_grad = group.encoder_grad[:, -1:]
                group.encoder_grad[:, :-1] -= group.b_dec.transpose(1, 2) @ bias_grad
                group.b_dec_grad -= bias_grad @ group.encoder[:, :-1].transpose(1, 2)
