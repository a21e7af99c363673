"""The training loop: batches in, one step for the whole stack, a call at every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from saesweep.config import TrainConfig
from saesweep.data.synthetic import Batch
from saesweep.training.fused import FusedGradient
from saesweep.training.state import TrainingState


class Source(Protocol):
    """Where training batches come from."""

    def batch(self, step: int, size: int) -> Batch:
        """The batch of ``step``, with ``size`` samples."""


def _always(step: int) -> bool:
    return True


@torch.no_grad()
def train(
    state: TrainingState,
    source: Source,
    config: TrainConfig,
    snapshots: Collection[int],
    on_snapshot: Callable[[int, int], bool],
    go_on: Callable[[int], bool] = _always,
) -> bool:
    """Train on from ``state`` on batches of ``source``; whether it came to the end.

    ``on_snapshot(epoch, step)`` is called before the first epoch and after the epochs
    ``snapshots``, with all atoms at norm 1; it returns whether to go on. So does ``go_on(step)``,
    which is called before every step, when all that came before it is recorded. Nothing else in the
    loop waits for the device, but for data that are drawn sparsely, whose number is random.
    """
    gradient = FusedGradient(state.stack, config.batch_size, config.loss)
    if state.step == 0 and not on_snapshot(0, 0):
        return False
    per_epoch = config.steps_per_epoch
    for epoch in range(state.step // per_epoch + 1, config.epochs + 1):
        with _without_denormals():
            while state.step < epoch * per_epoch:
                if not go_on(state.step):
                    return False
                gradient(source.batch(state.step, config.batch_size).x)
                state.adam.step()
                state.step += 1
        if epoch in snapshots:
            state.stack.normalise()
            if not on_snapshot(epoch, state.step):
                return False
    return True


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 as 0 on the CPU, as the processor slows down on them.

    Moments of dead latents decay to such numbers and stay there: with 14 % of them, Adam took 1.23
    ms a step of 2,048 latents at d = 64 instead of 0.27. The setting is the process's, so it is put
    back.
    """
    before = (torch.tensor(1e-40) * 1).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
