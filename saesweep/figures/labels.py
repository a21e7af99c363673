"""Labels that are moved until they touch neither each other nor what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from saesweep.figures.style import DPI, GREY, INK, TICK, text_width

Box = tuple[float, float, float, float]
HALO: list[patheffects.AbstractPathEffect] = [
    patheffects.withStroke(linewidth=2, foreground="white")
]


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least `gap`, within [low, high], each as little as may be.

    Labels keep their order. Pools of neighbours that collide share the mean of their wishes, which
    is the least-squares answer. Labels that cannot all fit overflow at the high end.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([positions[index] - rank * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    wishes = [float(np.mean(pool)) for pool in pools for _ in pool]
    placed = [0.0] * len(positions)
    for rank, index in enumerate(order):
        most = high - (len(positions) - 1) * gap
        placed[index] = max(low, min(wishes[rank], most)) + rank * gap
    return placed


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    paths: Sequence[np.ndarray],
) -> bool:
    """Write each name beside its point, clear of the `paths` ([n, 2] each) and of other names.

    Places are tried around the point, near ones first. Nothing is written, and the answer is
    False, when a name finds no place.
    """
    inch = axes.transData.transform
    frame = np.asarray(axes.get_window_extent().extents) / DPI
    drawn = [_along(inch(path) / DPI) for path in paths if len(path)]
    marks = [(*(xy - 0.04), *(xy + 0.04)) for xy in np.concatenate([np.empty((0, 2)), *drawn])]
    placed: list[Box] = []
    for point, name in zip(points, names, strict=True):
        x, y = inch(point) / DPI
        wide, high = text_width(name), 0.11
        for reach, turn in ((r, t) for r in (0.09, 0.14, 0.2, 0.28) for t in range(0, 360, 30)):
            across, up = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            left = x + reach * across + (across - 1) / 2 * wide
            low = y + reach * up + (up - 1) / 2 * high
            box = (left, low, left + wide, low + high)
            inside = box[0] > frame[0] and box[1] > frame[1] and box[2] < frame[2]
            if inside and box[3] < frame[3] and not any(_meet(box, o) for o in placed + marks):
                placed.append(box)
                break
        else:
            return False
    for box, name in zip(placed, names, strict=True):
        corner = axes.transAxes.inverted().transform(np.array(box[:2]) * DPI)
        axes.text(corner[0], corner[1], name, fontsize=TICK, color=INK, transform=axes.transAxes)
    return True


def label_levels(axes: Axes, levels: Mapping[str, float], names: Mapping[str, str]) -> None:
    """Write a name above or below each level, at its right or left end, where least is covered."""
    to_share = axes.transData + axes.transAxes.inverted()
    size = np.asarray(axes.get_window_extent().size) / DPI
    paths = [_along(to_share.transform(line.get_xydata())) for line in axes.lines]
    drawn = np.concatenate([np.empty((0, 2)), *paths])
    placed: list[Box] = []
    for key, value in levels.items():
        wide, high = text_width(names[key]) / size[0], 0.12 / size[1]
        level = float(to_share.transform((axes.get_xlim()[1], value))[1])
        lefts = (0.985 - wide, 0.015)
        boxes = [
            (left, low, left + wide, low + high)
            for left in lefts
            for low in (level + 0.02 / size[1], level - high)
        ]
        costs = [_cost(box, drawn, placed) for box in boxes]
        placed.append(boxes[int(np.argmin(costs))])
    for key, box in zip(levels, placed, strict=True):
        text = axes.text(box[0], box[1] + 0.02 / size[1], names[key], fontsize=TICK, color=GREY)
        text.set(transform=axes.transAxes, path_effects=HALO)


def _cost(box: Box, drawn: np.ndarray, placed: Sequence[Box]) -> int:
    """How many points a label would cover; far more when it meets another or leaves the axes."""
    inside = (drawn > box[:2]).all(axis=1) & (drawn < box[2:]).all(axis=1)
    outside = box[1] < 0 or box[3] > 1
    return int(inside.sum()) + 100_000 * (outside + sum(_meet(box, other) for other in placed))


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _along(path: np.ndarray) -> np.ndarray:
    """Points along a path [n, 2], close enough together that no label slips between them."""
    if not len(path):
        return path
    steps = np.linspace(0, len(path) - 1, max(400, len(path)))
    columns = [np.interp(steps, np.arange(len(path)), column) for column in path.T]
    return np.stack(columns, axis=1)
