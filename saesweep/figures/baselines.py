"""Box plots of a study of classical methods: how well each finds the features, from how much data.

Rows are methods, boxes are sample sizes; the floor is random atoms, the ceiling the true features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from saesweep.catalogue import METRICS, Metric
from saesweep.config import SweepConfig
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.figures.data.caption import describe
from saesweep.figures.grid.curve_parts import draw_names, key_width
from saesweep.figures.style import (
    GREY,
    INK,
    MARGIN,
    PALE,
    RED,
    TICK,
    WIDTH,
    Sheet,
    line_height,
    rank_colours,
    save,
    text_width,
    ticks,
)
from saesweep.files import Row, read_rows

DRAWN = ("mmcs", "mcc")
"""Metrics that are drawn."""
BOX, BETWEEN, LEAST = 0.13, 0.11, 0.24
"""Inches: a box with its share of the gap, what is between methods, the least a method takes."""
SHOWN_POINTS = 20
"""With more fits a box is drawn without its points."""
SIGNS = "The signs of PCA and ICA atoms are arbitrary: mmcs suffers from that, mcc ignores it."

Group = tuple[str, int]
"""A method and how many atoms it has."""


def draw_baselines(table: Path, config: SweepConfig, folder: Path) -> list[Path]:
    """Draw ``baselines_<metric>.png`` into ``folder``, from the rows of ``baseline_study.csv``."""
    rows = read_rows(table)
    name = f"Classical methods on the data of {config.name}"
    caption = [describe(config.data)]
    return [
        save(
            baseline_boxes(rows, METRICS[key], name, caption),
            folder / f"baselines_{key}.png",
        )
        for key in DRAWN
    ]


def baseline_boxes(
    rows: Sequence[Row], metric: Metric, title: str, caption: Sequence[str] = ()
) -> Figure:
    """A box for each method, number of atoms and sample size, over seeds.

    ``rows`` have the columns ``baseline``, ``dict_size``, ``samples``, ``seed`` and the metric's.
    """
    values = _by_place([row for row in rows if np.isfinite(row[metric.key])], metric.key)
    groups = list(dict.fromkeys(group for group, samples in values if samples))
    sizes = sorted({samples for _, samples in values if samples})
    colours = rank_colours(sizes)
    samples = _key(values, sizes)
    key = key_width([], list(samples))
    names = [_name(group) for group in groups]
    left = max([text_width(name) for name in names], default=0.5) + MARGIN + 0.08
    step = max(LEAST, BOX * len(sizes)) + BETWEEN
    high = max(step * len(groups), len(samples) * line_height(), 0.6)
    sheet = Sheet(title, f"{metric.title}; {_better(metric)}", high + 0.42, _words(metric, caption))
    axes = sheet.axes(left, 0.06, WIDTH - left - key - 0.25, high)
    everything = np.concatenate([np.empty(0), *values.values()])
    _scale(axes, everything, metric)
    axes.set(ylim=(max(len(groups), 1) - 0.5, -0.5))
    axes.set_yticks(range(len(groups)), names)
    axes.tick_params(axis="y", length=0)
    for row, group in enumerate(groups):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color=PALE, alpha=0.35, linewidth=0, zorder=0)
        _floor(axes, row, values.get((("random", group[1]), 0)))
        share = (1 - BETWEEN / step) / max(len(sizes), 1)
        for place, size in enumerate(sizes):
            if (group, size) in values:
                offset = (place - (len(sizes) - 1) / 2) * share
                _box(axes, row + offset, 0.72 * share, values[group, size], colours[size])
    if ceiling := [found for (group, _), found in values.items() if group[0] == "truth"]:
        axes.axvline(ceiling[0].mean(), color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    if not groups:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", fontsize=TICK)
    draw_names(sheet, WIDTH - key, 0.12, samples)
    return sheet.figure


def _by_place(rows: Sequence[Row], key: str) -> dict[tuple[Group, int], np.ndarray]:
    """For each method, number of atoms and sample size its values over seeds, [fits]."""
    found: dict[tuple[Group, int], list[float]] = {}
    for row in rows:
        place = (row["baseline"], row["dict_size"]), row["samples"]
        found.setdefault(place, []).append(row[key])
    return {place: np.array(values, float) for place, values in found.items()}


def _name(group: Group) -> str:
    return f"{METHODS[group[0]].title}, {group[1]:,} atoms"


def _better(metric: Metric) -> str:
    return f"{metric.direction} is better" if metric.direction else "neither way is better"


def _words(metric: Metric, caption: Sequence[str]) -> list[str]:
    signs = [SIGNS] if metric.key == "mmcs" else []
    return [
        f"{metric.key}: {metric.definition}.",
        "A box spans the quartiles over seeds, with the median inside; whiskers reach the last "
        "values within 1.5 times its length. Points are single fits. Random atoms: as many as the "
        "method has, drawn without looking at data.",
        *signs,
        *caption,
    ]


def _key(values: dict[tuple[Group, int], np.ndarray], sizes: Sequence[int]) -> dict[str, Line2D]:
    """A sample of each mark, by its name."""
    colours = rank_colours(sizes)
    marks = {
        f"{size:,} samples": Line2D(
            [0.5], [0], marker="s", color=colours[size], markersize=5, linestyle=""
        )
        for size in sizes
    }
    names = {group[0] for group, _ in values}
    if "random" in names:
        marks["random atoms"] = Line2D([0.5, 0.5], [-0.9, 0.9], color=RED, linewidth=1.4)
    if "truth" in names:
        dashes = (0, (4, 2))
        marks["true features"] = Line2D([0, 1], [0, 0], color=GREY, linewidth=0.8, linestyle=dashes)
    return marks


def _scale(axes: Axes, values: np.ndarray, metric: Metric) -> None:
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    room = 0.05 * ((high - low) or abs(high) or 1.0)
    axes.set_xlim(low - room, high + room)
    ticks(axes.xaxis, 6)
    axes.set_xlabel(metric.key, fontsize=TICK, labelpad=2, color=GREY)
    axes.grid(axis="x", color=PALE, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _floor(axes: Axes, row: int, chance: np.ndarray | None) -> None:
    """What as many random atoms reach, as a bar as high as the method's band."""
    if chance is not None:
        axes.plot([chance.mean()] * 2, [row - 0.42, row + 0.42], color=RED, linewidth=1.4, zorder=2)


def _box(
    axes: Axes, place: float, width: float, values: np.ndarray, colour: tuple[float, ...]
) -> None:
    line = {"color": colour, "linewidth": 0.8}
    axes.boxplot(
        [values],
        positions=[place],
        widths=width,
        orientation="horizontal",
        patch_artist=True,
        manage_ticks=False,
        showfliers=len(values) > SHOWN_POINTS,
        boxprops={"facecolor": (*colour[:3], 0.25), "edgecolor": colour, "linewidth": 0.8},
        medianprops={"color": INK, "linewidth": 1.0},
        whiskerprops=line,
        capprops=line,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
        zorder=3,
    )
    if len(values) <= SHOWN_POINTS:
        axes.plot(
            values, [place] * len(values), ".", color=colour, markersize=3.5, zorder=4, clip_on=True
        )
