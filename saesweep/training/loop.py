"""The training loop: batches in, one step for the whole stack, a call at every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from saesweep.config import TrainConfig
from saesweep.data.batch import Source
from saesweep.dictionaries.variants.relu import Relu
from saesweep.training.autograd import AutogradGradient
from saesweep.training.clipping import clip
from saesweep.training.fused import FusedGradient
from saesweep.training.reviving.cures import Cure
from saesweep.training.state import TrainingState


class Gradient(Protocol):
    """Fills a stack's gradients on a batch."""

    def __call__(
        self,
        x: Tensor,
        step: int = 0,
        strength: float = 1.0,
        fired: Sequence[Tensor] | None = None,
    ) -> None:
        """On ``x`` [batch, d_in], with penalties times ``strength``; `fired` counts latents."""


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
    loop waits for the device, but for data that are drawn sparsely, whose number is random, and the
    look for dead latents once a window.
    """
    gradient, cure = gradient_of(state, config), Cure(state, source)
    if state.step == 0 and not _shown(state, 0, on_snapshot):
        return False
    per_epoch = config.steps_per_epoch
    for epoch in range(state.step // per_epoch + 1, config.epochs + 1):
        with _without_denormals():
            while state.step < epoch * per_epoch:
                if not go_on(state.step):
                    return False
                x = source.batch(state.step, config.batch_size).x
                step(state, gradient, cure, x)
        if epoch in snapshots and not _shown(state, epoch, on_snapshot):
            return False
    return True


def gradient_of(state: TrainingState, config: TrainConfig) -> Gradient:
    """What computes the gradients of the stack of ``state``: by hand where that was written."""
    variant = state.stack.groups[0].variant
    if isinstance(variant, Relu) and variant.is_plain and state.annealing is None:
        return FusedGradient(state.stack, config.batch_size, config.loss)
    return AutogradGradient(state.stack, config.batch_size, config.loss, state.annealing)


def step(state: TrainingState, gradient: Gradient, cure: Cure, x: Tensor) -> None:
    """One step of every cell on ``x`` [batch, d_in]."""
    gradient(x, state.step, state.schedule.penalty(state.step), cure.fired)
    cure.add_gradient(x)
    state.stack.project()
    if state.train.clip_norm > 0:
        clip(state.stack, state.train.clip_norm)
    state.optimiser.step(state.schedule.lr(state.step))
    state.step += 1
    if state.average is not None:
        state.average.update(state.step)
    cure.after_step()


def _shown(state: TrainingState, epoch: int, on_snapshot: Callable[[int, int], bool]) -> bool:
    """Let the weights be measured after ``epoch``; whether to go on."""
    with state.measured():
        return on_snapshot(epoch, state.step)


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
