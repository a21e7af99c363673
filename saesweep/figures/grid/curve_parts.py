"""Parts of figures with curves: scales, reference levels, the key to colours, labels at points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from saesweep.figures.labels import label_levels
from saesweep.figures.style import (
    GREY,
    INK,
    Sheet,
    level,
    line_height,
    number,
    rank_colours,
    text_width,
    ticks,
    wants_log,
)

Stroke = tuple[float, tuple[float, ...]]
STROKES: tuple[Stroke, ...] = ((0, ()), (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.5, 1, 1.5)))
MARKERS = "osD^vXPh"
# Inches: room left of axes for their labels, and between axes.
LEFT, GAP = 0.62, 0.28


def stroke(variant: int, variants: int) -> Stroke:
    """The stroke of a variant; all solid where there are more than can be told apart."""
    return STROKES[variant] if variants <= len(STROKES) else STROKES[0]


def strokes(variants: Sequence[str]) -> dict[str, Line2D]:
    """A sample of each variant's stroke; none where there is nothing to tell apart."""
    if len(variants) < 2 or stroke(1, len(variants)) == stroke(0, len(variants)):
        return {}
    return {
        name: Line2D([0, 1], [0, 0], color=INK, linewidth=1, linestyle=stroke(i, len(variants)))
        for i, name in enumerate(variants)
    }


def scale(
    axes: Axes,
    direction: Literal["x", "y"],
    values: np.ndarray,
    headroom: float = 0.04,
    log_above: float = 100,
) -> None:
    """Set the limits, ticks and kind of the "x" or "y" axis: logarithmic above two decades.

    Or where the largest value is more than ``log_above`` times the least.
    """
    finite = values[np.isfinite(values)]
    axis = axes.xaxis if direction == "x" else axes.yaxis
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    limits = axes.set_xlim if direction == "x" else axes.set_ylim
    if wants_log(finite, log_above):
        (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
        reach = high / low
        limits(low / reach**0.04, high * reach**headroom)
        subs = (1.0,) if reach > 100 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=subs, numticks=5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis=direction, which="minor", length=1.5, width=0.4, color=GREY)
        return
    reach = (high - low) or abs(high) or 1.0
    limits(low - 0.04 * reach, high + headroom * reach)
    ticks(axis, 5, whole=bool(np.all(finite == np.round(finite))))


def draw_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Dashed lines at reference values, each with its name and value beside it."""
    finite = {name: value for name, value in levels.items() if np.isfinite(value)}
    names = {name: f"{name} {level(value)}" for name, value in finite.items()}
    label_levels(axes, finite, names)
    for value in finite.values():
        axes.axhline(value, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)


def key_width(values: Sequence[float], names: Sequence[str], *titles: str) -> float:
    """Width in inches that `draw_key` and `draw_names` need."""
    blocks = max(text_width(number(value)) for value in values) + 0.25 if values else 0.0
    samples = max((text_width(name) + 0.35 for name in names), default=0.0)
    return max(*map(text_width, ["", *titles]), blocks, samples) + 0.1


def draw_key(
    sheet: Sheet, left: float, top: float, height: float, values: Sequence[float], title: str
) -> float:
    """The colours of the values as a stack of blocks, rising; returns its bottom."""
    values = sorted(set(values))
    if not values:
        return top
    colours = rank_colours(values)
    sheet.text(left, top, title, va="baseline", color=GREY)
    room = max(height - 0.08, 0.04 * min(len(values), 32))  # room or not, never nothing
    block = min(0.16, room / len(values))
    axes = sheet.axes(left, top + 0.08, 0.14, block * len(values))
    axes.imshow([[colours[value]] for value in values], aspect="auto", origin="lower")
    axes.spines[:].set_visible(False)
    axes.yaxis.tick_right()
    axes.set_xticks([])
    shown = range(0, len(values), ceil(0.125 / block))
    axes.set_yticks(list(shown), [number(values[index]) for index in shown])
    axes.tick_params(length=0, pad=3)
    return top + 0.08 + block * len(values)


def draw_names(sheet: Sheet, left: float, top: float, samples: Mapping[str, Line2D]) -> None:
    """A list of names, each beside a sample of its line."""
    for index, (name, sample) in enumerate(samples.items()):
        middle = top + index * line_height()
        axes = sheet.axes(left, middle - 0.05, 0.26, 0.1)
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(-1, 1))
        axes.add_line(sample)
        sheet.text(left + 0.32, middle, name, va="center_baseline", color=INK)
