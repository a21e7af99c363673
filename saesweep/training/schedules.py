"""What changes from step to step: learning rate, weight of the penalty, and its power."""

from __future__ import annotations

import math
from collections.abc import Callable

from saesweep.config import TrainConfig

DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
}
"""By name the share of the learning rate that is left, of the share of the decay that is over."""


class Schedule:
    """The factors of ``train`` at each of its steps, known beforehand: no step waits for a device.

    >>> schedule = Schedule(TrainConfig(epochs=10, lr_warmup=0.2, lr_decay="linear"))
    >>> [round(schedule.lr(step), 3) for step in range(0, 10, 3)]
    [0.5, 0.875, 0.5, 0.125]
    """

    def __init__(self, train: TrainConfig) -> None:
        self.train = train
        self.steps = train.epochs * train.steps_per_epoch

    def lr(self, step: int) -> float:
        """What the learning rate is multiplied by in the step after ``step`` steps."""
        rise = self._warmup(self.train.lr_warmup)
        if step < rise:
            return (step + 1) / rise
        return DECAYS[self.train.lr_decay]((step - rise) / (self.steps - rise))

    def penalty(self, step: int) -> float:
        """What the penalty is multiplied by."""
        rise = self._warmup(self.train.penalty_warmup)
        return (step + 1) / rise if step < rise else 1.0

    def power(self, step: int, first: float) -> float:
        """The power of the penalty: from ``first`` to `lp_end`, or ``first`` if that is 0."""
        if self.train.lp_end == 0:
            return first
        rise = self._warmup(self.train.penalty_warmup)
        progress = max(0, step - rise) / max(1, self.steps - 1 - rise)
        return first + (self.train.lp_end - first) * min(1.0, progress)

    def _warmup(self, share: float) -> int:
        return round(share * self.steps)
