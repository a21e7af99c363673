"""The gradient of a stack of L1 autoencoders, written by hand.

For one cell with residual r = x_hat - x and latents f, and with s and a the weights that the loss
gives to ‖r‖² and to ‖f‖₁:

    dL/dx_hat = 2 s r                      dL/dW_dec = f^T (2 s r)
    dL/df     = 2 s r W_dec^T + a          dL/dpre   = dL/df where f > 0, else 0
    dL/dW_enc = x^T dL/dpre                dL/db_enc = Σ dL/dpre

Five matrix products and one mask. They run in chunks of the batch, so that latents stay in the cache
between one product and the next, into buffers that are allocated once: with autograd, fresh memory
for the latents of each step costs ten times the arithmetic on the toy grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import chunk_size


@dataclass(frozen=True)
class _Buffers:
    """What one group needs for a chunk of the batch."""

    latents: Tensor  # [cells, chunk, dict_size]
    latents_grad: Tensor  # [cells, chunk, dict_size]
    residual: Tensor  # [cells, chunk, d_in]
    l1_weight: Tensor  # [cells, 1, 1]


class FusedGradient:
    """Fills ``stack.gradients`` for batches of ``batch_size`` activations, under ``loss``."""

    def __init__(self, stack: Stack, batch_size: int, loss: str) -> None:
        self.stack = stack
        like = stack.parameters
        latents = sum(len(group.cells) * group.dict_size for group in stack.groups)
        self.chunk = chunk_size(latents, batch_size) if like.device.type == "cpu" else batch_size
        self.x = torch.ones(batch_size, stack.d_in + 1, device=like.device, dtype=like.dtype)
        self.residual_weight = 2 / (batch_size * (stack.d_in if loss == "mean" else 1))
        self.buffers = [self._buffers(group, batch_size, loss) for group in stack.groups]

    def _buffers(self, group: Group, batch_size: int, loss: str) -> _Buffers:
        like, count = group.decoder, len(group.cells)
        penalties = torch.tensor([cell.l1 for cell in group.cells], dtype=torch.float64)
        penalties /= batch_size * (group.dict_size if loss == "mean" else 1)
        return _Buffers(
            like.new_empty(count, self.chunk, group.dict_size),
            like.new_empty(count, self.chunk, group.dict_size),
            like.new_empty(count, self.chunk, self.stack.d_in),
            penalties.to(like).view(count, 1, 1),
        )

    def __call__(self, x: Tensor) -> None:
        """Normalise the atoms, then compute every cell's gradient on ``x`` [batch, d_in]."""
        self.x[:, :-1] = x
        self.stack.gradients.zero_()
        for group, buffers in zip(self.stack.groups, self.buffers, strict=True):
            group.normalise()
            encoder = group.effective_encoder()
            for chunk in self.x.split(self.chunk):
                self._accumulate(group, encoder, buffers, chunk)
            if group.b_dec is not None and group.b_dec_grad is not None:
                # The encoder saw x - b_dec: what flowed into the bias flows back into b_dec.
                bias_grad = group.encoder_grad[:, -1:]
                group.encoder_grad[:, :-1] -= group.b_dec.transpose(1, 2) @ bias_grad
                group.b_dec_grad -= bias_grad @ group.encoder[:, :-1].transpose(1, 2)

    def _accumulate(self, group: Group, encoder: Tensor, buffers: _Buffers, chunk: Tensor) -> None:
        """Add the gradient on ``chunk`` [samples, d_in + 1]."""
        cells, samples = len(group.cells), len(chunk)
        x = chunk.expand(cells, -1, -1)
        f, f_grad = buffers.latents[:, :samples], buffers.latents_grad[:, :samples]
        r = buffers.residual[:, :samples]
        if group.b_dec is None:
            torch.bmm(torch.bmm(x, encoder, out=f).relu_(), group.decoder, out=r)
        else:
            torch.baddbmm(
                group.b_dec, torch.bmm(x, encoder, out=f).relu_(), group.decoder, out=r
            )
        r.sub_(chunk[:, :-1]).mul_(self.residual_weight)
        group.decoder_grad.baddbmm_(f.transpose(1, 2), r)
        if group.b_dec_grad is not None:
            group.b_dec_grad += r.sum(dim=1, keepdim=True)
        torch.baddbmm(buffers.l1_weight, r, group.decoder.transpose(1, 2), out=f_grad)
        # ReLU's own backward pass: the mask in place, in one read and one write.
        torch.ops.aten.threshold_backward.grad_input(f_grad, f, 0, grad_input=f_grad)
        group.encoder_grad.baddbmm_(x.transpose(1, 2), f_grad)
