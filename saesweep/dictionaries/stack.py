"""Several sparse autoencoders as one: parameters with the cell as their leading axis.

All parameters of a stack lie in one flat tensor, and so do their gradients. Cells of one dictionary
size and learning rate are a `Group`, whose tensors are views of it; cells of one learning rate lie
next to each other, so that Adam steps them all with one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.sae import SAE
from saesweep.grid import Cell
from saesweep.seeding import stream


@dataclass(frozen=True)
class Group:
    """Cells of one dictionary size and learning rate.

    ``encoder`` [cells, d_in + 1, dict_size] holds W_enc, with b_enc as its last row: an activation
    with a 1 appended takes its bias in the same matrix product, forward and backward, which saves
    a pass over the latents each. ``decoder`` [cells, dict_size, d_in] is W_dec, in memory with its
    axes the other way round (see `training/fused.py`), and ``b_dec`` [cells, 1, d_in], or None. The
    ``_grad`` tensors are alike.
    """

    cells: tuple[Cell, ...]
    encoder: Tensor
    encoder_grad: Tensor
    decoder: Tensor
    decoder_grad: Tensor
    b_dec: Tensor | None
    b_dec_grad: Tensor | None

    @property
    def dict_size(self) -> int:
        """Latents of each cell."""
        return self.decoder.shape[1]

    def normalise(self) -> None:
        """Give every atom norm 1, in place."""
        # torch's norm over an axis that is not the last in memory takes up to 40 times as long.
        norms = self.decoder.square().sum(dim=-1, keepdim=True).sqrt_()
        self.decoder.div_(norms.clamp_min_(torch.finfo(norms.dtype).tiny))

    def effective_encoder(self) -> Tensor:
        """The encoder [cells, d_in + 1, dict_size] that may be given x itself.

        With a decoder bias the encoder sees x - b_dec; (x - b_dec) W_enc + b_enc is
        x W_enc + (b_enc - b_dec W_enc), so the shift moves into the bias row.
        """
        if self.b_dec is None:
            return self.encoder
        shifted = self.encoder.clone()
        shifted[:, -1:] -= self.b_dec @ self.encoder[:, :-1]
        return shifted

    def sae(self, place: int) -> SAE:
        """A copy of the autoencoder at ``place`` in the group."""
        W_dec = self.decoder[place].clone()
        b_dec = torch.zeros_like(W_dec[0]) if self.b_dec is None else self.b_dec[place, 0].clone()
        encoder = self.encoder[place].clone()
        return SAE(W_enc=encoder[:-1], b_enc=encoder[-1], W_dec=W_dec, b_dec=b_dec)


class Stack:
    """The autoencoders of ``cells``, initialised from ``seed`` and trained together.

    Encoders start as `torch.nn.Linear` does, decoders with orthogonal columns, b_dec at zero. Each
    cell is drawn from its own stream, by its seed and size alone.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        d_in: int,
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.d_in = d_in
        by_size: dict[tuple[float, int], list[Cell]] = {}
        for cell in cells:
            by_size.setdefault((cell.train.lr, cell.dict_size), []).append(cell)
        keys = sorted(by_size)
        total = sum(_count(by_size[key], d_in) for key in keys)
        self.parameters = torch.zeros(total, device=device, dtype=dtype)
        """[parameters] of every cell, learning rate by learning rate."""
        self.gradients = torch.zeros_like(self.parameters)
        """[parameters] like them."""
        self.groups: list[Group] = []
        self._rates: dict[float, int] = {}
        start = 0
        for lr, size in keys:
            members = tuple(by_size[lr, size])
            self.groups.append(self._group(members, start))
            start += _count(members, d_in)
            self._rates[lr] = start
        for group in self.groups:
            _initialise(group, seed)

    def parameters_by_rate(self) -> Iterator[tuple[float, slice]]:
        """Each learning rate, and where its parameters lie in the flat tensor."""
        start = 0
        for lr, stop in self._rates.items():
            yield lr, slice(start, stop)
            start = stop

    def normalise(self) -> None:
        """Give every atom of every cell norm 1, in place."""
        for group in self.groups:
            group.normalise()

    def _group(self, cells: tuple[Cell, ...], start: int) -> Group:
        d, size, count = self.d_in, cells[0].dict_size, len(cells)
        shapes = [(count, d + 1, size), (count, d, size), (count, 1, d)]
        views: list[Tensor | None] = []
        for shape in shapes if cells[0].model.decoder_bias else shapes[:2]:
            stop = start + math.prod(shape)
            views += [flat[start:stop].view(shape) for flat in (self.parameters, self.gradients)]
            start = stop
        encoder, encoder_grad, decoder, decoder_grad, *bias = views
        assert encoder is not None and encoder_grad is not None
        assert decoder is not None and decoder_grad is not None
        decoder, decoder_grad = decoder.transpose(1, 2), decoder_grad.transpose(1, 2)
        b_dec, b_dec_grad = bias or (None, None)
        return Group(cells, encoder, encoder_grad, decoder, decoder_grad, b_dec, b_dec_grad)


def _count(cells: Sequence[Cell], d_in: int) -> int:
    """How many parameters ``cells``, all of one size, have."""
    size, bias = cells[0].dict_size, cells[0].model.decoder_bias
    return len(cells) * (size * (2 * d_in + 1) + bias * d_in)


def _initialise(group: Group, seed: int) -> None:
    d_in = group.decoder.shape[2]
    bound = 1 / math.sqrt(d_in)
    for place, cell in enumerate(group.cells):
        generator = stream(seed, "init", cell.seed, cell.dict_size)
        encoder = torch.empty(d_in + 1, cell.dict_size).uniform_(-bound, bound, generator=generator)
        decoder = torch.empty(cell.dict_size, d_in)
        torch.nn.init.orthogonal_(decoder, generator=generator)
        group.encoder[place] = encoder
        group.decoder[place] = decoder
    group.normalise()
