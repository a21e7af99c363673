"""The figures of tracked features: what each of them draws in the panel of a cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import floor
from typing import ClassVar

import numpy as np
from matplotlib.lines import Line2D

from saesweep.figures.style import BLUE, GREEN, GREY, RED, number
from saesweep.figures.tracking.data import Course
from saesweep.figures.tracking.epochs import EpochAxis
from saesweep.figures.tracking.key import Sample
from saesweep.figures.tracking.page import Panel, Scale

SKY, AMBER, PINK, DARK, BAND = "#56b4e9", "#e69f00", "#cc79a7", "#5c5c5c", "#c3dcee"
"""From the palette of Okabe and Ito, as the colours of `style` are; a grey, and a pale blue."""
ROUND_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


class Kind(ABC):
    """A figure: its words, its scale, and how a panel is drawn.

    `courses` are all that have records, `features` how many features there are.
    """

    stem: str
    title: str
    note: str
    of_seeds = "Means over {} seeds, of those that are done."

    def __init__(self, courses: Sequence[Course], features: int, threshold: float) -> None:
        self.courses, self.features, self.threshold = courses, features, threshold

    @abstractmethod
    def scale(self) -> Scale:
        """What all panels share upright."""

    @abstractmethod
    def key(self) -> Mapping[str, Sample]:
        """The names of what is drawn, each with a sample."""

    @abstractmethod
    def caption(self) -> str:
        """What is shown, in sentences."""

    @abstractmethod
    def draw(self, panel: Panel, course: Course, epochs: EpochAxis) -> None:
        """Draw one cell."""


class Counts(Kind):
    """How many features are learned, and since when."""

    stem, title = "tracking_counts", "Features learned and unlearned over training"
    note = "each panel counts features; the top of the stack is how many are learned"
    areas: ClassVar = {
        "same_atom": (SKY, "same atom as before"),
        "moved": (AMBER, "moved to another atom"),
        "newly_learned": (GREEN, "newly learned"),
        "unlearned": (RED, "unlearned (below zero)"),
    }

    def scale(self) -> Scale:
        """From the most that are unlearned at once, below zero, to all features."""
        unlearned = max((float(c.columns["unlearned"].max()) for c in self.courses), default=0.0)
        low = -max(unlearned, 0.04 * self.features)
        ticks = [(0.0, "0"), (float(self.features), str(self.features))]
        return Scale("features", low * 1.1, self.features * 1.02, ticks)

    def key(self) -> Mapping[str, Sample]:
        """A block for each area."""
        return {name: block(colour) for colour, name in self.areas.values()}

    def caption(self) -> str:
        """What counts as what."""
        return (
            "A feature is learned when the largest cosine of an atom with it is above "
            f"eval.learned_threshold, {number(self.threshold)}. Each snapshot is compared with the "
            "one before it, and fills the time since: learned at both by the same atom, or by "
            "another one (moved); newly learned; unlearned."
        )

    def draw(self, panel: Panel, course: Course, epochs: EpochAxis) -> None:
        """What happened between two snapshots fills the time between them."""
        x = epochs.places(course.epoch)
        stacked = ("same_atom", "moved", "newly_learned")
        colours = [self.areas[name][0] for name in stacked]
        fill(panel, x, [course.columns[name] for name in stacked], colours)
        fill(panel, x, [-course.columns["unlearned"]], [self.areas["unlearned"][0]])


class Cosines(Kind):
    """The best cosines, and their spread over features."""

    stem, title = "tracking_cosines", "Best cosine of each feature over training"
    note = "higher is better; each panel shows the spread over features"

    def scale(self) -> Scale:
        """From the tenth below the lowest quantile, or the threshold, to 1."""
        finite = [c.quantiles[np.isfinite(c.quantiles)] for c in self.courses]
        lows = [float(values.min()) for values in finite if values.size]
        lowest = floor(10 * min([*lows, self.threshold - 0.05])) / 10
        return Scale("best cosine", lowest, 1.0, [(lowest, number(lowest)), (1.0, "1")])

    def key(self) -> Mapping[str, Sample]:
        """Line, band, line, dashes."""
        dashes = Line2D([0, 1], [0, 0], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
        return {
            "mean over features": Line2D([0, 1], [0, 0], color=BLUE, linewidth=1.3),
            "10 % to 90 % quantile": block(BAND),
            "mean over learned features": Line2D([0, 1], [0, 0], color=RED, linewidth=1.0),
            f"threshold {number(self.threshold)}": dashes,
        }

    def caption(self) -> str:
        """What is averaged."""
        return (
            "The best cosine of a feature is the largest signed cosine of an atom with it; its "
            "mean over features is mmcs. A feature is learned above the threshold, "
            "eval.learned_threshold; the mean over learned features begins where there are some, "
            "and lies under the other where all are."
        )

    def draw(self, panel: Panel, course: Course, epochs: EpochAxis) -> None:
        """The band under the lines."""
        x = panel.x(epochs.places(course.epoch))
        low, high = panel.y(course.quantiles)
        panel.axes.fill_between(x, low, high, color=BAND, linewidth=0)
        ends, levels = panel.x(np.arange(2)), panel.y(np.full(2, self.threshold))
        panel.axes.plot(ends, levels, color=GREY, linewidth=0.6, linestyle=(0, (4, 2)))
        for name, colour, width in (("mean_cosine_learned", RED, 0.8), ("mean_cosine", BLUE, 1.1)):
            panel.axes.plot(x, panel.y(course.columns[name]), color=colour, linewidth=width)


class Dead(Kind):
    """How many latents never fire, and since when."""

    stem, title = "tracking_dead", "Dead neurons over training"
    note = "lower is better; each panel shows shares of the cell's latents"
    areas: ClassVar = {
        "still_dead": (DARK, "dead, as before"),
        "newly_dead": (PINK, "newly dead"),
        "revived": (GREEN, "revived (below zero)"),
    }

    def scale(self) -> Scale:
        """To the next round share above the largest; below zero as far as some are revived."""
        most = max((float(np.max(share(c, "dead"))) for c in self.courses), default=0.0)
        revived = max((float(np.max(share(c, "revived"))) for c in self.courses), default=0.0)
        high = next(top for top in ROUND_SHARES if top >= most - 1e-9)
        ticks = [(0.0, "0"), (high, f"{100 * high:.0f} %")]
        return Scale("share of latents", -1.1 * max(revived, 0.04 * high), high * 1.02, ticks)

    def key(self) -> Mapping[str, Sample]:
        """A block for each area."""
        return {name: block(colour) for colour, name in self.areas.values()}

    def caption(self) -> str:
        """What is dead."""
        return (
            "Dead neurons are latents that never fire on the evaluation set. Each snapshot is "
            "compared with the one before it, and fills the time since: dead at both, newly dead, "
            "or revived. The top of the stack is how many are dead."
        )

    def draw(self, panel: Panel, course: Course, epochs: EpochAxis) -> None:
        """What happened between two snapshots fills the time between them."""
        x = epochs.places(course.epoch)
        newly = share(course, "newly_dead")
        stack = [share(course, "dead") - newly, newly]
        fill(panel, x, stack, [self.areas["still_dead"][0], self.areas["newly_dead"][0]])
        fill(panel, x, [-share(course, "revived")], [self.areas["revived"][0]])


def share(course: Course, name: str) -> np.ndarray:
    """A count of latents [T] as a share of the dictionary."""
    part: np.ndarray = course.columns[name] / course.dict_size
    return part


def block(colour: str) -> Line2D:
    """A sample of an area."""
    return Line2D([0, 1], [0, 0], color=colour, linewidth=6, solid_capstyle="butt")


def fill(panel: Panel, x: np.ndarray, stack: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    """Areas on top of each other; the value at a snapshot fills the time since the one before."""
    base = np.zeros(len(x))
    for layer, colour in zip(stack, colours, strict=True):
        if layer.any():
            low, high = panel.y(base), panel.y(base + layer)
            panel.axes.fill_between(panel.x(x), low, high, step="pre", color=colour, linewidth=0)
        base = base + layer
    ends, zero = panel.x(np.arange(2)), panel.y(np.zeros(2))
    panel.axes.plot(ends, zero, color=GREY, linewidth=0.4)
