"""Every feature of every cell over training, as images."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.lines import Line2D

from saesweep.figures.style import DPI, RED, number
from saesweep.figures.tracking.data import MARKED, Course, shade
from saesweep.figures.tracking.epochs import EpochAxis
from saesweep.figures.tracking.key import Sample
from saesweep.figures.tracking.kinds import Kind
from saesweep.figures.tracking.page import Panel, Scale


class Features(Kind):
    """Every feature on its own: an image of best cosines."""

    stem, title = "tracking_features", "Every feature over training"
    note = "each row of a panel is a feature; blue where it is learned"
    of_seeds = "Over {} seeds, of those that are done: mean cosines; marks where most seeds agree."

    def scale(self) -> Scale:
        """The most probable feature on top."""
        ticks = [(0.5, "1"), (self.features - 0.5, str(self.features))]
        return Scale("feature, by probability", float(self.features), 0.0, ticks[: self.features])

    def key(self) -> Mapping[str, Sample]:
        """Both colour scales, and the marks."""
        threshold = number(self.threshold)
        colours: dict[str, Sample] = {
            f"best cosine 0 to {threshold}": self._scale(0.0, self.threshold),
            f"{threshold} to 1: learned": self._scale(np.nextafter(self.threshold, 1), 1.0),
        }
        if self.features > MARKED:
            return colours
        moves, for_good = mark(RED, 1.4), mark("black", 1.0)
        return {**colours, "moves to another atom": moves, "learned for good": for_good}

    def _scale(self, low: float, high: float) -> np.ndarray:
        return shade(np.linspace(low, high, 50), self.threshold)[None].astype(np.uint8)

    def caption(self) -> str:
        """Colours and marks."""
        colours = (
            "Features stand in the order of their probability. Colour: the largest cosine of an "
            f"atom with the feature, in greys from 0 (white) to eval.learned_threshold, "
            f"{number(self.threshold)}, in blues from there to 1."
        )
        if self.features > MARKED:
            return f"{colours} Features that share a row are shown by the mean of their colours."
        return (
            f"{colours} A feature moves when another atom than at the snapshot before has its best "
            "cosine, and it is learned at both. From the black mark on it is never unlearned; "
            "without one it is learned always, or not for good."
        )

    def draw(self, panel: Panel, course: Course, epochs: EpochAxis) -> None:
        """The image, as many pixels wide as the panel, and the marks over it."""
        edges = epochs.edges(course.epoch)
        pixels = ceil(panel.wide * DPI)
        centres = (np.arange(pixels) + 0.5) / pixels
        shown = np.searchsorted(edges[1:-1], centres, side="right")
        panel.axes.imshow(
            course.image[:, shown],
            extent=(panel.left, panel.left + panel.wide, panel.top + panel.high, panel.top),
            aspect="auto",
            interpolation="nearest" if len(course.image) <= panel.high * DPI else "antialiased",
        )
        if self.features <= MARKED:
            self._mark(panel, course, edges)

    def _mark(self, panel: Panel, course: Course, edges: np.ndarray) -> None:
        width = 0.9 if self.features <= 40 else 0.6
        rows, when = course.moves.T
        (kept,) = np.nonzero(np.isfinite(course.for_good) & (course.for_good > 0))
        since = np.ceil(course.for_good[kept]).astype(int)
        for x, y, colour, thick in (
            (edges[when], rows, RED, 1.4 * width),
            (edges[since], kept, "black", width),
        ):
            lows, highs = panel.y(y), panel.y(y + 1)
            marks = panel.axes.vlines(panel.x(x), lows, highs, color=colour, linewidth=thick)
            marks.set_snap(False)  # rows may be lower than a pixel: they would be lost


def mark(colour: str, width: float) -> Line2D:
    """A sample of an upright mark."""
    return Line2D(
        [0.5],
        [0],
        color=colour,
        linewidth=0,
        marker="|",
        markersize=7,
        markeredgewidth=width,
    )
