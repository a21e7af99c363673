"""From values to places in a panel, and which of them are labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from saesweep.figures.style import number, text_width

Floats = np.ndarray


@dataclass(frozen=True)
class Scale:
    """From values to shares of a panel's side."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def of(cls, values: Floats, log: bool) -> Scale:
        """The scale that holds ``values``."""
        return cls(float(values.min()), float(values.max()), log)

    def __call__(self, values: Floats) -> Floats:
        """Shares in 0.06 … 0.94 for values from ``low`` to ``high``, of any shape."""
        values, ends = np.asarray(values, float), np.array([self.low, self.high])
        if self.log:
            values, ends = np.log(values), np.log(ends)
        reach = (ends[1] - ends[0]) or 1.0
        return np.asarray(0.06 + 0.88 * (values - ends[0]) / reach)

    def ticks(self, room: float, repeat: float) -> list[float]:
        """As many round values as can be labelled along ``room`` inches; maybe none.

        The same labels come again every ``repeat`` inches.
        """
        for values in self._choices():
            around = [*values, *values[:1]]
            places = self(np.array(around)) * room
            places[-1:] += repeat
            widths = np.array([text_width(number(value)) for value in around])
            gaps = np.diff(places) - (widths[1:] + widths[:-1]) / 2
            if values and widths.max() <= room and (gaps > 0.06).all():
                return values
        return []

    def _choices(self) -> list[list[float]]:
        """Sets of ticks, the richest first."""
        if not self.log or self.high / self.low < 5:
            locators = [MaxNLocator(n, steps=[1, 2, 5, 10]) for n in (4, 3, 2, 1)]
            sets = [list(map(float, one.tick_values(self.low, self.high))) for one in locators]
        else:
            first, last = int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high)))
            decades = [10.0**power for power in range(first, last + 1)]
            fine = [digit * decade for decade in decades for digit in (1, 2, 5)]
            sets = [fine, decades, decades[::2], decades[1::2], decades[::3]]
        spare = 1e-9 * (self.high - self.low)
        return [
            [value for value in one if self.low - spare <= value <= self.high + spare]
            for one in sets
        ]
