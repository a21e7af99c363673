"""Which rows are held out, and in which order the others are trained on: indices alone."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.seeding import stream

STRETCHES = 16
"""Into which the rows held out are split, so that they are of all parts of the text."""
BLOCK = 64
"""Rows that are read together."""


class Split:
    """``rows`` in 16 equal sections, of each of which the middle is held out.

    >>> split = Split(160, held_out=0.2)
    >>> split.held(torch.arange(4))
    tensor([ 4,  5, 14, 15])
    >>> split.trained(torch.arange(9))
    tensor([ 0,  1,  2,  3,  6,  7,  8,  9, 10])
    """

    def __init__(self, rows: int, held_out: float) -> None:
        self.held_rows = round(held_out * rows)
        self.train_rows = rows - self.held_rows
        number = torch.arange(STRETCHES + 1)
        self._before = number * self.held_rows // STRETCHES
        """[17] rows held out before each stretch, and in all."""
        self._trained_before = (2 * number[:-1] + 1) * self.train_rows // (2 * STRETCHES)
        """[16] rows trained on before each stretch."""

    def held(self, numbers: Tensor) -> Tensor:
        """The row that is held out as the i-th, for each i in ``numbers`` [n]."""
        stretch = torch.searchsorted(self._before, numbers, right=True) - 1
        return numbers + self._trained_before[stretch]

    def trained(self, numbers: Tensor) -> Tensor:
        """The row that is the i-th of those trained on, for each i in ``numbers`` [n]."""
        stretches = torch.searchsorted(self._trained_before, numbers, right=True)
        return numbers + self._before[stretches]


class Order:
    """The order of ``rows`` rows in passes without end, a pure function of the seed.

    In each pass blocks of 64 rows are permuted, and grouped in that order into buffers; a last
    block that is shorter stays the last. Within a buffer all rows are permuted.
    """

    def __init__(self, rows: int, buffer_rows: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self._blocks = max(1, buffer_rows // BLOCK)  # in a buffer
        self.buffer_rows = self._blocks * BLOCK if rows > buffer_rows else rows
        """Rows of a buffer; the last of a pass may have fewer."""
        self.buffers = -(-rows // self.buffer_rows)
        """In a pass."""
        self._shuffled: tuple[int, Tensor] | None = None  # of the last pass that was asked for

    def place(self, position: int) -> tuple[int, int, int]:
        """The pass, the buffer in it, and the place in that, of the ``position``-th row."""
        number, row = divmod(position, self.rows)
        return number, *divmod(row, self.buffer_rows)

    def after(self, number: int, buffer: int) -> tuple[int, int]:
        """The pass and buffer that follow."""
        return (number, buffer + 1) if buffer + 1 < self.buffers else (number + 1, 0)

    def content(self, number: int, buffer: int) -> Tensor:
        """[n] which of the rows are in a buffer, ascending."""
        if self.buffers == 1:
            return torch.arange(self.rows)
        blocks = self._shuffle(number)[buffer * self._blocks : (buffer + 1) * self._blocks]
        rows = (blocks.sort().values[:, None] * BLOCK + torch.arange(BLOCK)).flatten()
        return rows[rows < self.rows]

    def permutation(self, number: int, buffer: int) -> Tensor:
        """[n] in which order the rows of a buffer are trained on."""
        last = self.rows - (self.buffers - 1) * self.buffer_rows
        size = self.buffer_rows if buffer + 1 < self.buffers else last
        return torch.randperm(size, generator=stream(self.seed, "buffer", number, buffer))

    def _shuffle(self, number: int) -> Tensor:
        """[blocks] in which order the blocks of a pass are trained on."""
        if self._shuffled is None or self._shuffled[0] != number:
            whole = self.rows // BLOCK
            blocks = torch.randperm(whole, generator=stream(self.seed, "shuffle", number))
            short = torch.arange(whole, -(-self.rows // BLOCK))  # none, or the one
            self._shuffled = number, torch.cat([blocks, short])
        return self._shuffled[1]


def sampled(count: int, size: int, generator: torch.Generator) -> Tensor:
    """``size`` different numbers below ``count``, or all of them, in random order.

    One from each of ``size`` parts of the range, which is taken as a circle and turned at random,
    so that each number is as likely as any. They are spread over all of it, and take memory for
    themselves alone.
    """
    if size >= count:
        return torch.randperm(count, generator=generator)
    edges = torch.arange(size + 1) * count // size
    draws = torch.rand(size, generator=generator, dtype=torch.float64)
    turn = torch.randint(count, (1,), generator=generator)
    numbers = (edges[:-1] + (draws * edges.diff()).long() + turn) % count
    return numbers[torch.randperm(size, generator=generator)]
