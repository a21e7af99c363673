"""The training loop: batches in, one step for the whole stack, a call at every snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from saesweep.config import TrainConfig
from saesweep.data.synthetic import Batch
from saesweep.dictionaries.stack import Stack
from saesweep.training.fused import FusedGradient


class Source(Protocol):
    """Where training batches come from."""

    def batch(self, step: int, size: int) -> Batch:
        """The batch of ``step``, with ``size`` samples."""


def adam(stack: Stack) -> torch.optim.Adam:
    """Adam over the flat parameters of ``stack``, each learning rate's in one kernel."""
    groups = []
    for lr, place in stack.parameters_by_rate():
        parameter = torch.nn.Parameter(stack.parameters[place])
        parameter.grad = stack.gradients[place]
        groups.append({"params": [parameter], "lr": lr})
    return torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-8, fused=True)


@torch.no_grad()
def train(
    stack: Stack,
    source: Source,
    config: TrainConfig,
    snapshot_every: int,
    on_snapshot: Callable[[int, int], bool],
) -> None:
    """Train ``stack`` on batches of ``source``.

    ``on_snapshot(epoch, step)`` is called before the first epoch, after every ``snapshot_every``
    epochs and after the last, with all atoms at norm 1; it returns whether to go on. Nothing else
    in the loop waits for the device.
    """
    gradient = FusedGradient(stack, config.batch_size, config.loss)
    optimiser = adam(stack)
    step = 0
    going = on_snapshot(0, 0)
    for epoch in range(1, config.epochs + 1):
        if not going:
            return
        for _ in range(config.steps_per_epoch):
            gradient(source.batch(step, config.batch_size).x)
            optimiser.step()
            step += 1
        if epoch % snapshot_every == 0 or epoch == config.epochs:
            stack.normalise()
            going = on_snapshot(epoch, step)
