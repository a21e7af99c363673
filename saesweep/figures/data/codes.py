"""Data figures for any number of dimensions: norms and angles of features, codes of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lgamma, log, pi

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from saesweep.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MARGIN,
    RED,
    TICK,
    WIDTH,
    Sheet,
    text_width,
    ticks,
)

# Pairs of more features than this would only make the histogram slower.
MOST = 2000
# Above this many, points stand too close together to be told apart.
FEW = 64


def draw_norms(
    features: np.ndarray, norms: np.ndarray, made_by: str, caption: Sequence[str]
) -> Figure:
    """Norms [n] of Gaussian vectors, cosines of the features [n, d] they became, exact densities.

    ``made_by`` says what became of them, as `normalisation`.
    """
    dimensions = features.shape[1]
    title = f"Features: Gaussian vectors, before and after {made_by}"
    note = (
        f"bars: the features; line: the exact density for random directions in d = {dimensions:,}"
    )
    wide, high = (WIDTH - 2 * MARGIN - 1.2) / 2, 1.9
    sheet = Sheet(title, note, high + 0.54, caption)
    some = features[:MOST] @ features[:MOST].T
    cosines = some[np.triu_indices(len(some), 1)]
    of = f" of the first {MOST:,} features" if len(features) > MOST else ""
    panels: tuple[tuple[str, str, np.ndarray, Callable[[np.ndarray], np.ndarray] | None], ...] = (
        ("before: norms ‖g‖, g ~ N(0, I)", "norm", norms,
         lambda r: _chi(r, dimensions)),
        (f"after: cosines between pairs{of}", "cosine", cosines,
         (lambda c: _cosine(c, dimensions)) if dimensions > 1 else None),
    )  # fmt: skip
    for column, (name, unit, values, density) in enumerate(panels):
        axes = sheet.axes(MARGIN + 0.5 + column * (wide + 0.6), 0.2, wide, high)
        _histogram(axes, values, density)
        axes.set_title(name, fontsize=TICK, loc="left", pad=4, color=INK)
        axes.set_xlabel(unit, fontsize=TICK, labelpad=2, color=GREY)
        axes.set_ylabel("density", fontsize=TICK, labelpad=2, color=GREY)
    return sheet.figure


def _histogram(
    axes: Axes, values: np.ndarray, density: Callable[[np.ndarray], np.ndarray] | None
) -> None:
    if not values.size:
        axes.text(0.5, 0.5, "one feature: no pairs", ha="center", transform=axes.transAxes,
                  fontsize=TICK)  # fmt: skip
        return
    bins = int(np.clip(values.size**0.5, 6, 60))
    axes.hist(values, bins=bins, density=True, color="#b9cfe0", edgecolor="white", linewidth=0.3)
    ticks(axes.yaxis, 4)
    ticks(axes.xaxis, 5)
    if density is not None:
        low, high = axes.get_xlim()
        places = np.linspace(low, high, 300)
        axes.plot(places, density(places), color=INK, linewidth=1)
        axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)


def _chi(norms: np.ndarray, dimensions: int) -> np.ndarray:
    """Density of the norm of a standard normal vector."""
    scale = (1 - dimensions / 2) * log(2) - lgamma(dimensions / 2)
    inside = np.maximum(norms, 1e-300)
    density: np.ndarray = np.exp(scale + (dimensions - 1) * np.log(inside) - inside**2 / 2)
    return np.where(norms > 0, density, np.nan)


def _cosine(cosines: np.ndarray, dimensions: int) -> np.ndarray:
    """Density of the cosine between two random directions, (1 - c²)^((d - 3) / 2) scaled."""
    scale = lgamma(dimensions / 2) - lgamma((dimensions - 1) / 2) - 0.5 * log(pi)
    inside = np.clip(1 - cosines**2, 1e-300, None)
    density: np.ndarray = np.exp(scale + (dimensions - 3) / 2 * np.log(inside))
    return np.where(np.abs(cosines) < 1, density, np.nan)


def draw_codes(x: np.ndarray, codes: np.ndarray, caption: Sequence[str]) -> Figure:
    """Samples `x` [k, d] and their codes [k, n], a row each: coefficients, which features, x."""
    rows, features = codes.shape
    step, code_wide, list_wide = 0.36, 3.0, 1.15
    x_wide = WIDTH - 2 * MARGIN - 0.3 - code_wide - list_wide - 0.2
    note = "a row a sample; green: coefficients of active features, red: inactive features, "
    sheet = Sheet(f"{rows} samples", note + "blue: the sample", rows * step + 0.54, caption)
    places = (
        (MARGIN + 0.3, code_wide, "coefficients", "feature", features),
        (WIDTH - MARGIN - 0.1 - x_wide, x_wide, "sample x", "dimension", x.shape[1]),
    )
    both = []
    for left, wide, name, unit, count in places:
        axes = sheet.axes(left, 0.2, wide, rows * step)
        axes.set(xlim=(-0.02 * count - 0.5, 1.02 * count - 0.5), ylim=(rows, 0))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        ticks(axes.xaxis, 4, whole=True)
        axes.set_xlabel(unit, fontsize=TICK, labelpad=2, color=GREY)
        sheet.text(left, 0.14, name, va="baseline")
        both.append(axes)
    left = MARGIN + 0.3 + code_wide + 0.1
    sheet.text(left, 0.14, "active features", va="baseline")
    for row, code in enumerate(codes):
        middle = 0.2 + (row + 0.62) * step
        sheet.text(MARGIN + 0.2, middle, str(row + 1), ha="right", va="center", color=GREY)
        sheet.text(left, middle, names_of(code, list_wide - 0.1), va="center", color=GREEN)
    _draw_codes(both[0], codes)
    _draw_values(both[1], x)
    return sheet.figure


def names_of(code: np.ndarray, width: float) -> str:
    """The numbers of the active features; the first few and the count where room is short."""
    active = [str(index) for index in np.flatnonzero(code > 0)]
    text = ", ".join(active) or "none"
    shown = len(active)
    while text_width(text) > width and shown:
        shown -= 1
        text = ", ".join([*active[:shown], f"… ({len(active)})"])
    return text


def _draw_codes(axes: Axes, codes: np.ndarray) -> None:
    base = np.arange(len(codes)) + 0.85
    rows, columns = np.nonzero(codes > 0)
    tops = base[rows] - 0.7 * codes[rows, columns] / max(1.0, codes.max(initial=0.0))
    if codes.shape[1] <= FEW:
        idle = np.argwhere(codes <= 0)
        axes.scatter(idle[:, 1], base[idle[:, 0]], s=4, color=RED, linewidths=0)
    else:
        axes.hlines(base, -0.5, codes.shape[1] - 0.5, RED, linewidth=0.6)
    stems = np.stack([np.stack([columns, base[rows]], 1), np.stack([columns, tops], 1)], 1)
    axes.add_collection(LineCollection(list(stems), colors=GREEN, linewidths=1.2))
    axes.scatter(columns, tops, s=8, color=GREEN, linewidths=0, zorder=3)


def _draw_values(axes: Axes, x: np.ndarray) -> None:
    base = np.arange(len(x)) + 0.5
    heights = base[:, None] - 0.42 * x / max(float(np.abs(x).max(initial=0.0)), 1e-12)
    axes.hlines(base, -0.5, x.shape[1] - 0.5, "#d9d9d9", linewidth=0.5)
    if x.shape[1] > FEW:
        axes.plot(heights.T, color=BLUE, linewidth=0.6)
        return
    dimensions = np.broadcast_to(np.arange(x.shape[1]), x.shape)
    feet = np.stack([dimensions, np.broadcast_to(base[:, None], x.shape)], axis=-1)
    stems = np.stack([feet, np.stack([dimensions, heights], axis=-1)], axis=2).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(stems), colors=BLUE, linewidths=1.2))
    axes.scatter(dimensions.ravel(), heights.ravel(), s=6, color=BLUE, linewidths=0, zorder=3)
