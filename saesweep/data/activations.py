"""Training batches from activations in files, in an order that needs no state."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.data.moments import moments
from saesweep.data.order import Order, Split, sampled
from saesweep.data.shards import Shards
from saesweep.errors import RunError
from saesweep.seeding import stream


@dataclass(frozen=True)
class Normalization:
    """x' = (x - mean) · scale.

    >>> normal = Normalization(torch.tensor([1.0, 2.0]), 0.5)
    >>> normal.apply(torch.tensor([[3.0, 2.0]]))
    tensor([[1., 0.]])
    """

    mean: Tensor
    """[d_in] float32"""
    scale: float

    @classmethod
    def of(cls, kind: Literal["none", "mean", "scale", "both"], shards: Shards) -> Normalization:
        """``mean`` takes off the mean; ``scale`` makes the mean of ‖x'‖² equal to d_in."""
        mean, square = torch.zeros(shards.d_in, dtype=torch.float64), float(shards.d_in)
        if kind != "none":
            found, all_squares = moments(shards)
            if kind != "scale":
                mean = found
            if kind != "mean":
                # Σ‖x - mean‖²/n = Σ‖x‖²/n - ‖mean‖²
                square = all_squares - float(mean.square().sum())
                if square <= 1e-12 * all_squares:
                    place = shards.files[0].parent
                    raise RunError(f"{place}: all rows are the same: they have no scale")
        return cls(mean.float(), (shards.d_in / square) ** 0.5)

    def apply(self, x: Tensor) -> Tensor:
        """``x`` [..., d_in] normalised."""
        return (x - self.mean.to(x.device)) * self.scale

    def apply_(self, x: Tensor) -> Tensor:
        """The same in place, on the CPU."""
        return x.sub_(self.mean).mul_(self.scale)

    def undo(self, x: Tensor) -> Tensor:
        """``x`` [..., d_in] as it was before."""
        return x / self.scale + self.mean.to(x.device)


def split_of(shards: Shards, held_out: float) -> Split:
    """Which rows of ``shards`` are held out; ``RunError`` where none is, or none is left."""
    split = Split(shards.rows, held_out)
    if min(split.train_rows, split.held_rows) < 1:
        raise RunError(
            f"{shards.files[0].parent}: {shards.rows} rows are too few: held out are "
            f"{split.held_rows}, trained on {split.train_rows}, and both need one"
        )
    return split


class _Fill:
    """A buffer that a thread fills. It knows nothing of the source, which so can be dropped."""

    def __init__(
        self,
        key: tuple[int, int],
        shards: Shards,
        rows: Tensor,
        memory: Tensor,
        normalization: Normalization,
    ) -> None:
        """Begin to copy ``rows`` [n] to ``memory`` [n or more, d_in]."""
        self.key, self.memory = key, memory
        self._task = (shards, rows, memory[: len(rows)], normalization)
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="saesweep-shards")
        self._thread.start()

    def _run(self) -> None:
        shards, rows, x, normalization = self._task
        try:
            shards.copy(rows, x, lambda: not self._stopped.is_set())
            if not self._stopped.is_set():
                normalization.apply_(x)
        except BaseException as error:  # whatever it is, the trainer shall hear of it
            self._error = error

    def wait(self) -> None:
        """Until it is full; raises what the thread met."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Give up, after the part that is being copied: milliseconds."""
        self._stopped.set()
        self._thread.join()


