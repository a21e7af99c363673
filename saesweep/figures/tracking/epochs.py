"""Where epochs stand on the axes of tracked features, and which of them are written there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.ticker import MaxNLocator

from saesweep.figures.style import number, text_width, wants_log

# On a logarithmic axis, the share of the width between epoch 0 and the first one after it.
ZERO_ROOM = 0.08
APART = 0.06  # inches between labels

Tick = tuple[float, str, str]
"""Place from 0 to 1, label, and its alignment: left, center or right."""


class EpochAxis:
    """Places from 0 to 1 for epochs from 0 to the last of `epochs` (arrays of any length).

    Logarithmic where the snapshots are: over more than two decades, most of them in the first
    tenth of the time. Epoch 0, which has no logarithm, then stands alone on the left.
    """

    def __init__(self, epochs: Sequence[np.ndarray]) -> None:
        every = np.unique(np.concatenate([[0, 1], *epochs]).astype(float))
        recorded = np.unique(np.concatenate([[1], *epochs]))
        later = recorded[recorded > 0]
        self.first, self.last = float(later[0]), float(every[-1])
        self.logarithmic = wants_log(later) and float(np.median(later)) < self.last / 10

    def places(self, epochs: np.ndarray) -> np.ndarray:
        """The place of each epoch [n], from 0 to 1."""
        epochs = np.asarray(epochs, dtype=float)
        if not self.logarithmic:
            return epochs / self.last
        later = np.log(np.maximum(epochs, self.first) / self.first)
        places = ZERO_ROOM + (1 - ZERO_ROOM) * later / np.log(self.last / self.first)
        answer: np.ndarray = np.where(epochs > 0, places, 0.0)
        return answer

    def edges(self, epochs: np.ndarray) -> np.ndarray:
        """Borders [n + 1] between snapshots at `epochs` [n]: half-way, and the ends at 0 and 1."""
        places = self.places(epochs)
        return np.concatenate([[0.0], (places[1:] + places[:-1]) / 2, [1.0]])

    def ticks(self, width: float) -> list[Tick]:
        """Place, label and alignment of ticks on an axis `width` inches long.

        Labels at the ends are turned inwards, so that they do not meet those of the next panel.
        The list is empty where there is no room for two.
        """
        for values in self._candidates(width):
            ticks = []
            for value, place in zip(values, self.places(np.array(values)), strict=True):
                align = "left" if place < 0.1 else "right" if place > 0.9 else "center"
                ticks.append((float(place), number(value), align))
            if all(_clear(a, b, width) for a, b in pairwise(ticks)):
                return ticks
        return []

    def _candidates(self, width: float) -> list[list[float]]:
        """Values to write, from many to few."""
        if self.logarithmic:
            low, high = np.ceil(np.log10(self.first)), np.floor(np.log10(self.last))
            return [
                [0.0, *(10.0 ** np.arange(low, high + 1)[::-1][::step][::-1])] for step in (1, 2, 3)
            ] + [[0.0, self.last]]
        most = max(1, int(width / 0.45))
        lists = []
        for count in range(most, 0, -1):
            values = MaxNLocator(count, steps=[1, 2, 5, 10], integer=True).tick_values(0, self.last)
            lists.append([float(value) for value in values if 0 <= value <= self.last])
        return [*(values for values in lists if len(values) > 1), [0.0, self.last]]


def label_end(tick: Tick, width: float) -> float:
    """Where the label of a tick ends, in inches, on an axis `width` inches long."""
    place, label, align = tick
    return place * width + {"left": 1.0, "center": 0.5, "right": 0.0}[align] * text_width(label)


def _clear(left: Tick, right: Tick, width: float) -> bool:
    """Whether two labels next to each other are apart."""
    start = label_end(right, width) - text_width(right[1])
    return start - label_end(left, width) >= APART
