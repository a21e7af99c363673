"""Several sparse autoencoders as one: parameters with the cell as their leading axis.

All parameters of a stack lie in one flat tensor, and so do their gradients. Cells of one dictionary
size and learning rate are a `Group`, whose tensors are views of it; cells of one learning rate lie
next to each other, so that the optimiser steps them all with one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variant import Variant, Weights
from saesweep.dictionaries.variants import variant_of
from saesweep.grid import Cell
from saesweep.seeding import stream

PART = 4096
"""Samples whose latents are in memory at a time, where all of one cell are asked for."""


@dataclass(frozen=True)
class Group:
    """Cells of one variant, dictionary size and learning rate.

    ``encoder`` [cells, d_in + 1, dict_size] holds W_enc, with b_enc as its last row: an activation
    with a 1 appended takes its bias in the same matrix product, forward and backward, which saves
    a pass over the latents each. ``decoder`` [cells, dict_size, d_in] is W_dec, in memory with its
    axes the other way round (see `training/fused.py`), and ``b_dec`` [cells, 1, d_in], or None.
    ``learned`` are the variant's own parameters [cells, dict_size], and ``kept`` [cells] its
    numbers without a gradient. The ``_grad`` tensors are alike.
    """

    cells: tuple[Cell, ...]
    variant: Variant
    encoder: Tensor
    encoder_grad: Tensor
    decoder: Tensor
    decoder_grad: Tensor
    b_dec: Tensor | None
    b_dec_grad: Tensor | None
    learned: dict[str, Tensor]
    learned_grad: dict[str, Tensor]
    kept: dict[str, Tensor]

    @property
    def dict_size(self) -> int:
        """Latents of each cell."""
        return self.decoder.shape[1]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Views of what is learned, by name, as a variant takes them."""
        return _named(self.encoder, self.decoder, self.b_dec, self.learned)

    @property
    def gradients(self) -> dict[str, Tensor]:
        """The same of their gradients."""
        return _named(self.encoder_grad, self.decoder_grad, self.b_dec_grad, self.learned_grad)

    @property
    def weights(self) -> Weights:
        """All that the variant computes with."""
        return {**self.parameters, **self.kept}

    def impose(self) -> None:
        """Give every atom norm 1 and tied encoders their decoders, in place."""
        _impose(self.cells[0], self.encoder, self.decoder)

    def one(self, place: int) -> tuple[Variant, Weights]:
        """The variant of the cell at ``place`` alone, and views of its weights."""
        cell = self.cells[place]
        weights = {name: part[place] for name, part in self.weights.items()}
        return variant_of(cell.variant, cell.model, [cell.sparsity]), weights

    def residual(self, place: int, x: Tensor) -> Tensor:
        """What the cell at ``place`` leaves of ``x`` [samples, d_in]: x - x_hat, alike."""
        variant, w = self.one(place)
        parts = [part - variant.decode(w, variant.encode(w, part)) for part in x.split(PART)]
        return torch.cat(parts)

    def project(self) -> None:
        """Make the gradient that of what `impose` leaves free, in place."""
        options = self.cells[0].model
        if getattr(options, "tied", False):
            self.decoder_grad.add_(self.encoder_grad[:, :-1].transpose(1, 2))
            self.encoder_grad[:, :-1] = 0
        if options.project_gradient:
            along = (self.decoder_grad * self.decoder).sum(dim=-1, keepdim=True)
            self.decoder_grad.sub_(along * self.decoder)

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
        variant, views = self.one(place)
        weights = variant.folded({name: part.clone() for name, part in views.items()})
        return SAE.of({"b_dec": torch.zeros_like(weights["W_dec"][0]), **weights}, variant)


def _named(
    encoder: Tensor, decoder: Tensor, b_dec: Tensor | None, learned: dict[str, Tensor]
) -> dict[str, Tensor]:
    own = {"W_enc": encoder[:, :-1], "b_enc": encoder[:, -1], "W_dec": decoder}
    return {**own, **({} if b_dec is None else {"b_dec": b_dec[:, 0]}), **learned}


