"""How features depend on each other: by the law, and as measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from saesweep.figures.style import (
    GREY,
    MARGIN,
    NARROW,
    SIGNED,
    TICK,
    VALUES,
    WIDTH,
    Sheet,
    number,
    ticks,
)

# The colours of a measured correlation end at this share of the pairs: rare features give a few
# chance values that would leave all others white.
QUANTILE = 0.99


def draw_correlation(
    *,
    correlation: np.ndarray | None = None,
    loadings: np.ndarray | None = None,
    firing_correlation: np.ndarray | None = None,
    caption: Sequence[str] = (),
) -> Figure:
    """The law [n, n] where there is one, beside the measured correlation of firing [k, k].

    The law is the matrix A ``correlation`` [n, n], or follows from the ``loadings`` [n, rank]; of
    these the first k features are shown.
    """
    shared = None
    if loadings is not None:
        some = loadings[: len(firing_correlation)] if firing_correlation is not None else loadings
        shared = some @ some.T
    matrices = [
        (name, matrix, signed)
        for name, matrix, signed in (
            ("matrix A of the generator", correlation, False),
            ("correlation of z in the generator: F Fᵀ", shared, True),
            ("measured: Pearson correlation of firing", firing_correlation, True),
        )
        if matrix is not None
    ]
    side = 2.15
    note = "grey: the diagonal"
    if correlation is not None:
        low, high = map(number, (correlation.diagonal().min(), correlation.diagonal().max()))
        note += f" ({low if low == high else f'{low} to {high}'} in A, 1 as measured)"
    if any(signed and _reach(matrix)[1] for _, matrix, signed in matrices):
        note += (
            f"; the outermost {100 * (1 - QUANTILE):.0f} % of "
            f"{'' if shared is not None else 'measured '}pairs lie beyond the colours"
        )
    if loadings is not None and firing_correlation is not None and len(some) < len(loadings):
        note += f"; the first {len(some)} of {len(loadings):,} features"
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