class ActivationSource:
    """Batches of rows of ``shards``, normalised; some stretches are held out for the evaluation.

    The batch of a step is a pure function of the seed, so a checkpoint needs the step alone. Two
    buffers of ``buffer_rows`` rows are in memory: one is drawn from while a thread fills the next;
    where all rows to train on fit one, there is one. Steps in their order are fast; a jump waits
    until the buffer of its step is read. For one thread at a time.
    """

    def __init__(
        self,
        shards: Shards,
        seed: int,
        *,
        held_out: float,
        normalization: Normalization,
        buffer_rows: int = 1 << 17,
        device: str = "cpu",
    ) -> None:
        """``held_out`` is the share of the rows that are never trained on."""
        self.shards, self.seed, self.device = shards, seed, device
        self.normalization = normalization
        self._split = split_of(shards, held_out)
        self.d_in = shards.d_in
        self.train_rows, self.held_rows = self._split.train_rows, self._split.held_rows
        self.features = torch.zeros(0, self.d_in)
        """[0, d_in]: none is known."""
        self.bias = torch.zeros(self.d_in)
        """[d_in]: none is known."""
        self._order = Order(self.train_rows, buffer_rows, seed)
        self._fills: list[_Fill] = []  # the one that is drawn from, and the next
        self._permutation: tuple[tuple[int, int], Tensor] | None = None
        # A thread that outlived the interpreter would crash it; this also runs at exit.
        self._close = weakref.finalize(self, _stop_all, self._fills)

    def close(self) -> None:
        """Stop reading ahead, and give the buffers' memory back. A batch begins anew."""
        _stop_all(self._fills)

    def batch(self, step: int, size: int) -> Batch:
        """The training batch of ``step``: rows [size, d_in], on the source's device."""
        on_cuda = torch.device(self.device).type == "cuda"
        x = torch.empty(size, self.d_in, pin_memory=on_cuda)
        done = 0
        while done < size:  # it may cross the end of a buffer, or of a pass
            number, buffer, start = self._order.place(step * size + done)
            content, permutation = self._buffer((number, buffer))
            rows = permutation[start : start + size - done]
            torch.index_select(content, 0, rows, out=x[done : done + len(rows)])
            done += len(rows)
        return Batch(x.to(self.device, non_blocking=True))

    def evaluation_set(self, size: int) -> Batch:
        """``size`` rows of those held out, or all of them, on the source's device."""
        return self.sample_set("eval", size).to(self.device)

    def sample_set(self, name: str, size: int) -> Batch:
        """``size`` rows from the stream ``name``, or all that there are, on the CPU always.

        Those of "eval" are held out; others are of those trained on. No row is there twice.
        """
        held = name == "eval"
        count = self.held_rows if held else self.train_rows
        numbers = sampled(count, size, stream(self.seed, name))
        ordered, order = numbers.sort()
        rows = self._split.held(ordered) if held else self._split.trained(ordered)
        x = self.shards.copy(rows, torch.empty(len(rows), self.d_in))
        return Batch(self.normalization.apply_(x)[order.argsort()])

    def _buffer(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What is in a buffer of a pass [rows, d_in], and in which order it is drawn [rows]."""
        if self._permutation is None or self._permutation[0] != key:
            self._permutation = key, self._order.permutation(*key)
        if self._order.buffers == 1:
            if not self._fills:  # else the same rows in another order
                self._begin(key)
        elif not self._fills or self._fills[0].key != key:
            self._turn_to(key)
        self._wait()
        return self._fills[0].memory, self._permutation[1]

    def _turn_to(self, key: tuple[int, int]) -> None:
        """Make the buffer ``key`` the one that is drawn from, and have the next one filled."""
        spare = [fill.memory for fill in self._fills if fill.key != key]
        for fill in [fill for fill in self._fills if fill.key != key]:
            fill.stop()
            self._fills.remove(fill)
        if not self._fills:
            self._begin(key, spare)
        self._wait()  # else two would read at once, against each other
        self._begin(self._order.after(*key), spare)

    def _begin(self, key: tuple[int, int], spare: list[Tensor] | None = None) -> None:
        memory = spare.pop() if spare else torch.empty(self._order.buffer_rows, self.d_in)
        rows = self._split.trained(self._order.content(*key))
        self._fills.append(_Fill(key, self.shards, rows, memory, self.normalization))

    def _wait(self) -> None:
        try:
            self._fills[0].wait()
        except BaseException:
            self.close()  # so that the next call does not draw from a buffer that is half full
            raise


def _stop_all(fills: list[_Fill]) -> None:
    while fills:
        fills.pop().stop()
