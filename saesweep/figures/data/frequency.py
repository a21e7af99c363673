"""How often each feature fires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saesweep.figures.style import (
    BLUE,
    GREY,
    INK,
    MARGIN,
    TICK,
    WIDTH,
    PlainNumbers,
    Sheet,
    number,
    ticks,
    wants_log,
)

# As many features as can have a violin each.
MOST_VIOLINS = 24
# As many features as can have a band. Of more, or where rare ones seldom fire in a batch, each has
# one dot for all batches.
MOST_BANDS = 1024


def draw_frequency(
    frequencies: np.ndarray, probabilities: np.ndarray, caption: Sequence[str]
) -> Figure:
    """How often each feature fires: shares [batches, n] over batches, and the target [n] dashed."""
    batches, features = frequencies.shape
    few = features <= MOST_VIOLINS
    dots = not few and (features > MOST_BANDS or wants_log(probabilities))
    if dots:
        note = f"dots: over {batches} batches; line: target probability"
    elif few:
        note = f"violins and dots: spread and median over {batches} batches"
    else:
        note = f"line: median over {batches} batches; bands: the middle 50 % and 90 % of them"
    if not dots:
        note += "; dashed: target probability"
    high = 2.4
    sheet = Sheet("How often each feature fires", note, high + 0.42, caption)
    axes = sheet.axes(MARGIN + 0.55, 0.1, WIDTH - 2 * MARGIN - 0.6, high)
    (_violins if few else _dots if dots else _bands)(axes, frequencies)
    _draw_target(axes, probabilities, few, dots)
    _scale(axes, frequencies, probabilities)
    axes.set_xlabel("feature", fontsize=TICK, labelpad=2, color=GREY)
    what = "share of samples" if dots else "share of samples of a batch"
    axes.set_ylabel(what, fontsize=TICK, labelpad=3, color=GREY)
    return sheet.figure


def _scale(axes: Axes, frequencies: np.ndarray, probabilities: np.ndarray) -> None:
    """Logarithmic where many features or rare ones would be lost; from 0 otherwise."""
    few, many = len(probabilities) <= MOST_VIOLINS, len(probabilities) > MOST_BANDS
    top = max(frequencies.max(initial=0.0), probabilities.max(), 1e-9)
    if wants_log(probabilities) and not few:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(probabilities.min() / 3, min(1.0, 1.5 * top))
        axes.yaxis.set_major_formatter(lambda value, _: number(value))
        axes.yaxis.minorticks_off()
    else:
        axes.set_ylim(0, 1.05 * top)
    if many:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.2, 1.2 * len(probabilities))
        axes.xaxis.set_major_formatter(PlainNumbers())
    else:
        ticks(axes.xaxis, 12, whole=True)


def _violins(axes: Axes, frequencies: np.ndarray) -> None:
    features = np.arange(frequencies.shape[1])
    parts = axes.violinplot(frequencies, features, widths=0.7, showextrema=False)
    bodies: Any = parts["bodies"]  # a list, whatever the stubs say
    for body in bodies:
        body.set(facecolor=BLUE, edgecolor="none", alpha=0.35)
    axes.plot(features, np.median(frequencies, axis=0), "o", color=BLUE, markersize=3)
    axes.set_xlim(-0.6, len(features) - 0.4)


def _bands(axes: Axes, frequencies: np.ndarray) -> None:
    features = np.arange(frequencies.shape[1])
    low, lower, middle, upper, high = np.quantile(
        frequencies, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0
    )
    axes.fill_between(features, low, high, color=BLUE, alpha=0.18, linewidth=0)
    axes.fill_between(features, lower, upper, color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(features, middle, color=BLUE, linewidth=0.8)
    axes.set_xlim(-0.5, len(features) - 0.5)


def _dots(axes: Axes, frequencies: np.ndarray) -> None:
    shares = frequencies.mean(axis=0)
    features = np.arange(len(shares))
    size = 2 if len(shares) > MOST_BANDS else 3.5
    axes.plot(features, shares, ".", color=BLUE, alpha=0.35, markersize=size, markeredgewidth=0)
    axes.set_xlim(-0.02 * len(shares), 1.01 * len(shares))


def _draw_target(axes: Axes, probabilities: np.ndarray, few: bool, dots: bool) -> None:
    """The target as a dashed line; a piece under each violin, as features are no continuum."""
    features = np.arange(len(probabilities))
    style: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 0.9, "zorder": 4}
    if few:
        axes.hlines(probabilities, features - 0.42, features + 0.42, **style)
    else:
        # Dashes would tear where siblings of a hierarchy are scaled down.
        axes.plot(features, probabilities, **{**style, **({"linestyle": "-"} if dots else {})})
