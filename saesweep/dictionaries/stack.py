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
            place = slice(start, start + _count(members, d_in))
            self.groups.append(self._group(members, place))
            start = self._rates[lr] = place.stop
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

    def parts(self, flat: Tensor) -> dict[str, dict[str, Tensor]]:
        """What belongs to each cell, by name, in ``flat`` [parameters]: views of it.

        ``flat`` is laid out as `parameters` are, as Adam's moments and the gradients are; the parts
        are named and shaped as those of an `SAE`, without b_dec where the model has none.
        """
        parts, start = {}, 0
        for group in self.groups:
            stop = start + _count(group.cells, self.d_in)
            encoder, decoder, b_dec = _views(flat[start:stop], group.cells, self.d_in)
            start = stop
            for i, cell in enumerate(group.cells):
                own = {"W_enc": encoder[i, :-1], "b_enc": encoder[i, -1], "W_dec": decoder[i]}
                parts[cell.name] = own if b_dec is None else own | {"b_dec": b_dec[i, 0]}
        return parts

    def _group(self, cells: tuple[Cell, ...], place: slice) -> Group:
        encoder, decoder, b_dec = _views(self.parameters[place], cells, self.d_in)
        encoder_grad, decoder_grad, b_dec_grad = _views(self.gradients[place], cells, self.d_in)
        return Group(cells, encoder, encoder_grad, decoder, decoder_grad, b_dec, b_dec_grad)


def _views(flat: Tensor, cells: Sequence[Cell], d_in: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """``flat`` [parameters of ``cells``, all of one size] as encoder, decoder and b_dec.

    Their shapes are those of a `Group`.
    """
    size, count = cells[0].dict_size, len(cells)
    widths = [(d_in + 1) * size * count, d_in * size * count]
    encoder, decoder, b_dec = flat.tensor_split((widths[0], sum(widths)))
    return (
        encoder.view(count, d_in + 1, size),
        decoder.view(count, d_in, size).transpose(1, 2),
        b_dec.view(count, 1, d_in) if cells[0].model.decoder_bias else None,
    )


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
