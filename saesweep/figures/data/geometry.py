"""Data figures in two and three dimensions: vectors in and about the unit circle or sphere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from saesweep.figures.camera import camera
from saesweep.figures.labels import label_points
from saesweep.figures.style import (
    BLUE,
    GREEN,
    INK,
    MARGIN,
    RED,
    TICK,
    WIDTH,
    Sheet,
    text_width,
)

CAMERA = camera(azimuth=-60, elevation=22)
"""From the front right, a little from above."""
ACROSS = 4
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [..., 2 or 3] -> places on paper [..., 2] and nearness to the viewer [...]."""
    if points.shape[-1] == 2:
        return points, np.zeros(points.shape[:-1])
    seen = points @ CAMERA.T
    return seen[..., :2], seen[..., 2]


def draw_gaussians(
    features: np.ndarray, gaussians: np.ndarray, made_by: str, caption: Sequence[str]
) -> Figure:
    """The Gaussian vectors [n, 2 or 3] and the features that they became, with the unit sphere.

    ``made_by`` says what became of them, as `normalisation`.
    """
    surface = "circle" if features.shape[1] == 2 else "sphere"
    side = (WIDTH - 2 * MARGIN - 0.2) / 2
    title = f"Features: Gaussian vectors, before and after {made_by}"
    note = f"grey: the unit {surface}"
    if surface == "sphere":
        note += "; paler: on the far side"
    sheet = Sheet(title, note, side + 0.22, caption)
    panels = (("before: g ~ N(0, I)", gaussians), (f"after {made_by}", features))
    for column, (name, vectors) in enumerate(panels):
        left = MARGIN + column * (side + 0.2)
        axes = sheet.axes(left, 0.2, side, side)
        sheet.text(left + side / 2, 0.14, name, ha="center", va="baseline")
        _frame(axes, _reach(vectors) * 1.13)
        _draw_sphere(axes, vectors.shape[1])
        places = _draw_vectors(axes, vectors, INK, 0.9)
        if len(vectors) <= 16:
            paths = [np.stack([np.zeros(2), place]) for place in places]
            names = [str(index) for index in range(len(vectors))]
            label_points(axes, [(x, y) for x, y in places], names, paths)
    return sheet.figure


def draw_samples(
    features: np.ndarray, x: np.ndarray, codes: np.ndarray, caption: Sequence[str]
) -> Figure:
    """Samples `x` [k, 2 or 3] among the features [n, 2 or 3], with `codes` [k, n] in each title."""
    down = -(-len(x) // ACROSS)
    side = (WIDTH - 2 * MARGIN - (ACROSS - 1) * 0.08) / ACROSS
    step = side + 0.2
    sheet = Sheet(f"{len(x)} samples", "", down * step + 0.2, caption)
    _draw_key(sheet)
    reach = _reach(x) * 1.08
    for index, (point, code) in enumerate(zip(x, codes, strict=True)):
        row, column = divmod(index, ACROSS)
        left, top = MARGIN + column * (side + 0.08), 0.34 + row * step
        axes = sheet.axes(left, top, side, side)
        sheet.text(left + side / 2, top - 0.02, sum_of(code, side), ha="center", va="baseline")
        _frame(axes, reach)
        _draw_sphere(axes, features.shape[1])
        active = code > 0
        _draw_vectors(axes, features[~active], RED, 0.5)
        _draw_vectors(axes, features[active], GREEN, 0.8)
        if active.any():
            weights = code[active, None] * features[active]
            axes.add_collection(_rays(project(weights)[0], GREEN, 2.0))
        place = project(point)[0]
        axes.add_collection(_rays(place[None], BLUE, 1.2))
        axes.plot(*place, "o", color=BLUE, markersize=4, zorder=4)
    return sheet.figure


def sum_of(code: np.ndarray, width: float) -> str:
    """A sample as the sum that makes it, `0.31 f₂ + 0.88 f₅`, or its length if too wide."""
    active = np.flatnonzero(code > 0)
    if not active.size:
        return "nothing active"
    terms = [f"{code[i]:.2f} f{str(i).translate(SUBSCRIPTS)}" for i in active]
    text = " + ".join(terms)
    return text if text_width(text) <= width else f"{active.size} active features"


def _draw_key(sheet: Sheet) -> None:
    left = MARGIN
    names = {
        "sample": BLUE,
        "active features (thick up to the coefficient)": GREEN,
        "inactive features": RED,
    }
    for name, colour in names.items():
        sheet.text(left, 0.1, name, va="baseline", color=colour, fontweight="bold")
        left += text_width(name, TICK, "bold") + 0.2


def _reach(points: np.ndarray) -> float:
    """The radius on paper that holds the points and the unit sphere."""
    return max(1.0, float(np.linalg.norm(project(points)[0], axis=1).max(initial=0.0)))


def _frame(axes: Axes, reach: float) -> None:
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_axis_off()


def _draw_sphere(axes: Axes, dimensions: int) -> None:
    """The unit circle; in three dimensions with meridians and parallels, pale on the far side."""
    turn = np.linspace(0, 2 * np.pi, 121)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    axes.fill(*circle.T, facecolor="#f6f6f6", edgecolor="#bdbdbd", linewidth=0.7, zorder=0)
    if dimensions == 2:
        axes.plot([-1, 1, np.nan, 0, 0], [0, 0, np.nan, -1, 1], color="#dddddd", linewidth=0.5)
        return
    lines = []
    for height in np.sin(np.radians((-60, -30, 0, 30, 60))):
        flat = circle * np.sqrt(1 - height**2)
        lines.append(np.column_stack([flat, np.full(len(flat), height)]))
    for angle in np.radians(range(0, 180, 30)):
        ring = [circle[:, 0] * np.cos(angle), circle[:, 0] * np.sin(angle), circle[:, 1]]
        lines.append(np.stack(ring, axis=1))
    places, near = project(np.stack(lines))
    pieces = np.stack([places[:, :-1], places[:, 1:]], axis=2).reshape(-1, 2, 2)
    colours = np.where(near[:, :-1].reshape(-1) > 0, "#cfcfcf", "#e9e9e9")
    axes.add_collection(
        LineCollection(list(pieces), colors=list(colours), linewidths=0.4, zorder=1)
    )


def _draw_vectors(axes: Axes, vectors: np.ndarray, colour: str, width: float) -> np.ndarray:
    """Lines from the origin to dots, thin and pale where there are many; where the dots are."""
    places, near = project(vectors)
    if not len(vectors):
        return places
    fade = min(1.0, (40 / max(1, len(vectors))) ** 0.5)
    shades = np.where(near < -1e-9, 0.45, 1.0) * fade
    axes.add_collection(_rays(places, colour, width * fade, shades))
    alpha: Any = shades.tolist()  # one for each dot, which the stubs do not know
    axes.scatter(
        places[:, 0], places[:, 1], s=9 * fade, c=colour, alpha=alpha, linewidths=0, zorder=3
    )
    return places


def _rays(
    places: np.ndarray, colour: str, width: float, shades: np.ndarray | float = 1.0
) -> LineCollection:
    lines = [np.stack([np.zeros(2), place]) for place in places]
    rays = LineCollection(lines, colors=colour, linewidths=width, zorder=2, capstyle="round")
    rays.set_alpha(np.broadcast_to(shades, len(lines)).tolist())
    return rays
