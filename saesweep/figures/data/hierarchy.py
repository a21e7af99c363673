"""The trees of a hierarchy: which children fire where their parents do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from saesweep.data_config import HierarchyConfig
from saesweep.figures.style import (
    GREY,
    INK,
    MARGIN,
    TICK,
    VALUES,
    WIDTH,
    Sheet,
    line_height,
    text_width,
    ticks,
)

Box = tuple[int, float, float]
"""A feature, where it begins, and how wide it is: its probability as a share of its root's."""


def draw_hierarchy(
    hierarchy: HierarchyConfig,
    probabilities: np.ndarray,
    frequencies: np.ndarray,
    caption: Sequence[str],
) -> Figure:
    """The tree of feature 0, and how often children fire with their parents.

    ``probabilities`` [n], and ``frequencies`` [batches, n]: the measured shares of samples.
    """
    note = (
        "left: a box's width is how often its feature fires where feature 0 does; children stand "
        "under their parent, and where nothing stands none of them fires; right: how often each "
        "child fires where its parent does, measured and (dashed) by the law"
    )
    side = 2.0
    wide = WIDTH - 2 * MARGIN - side - 0.75
    sheet = Sheet("Hierarchy of features", note, side + 0.62, caption)
    axes = sheet.axes(MARGIN, 0.2, wide, side)
    sheet.text(MARGIN, 0.14, "the tree of feature 0, level by level", va="baseline")
    colours = [
        colormaps[VALUES](0.12 + 0.75 * i / hierarchy.depth) for i in range(hierarchy.depth + 1)
    ]
    _draw_tree(axes, tree(hierarchy, probabilities), wide, side, colours)

    left = WIDTH - MARGIN - side - 0.05
    axes = sheet.axes(left, 0.2, side, side)
    sheet.text(left, 0.14, "child given its parent", va="baseline")
    shares = frequencies.mean(axis=0)
    lines, top = [], 0.0
    for level, (parents, children) in enumerate(pairwise(hierarchy.levels()), start=1):
        above = np.repeat(np.asarray(parents), hierarchy.branching)
        below = slice(children.start, children.stop)
        with np.errstate(invalid="ignore"):
            law, seen = probabilities[below] / probabilities[above], shares[below] / shares[above]
        top = max(top, 1.08 * _quantile(law, 1), 1.02 * _quantile(seen, 0.999))
        size = 4.0 if len(children) <= 200 else 2.0
        name = f"level {level}"
        lines += axes.plot(law, seen, ".", color=colours[level], markersize=size, alpha=0.5,
                           markeredgewidth=0, label=name)  # fmt: skip
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.7, dashes=(4, 2))
    axes.set(xlim=(0, top), ylim=(0, top))
    for axis in (axes.xaxis, axes.yaxis):
        ticks(axis, 5)
    axes.set_xlabel("probability", fontsize=TICK, labelpad=2, color=GREY)
    axes.set_ylabel("share of samples", fontsize=TICK, labelpad=2, color=GREY)
    for row, line in enumerate(lines):
        axes.text(
            0.04, 0.94 - row * line_height() / side, f"● {line.get_label()}",
            color=line.get_color(), fontsize=TICK, transform=axes.transAxes,
        )  # fmt: skip
    return sheet.figure


def _quantile(values: np.ndarray, share: float) -> float:
    """Of those that are finite; 0 where none is: parents that never fire have no such share."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if finite.size else 0.0


def tree(hierarchy: HierarchyConfig, probabilities: np.ndarray) -> list[list[Box]]:
    """The boxes of the tree of feature 0, level by level, on a root of width 1."""
    rows: list[list[Box]] = [[(0, 0.0, 1.0)]]
    for parents, children in pairwise(hierarchy.levels()):
        row = []
        for parent, start, _ in rows[-1]:
            first = children.start + (parent - parents.start) * hierarchy.branching
            siblings = slice(first, first + hierarchy.branching)
            widths = probabilities[siblings] / probabilities[0]
            starts = start + np.cumsum(widths) - widths
            row += [
                (first + i, float(begin), float(width))
                for i, (begin, width) in enumerate(zip(starts, widths, strict=True))
            ]
        rows.append(row)
    return rows


def _draw_tree(
    axes: Axes,
    rows: list[list[Box]],
    wide: float,
    high: float,
    colours: Sequence[tuple[float, ...]],
) -> None:
    axes.set(xlim=(0, 1), ylim=(len(rows), 0))
    axes.set_axis_off()
    for level, row in enumerate(rows):
        boxes = [Rectangle((start, level + 0.04), width, 0.92) for _, start, width in row]
        collection = PatchCollection(
            boxes, facecolor=colours[level], edgecolor="white", linewidth=0.4
        )
        axes.add_collection(collection)
        for feature, start, width in row:
            text = str(feature)
            fits = text_width(text) < 0.9 * width * wide and line_height() < 0.9 * high / len(rows)
            if fits:
                dark = level < 0.6 * len(rows)
                axes.text(start + width / 2, level + 0.5, text, ha="center", va="center",
                          fontsize=TICK, color="white" if dark else INK)  # fmt: skip