class Stack:
    """The autoencoders of ``cells``, of one variant, initialised from ``seed``, trained together.

    Encoders start as `torch.nn.Linear` does or as the decoder's transpose, as the variant says;
    decoders with orthogonal columns, b_dec at zero (see `start_biases`). Each cell is drawn from
    its own stream, by its seed and size alone.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        d_in: int,
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.d_in, self.seed = d_in, seed
        by_size: dict[tuple[float, int], list[Cell]] = {}
        for cell in cells:
            by_size.setdefault((cell.train.lr, cell.dict_size), []).append(cell)
        self._shapes = [_Shape.of(by_size[key], d_in) for key in sorted(by_size)]
        total = sum(shape.count for shape in self._shapes)
        self.parameters = torch.zeros(total, device=device, dtype=dtype)
        """[parameters] of every cell, learning rate by learning rate."""
        self.gradients = torch.zeros_like(self.parameters)
        """[parameters] like them."""
        self.groups = [
            self._group(shape, parameters, gradients)
            for shape, parameters, gradients in zip(
                self._shapes, self._split(self.parameters), self._split(self.gradients), strict=True
            )
        ]
        for group in self.groups:
            _initialise(group, seed)

    def parameters_by_rate(self) -> Iterator[tuple[float, slice]]:
        """Each learning rate, and where its parameters lie in the flat tensor."""
        counts: dict[float, int] = {}
        for shape in self._shapes:
            lr = shape.cells[0].train.lr
            counts[lr] = counts.get(lr, 0) + shape.count
        start = 0
        for lr, count in counts.items():
            yield lr, slice(start, start + count)
            start += count

    def impose(self) -> None:
        """Give every atom of every cell norm 1, and tied encoders their decoders, in place."""
        for group in self.groups:
            group.impose()

    def impose_on(self, flat: Tensor) -> None:
        """The same on ``flat`` [parameters], a second copy of the parameters."""
        for shape, own in zip(self._shapes, self._split(flat), strict=True):
            encoder, decoder, _, _ = shape.views(own)
            _impose(shape.cells[0], encoder, decoder)

    def project(self) -> None:
        """Make the gradients those of what `impose` leaves free, in place."""
        for group in self.groups:
            group.project()

    def start_biases(self, centre: Tensor) -> None:
        """Let every b_dec be ``centre`` [d_in]."""
        for group in self.groups:
            if group.b_dec is not None:
                group.b_dec[:] = centre.to(group.b_dec)

    def parts(self, flat: Tensor) -> dict[str, dict[str, Tensor]]:
        """What belongs to each cell, by name, in ``flat`` [parameters]: views of it.

        ``flat`` is laid out as `parameters` are, as Adam's moments and the gradients are; the parts
        are named and shaped as those of an `SAE`, without b_dec where the model has none.
        """
        parts = {}
        for shape, own in zip(self._shapes, self._split(flat), strict=True):
            named = _named(*shape.views(own))
            for i, cell in enumerate(shape.cells):
                parts[cell.name] = {name: part[i] for name, part in named.items()}
        return parts

    def kept(self) -> dict[str, dict[str, Tensor]]:
        """What each cell keeps without a gradient, by name: views."""
        return {
            cell.name: {name: part[i] for name, part in group.kept.items()}
            for group in self.groups
            for i, cell in enumerate(group.cells)
        }

    def _split(self, flat: Tensor) -> Iterator[Tensor]:
        return iter(flat.split([shape.count for shape in self._shapes]))

    def _group(self, shape: _Shape, parameters: Tensor, gradients: Tensor) -> Group:
        encoder, decoder, b_dec, learned = shape.views(parameters)
        encoder_grad, decoder_grad, b_dec_grad, learned_grad = shape.views(gradients)
        kept = {
            name: parameters.new_full((len(shape.cells),), value)
            for name, value in shape.variant.kept().items()
        }
        return Group(
            shape.cells,
            shape.variant,
            encoder,
            encoder_grad,
            decoder,
            decoder_grad,
            b_dec,
            b_dec_grad,
            learned,
            learned_grad,
            kept,
        )


@dataclass(frozen=True)
class _Shape:
    """How the parameters of a group lie in memory."""

    cells: tuple[Cell, ...]
    d_in: int
    variant: Variant
    learned: tuple[str, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell], d_in: int) -> _Shape:
        first = cells[0]
        variant = variant_of(first.variant, first.model, [cell.sparsity for cell in cells])
        return cls(tuple(cells), d_in, variant, tuple(variant.learned(first.dict_size)))

    @property
    def count(self) -> int:
        """How many parameters the cells have."""
        size, bias = self.cells[0].dict_size, self.cells[0].model.decoder_bias
        each = size * (2 * self.d_in + 1 + len(self.learned)) + bias * self.d_in
        return len(self.cells) * each

    def views(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Tensor]]:
        """``flat`` [count] as encoder, decoder, b_dec and learned, shaped as those of a `Group`."""
        size, count, d_in = self.cells[0].dict_size, len(self.cells), self.d_in
        bias = self.cells[0].model.decoder_bias
        widths = [(d_in + 1) * size, d_in * size, bias * d_in, *[size] * len(self.learned)]
        encoder, decoder, b_dec, *own = flat.split([count * width for width in widths])
        return (
            encoder.view(count, d_in + 1, size),
            decoder.view(count, d_in, size).transpose(1, 2),
            b_dec.view(count, 1, d_in) if bias else None,
            {name: part.view(count, size) for name, part in zip(self.learned, own, strict=True)},
        )


def _impose(cell: Cell, encoder: Tensor, decoder: Tensor) -> None:
    """What cells like ``cell`` ask of the weights of a group."""
    if getattr(cell.model, "unit_norm", True):
        _normalise(decoder)
    if getattr(cell.model, "tied", False):
        encoder[:, :-1] = decoder.transpose(1, 2)


def _normalise(decoder: Tensor) -> None:
    """Give every atom of ``decoder`` [cells, dict_size, d_in] norm 1, in place."""
    # torch's norm over an axis that is not the last in memory takes up to 40 times as long.
    norms = decoder.square().sum(dim=-1, keepdim=True).sqrt_()
    decoder.div_(norms.clamp_min_(torch.finfo(norms.dtype).tiny))


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
    for name, start in group.variant.learned(group.dict_size).items():
        group.learned[name][:] = start
    _normalise(group.decoder)  # atoms of any norm start with norm 1, too
    if group.variant.transposed:
        group.encoder[:, -1] = 0
    if group.variant.transposed or getattr(group.cells[0].model, "tied", False):
        group.encoder[:, :-1] = group.decoder.transpose(1, 2)
