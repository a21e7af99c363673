"""What the lines, areas and colours of a figure of tracked features mean, above its panels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.lines import Line2D

from saesweep.figures.style import MARGIN, WIDTH, Sheet, text_width

Sample = Line2D | np.ndarray
"""A line from (0, 0) to (1, 0), or colours from left to right [1, n, 3]."""
LINE, SAMPLE, GAP = 0.17, 0.27, 0.22  # inches


class Key:
    """Names, each beside its sample, in as many lines as it takes."""

    def __init__(self, samples: Mapping[str, Sample]) -> None:
        self.samples = samples
        self.lines: list[list[tuple[float, str]]] = []
        left = WIDTH
        for name in samples:
            room = SAMPLE + text_width(name)
            if left + room > WIDTH - MARGIN:
                self.lines.append([])
                left = MARGIN
            self.lines[-1].append((left, name))
            left += room + GAP

    @property
    def height(self) -> float:
        """In inches."""
        return LINE * len(self.lines)

    def draw(self, sheet: Sheet) -> None:
        """Draw it at the top of the body."""
        for index, line in enumerate(self.lines):
            for left, name in line:
                middle = 0.08 + LINE * index
                axes = sheet.axes(left, middle - 0.05, SAMPLE - 0.05, 0.1)
                axes.set_axis_off()
                sample = self.samples[name]
                if isinstance(sample, Line2D):
                    axes.add_line(sample)
                else:
                    axes.imshow(sample, extent=(0, 1, -1, 1), aspect="auto")
                axes.set(xlim=(0, 1), ylim=(-1, 1))
                sheet.text(left + SAMPLE, middle, name, va="center_baseline")
