"""A running mean of the weights, to be measured and kept in their place."""

from __future__ import annotations

from saesweep.dictionaries.stack import Stack


class Average:
    """mean ← d mean + (1 - d) weights; d = ``decay``, or (1 + t) / (10 + t) while that is less.

    So the first steps, of which a slow mean would be full for long, are soon forgotten.
    """

    def __init__(self, stack: Stack, decay: float) -> None:
        self.stack, self.decay = stack, decay
        self.parameters = stack.parameters.clone()
        """[parameters] the mean"""

    def update(self, step: int) -> None:
        """Take up the weights after ``step`` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        self.parameters.lerp_(self.stack.parameters, 1 - decay)
