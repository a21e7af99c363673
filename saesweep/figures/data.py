"""Data figures: the features, samples of them, how they correlate and how often they fire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from saesweep.config import SweepConfig
from saesweep.figures.data_caption import describe
from saesweep.figures.data_codes import draw_codes, draw_norms
from saesweep.figures.data_geometry import draw_gaussians, draw_samples
from saesweep.figures.style import (
    BLUE,
    GREY,
    INK,
    MARGIN,
    NARROW,
    SIGNED,
    TICK,
    VALUES,
    WIDTH,
    Sheet,
    number,
    save,
    ticks,
)

# As many features as can have a violin each.
MOST_VIOLINS = 24
# The colours of a measured correlation end at this share of the pairs: rare features give a few
# chance values that would leave all others white.
QUANTILE = 0.99


def draw_data(truth: dict[str, np.ndarray], config: SweepConfig, folder: Path) -> list[Path]:
    """Draw the data figures of a ground truth (see `data.ground_truth`) into a folder.

    Returns the files: gaussians.png, samples.png, feature_frequency.png, and correlation.png
    where there is a matrix to show (above 1,024 independent features there is none).
    """
    caption = [describe(config.data)]
    features, codes = truth["features"], truth["sample_codes"]
    flat = features.shape[1] in (2, 3)
    figures = {
        "gaussians": (draw_gaussians if flat else draw_norms)(
            features, truth["gaussians"], caption
        ),
        "samples": draw_samples(features, truth["sample_x"], codes, caption)
        if flat
        else draw_codes(truth["sample_x"], codes, caption),
        "feature_frequency": draw_frequency(
            truth["frequencies"], truth["probabilities"], [*caption, *_filled(config)]
        ),
    }
    matrices = {key: truth[key] for key in ("correlation", "firing_correlation") if key in truth}
    if matrices:
        figures["correlation"] = draw_correlation(**matrices, caption=caption)
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _filled(config: SweepConfig) -> list[str]:
    if config.data.empty_samples == "keep":
        return []
    return ["Targets are before empty samples are filled, shares after."]


def draw_correlation(
    *,
    correlation: np.ndarray | None = None,
    firing_correlation: np.ndarray | None = None,
    caption: Sequence[str] = (),
) -> Figure:
    """The matrix A [n, n] where there is one, beside the measured correlation of firing [n, n]."""
    matrices = [
        (name, matrix, signed)
        for name, matrix, signed in (
            ("matrix A of the generator", correlation, False),
            ("measured: Pearson correlation of firing", firing_correlation, True),
        )
        if matrix is not None
    ]
    side = 2.15
    note = "grey: the diagonal"
    if correlation is not None:
        low, high = map(number, (correlation.diagonal().min(), correlation.diagonal().max()))
        note += f" ({low if low == high else f'{low} to {high}'} in A, 1 as measured)"
    if firing_correlation is not None and _reach(firing_correlation)[1]:
        note += (
            f"; the outermost {100 * (1 - QUANTILE):.0f} % of measured pairs lie beyond the colours"
        )
    width = WIDTH if len(matrices) == 2 else NARROW
    sheet = Sheet("Correlation between features", note, side + 0.5, caption, width)
    for column, (name, matrix, signed) in enumerate(matrices):
        left = MARGIN + 0.42 + column * (side + 1.0)
        axes = sheet.axes(left, 0.2, side, side)
        sheet.text(left, 0.14, name, va="baseline")
        bar = sheet.axes(left + side + 0.08, 0.2, 0.1, side)
        _draw_matrix(axes, bar, matrix, signed)
    return sheet.figure


def _reach(matrix: np.ndarray) -> tuple[float, bool]:
    """Up to which absolute value a signed matrix is coloured, and whether some lie beyond."""
    sizes = np.abs(matrix[~np.eye(len(matrix), dtype=bool)])
    if not sizes.any():
        return 1.0, False
    reach = float(np.quantile(sizes, QUANTILE)) or float(sizes.max())
    return reach, bool(sizes.max() > 1.001 * reach)


def _draw_matrix(axes: Axes, bar: Axes, matrix: np.ndarray, signed: bool) -> None:
    """A square matrix with its diagonal in grey, coloured by the range of all other entries."""
    shown = np.array(matrix, dtype=float)
    np.fill_diagonal(shown, np.nan)
    beyond = False
    if signed:
        reach, beyond = _reach(matrix)
        norm, colours = Normalize(-reach, reach), SIGNED
    else:
        others = shown[np.isfinite(shown)]
        low, high = (float(others.min()), float(others.max())) if others.size else (0.0, 1.0)
        norm, colours = Normalize(low, high if high > low else low + 1), VALUES
    axes.imshow(shown, norm=norm, cmap=colours)
    axes.set_facecolor("#bdbdbd")
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        ticks(axis, 6, whole=True)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("feature", fontsize=TICK, labelpad=2, color=GREY)
    axes.set_ylabel("feature", fontsize=TICK, labelpad=2, color=GREY)
    ends = "both" if beyond else "neither"
    scale = bar.figure.colorbar(ScalarMappable(norm, colours), cax=bar, extend=ends)
    scale.outline.set_visible(False)
    ticks(bar.yaxis, 5)


def draw_frequency(
    frequencies: np.ndarray, probabilities: np.ndarray, caption: Sequence[str]
) -> Figure:
    """How often each feature fires: shares [batches, n] over batches, and the target [n] dashed."""
    batches, features = frequencies.shape
    few = features <= MOST_VIOLINS
    shape = "violins and dots: spread and median over" if few else "line: median over"
    bands = "" if few else "; bands: the middle 50 % and 90 % of them"
    note = f"{shape} {batches} batches{bands}; dashed: target probability"
    high = 2.4
    sheet = Sheet("How often each feature fires", note, high + 0.42, caption)
    axes = sheet.axes(MARGIN + 0.55, 0.1, WIDTH - 2 * MARGIN - 0.6, high)
    (_violins if few else _bands)(axes, frequencies)
    _draw_target(axes, probabilities, few)
    axes.set_ylim(0, 1.05 * max(frequencies.max(initial=0.0), probabilities.max(), 1e-9))
    ticks(axes.xaxis, 12, whole=True)
    axes.set_xlabel("feature", fontsize=TICK, labelpad=2, color=GREY)
    axes.set_ylabel("share of samples of a batch", fontsize=TICK, labelpad=3, color=GREY)
    return sheet.figure


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


def _draw_target(axes: Axes, probabilities: np.ndarray, few: bool) -> None:
    """The target as a dashed line; a piece under each violin, as features are no continuum."""
    features = np.arange(len(probabilities))
    style: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 0.9, "zorder": 4}
    if few:
        axes.hlines(probabilities, features - 0.42, features + 0.42, **style)
    else:
        axes.plot(features, probabilities, **style)
