"""How strong features are where they fire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saesweep.figures.style import BLUE, GREY, INK, MARGIN, TICK, WIDTH, PlainNumbers, Sheet, ticks

# With more features than this they stand on a logarithmic axis.
MOST_LINEAR = 1024
# As many as can have a bar each.
MOST_BARS = 300
BAND = "#d3dde6"


def draw_magnitudes(
    means: np.ndarray, stds: np.ndarray, measured: np.ndarray, caption: Sequence[str]
) -> Figure:
    """Coefficients where features fire: law (``means``, ``stds`` [n]), ``measured`` means [n]."""
    note = (
        "dots: measured mean over the evaluation set; line and shade: mean and standard deviation "
        "of the law"
    )
    high = 2.4
    sheet = Sheet("How strong features are where they fire", note, high + 0.42, caption)
    axes = sheet.axes(MARGIN + 0.55, 0.1, WIDTH - 2 * MARGIN - 0.6, high)
    features = np.arange(len(means))
    low, high_end = np.maximum(means - stds, 0), means + stds
    if len(means) <= MOST_BARS:
        axes.vlines(features, low, high_end, color=BAND, linewidth=min(4.0, 300 / len(means)))
    else:
        axes.fill_between(features, low, high_end, step="mid", color=BAND, linewidth=0)
    fade = 1.0 if len(means) <= 100 else 0.5
    size = 4.0 if len(means) <= 100 else 2.0
    axes.plot(features, measured, ".", color=BLUE, markersize=size, alpha=fade, markeredgewidth=0)
    axes.plot(features, means, color=INK, linewidth=0.9)
    shown = measured[np.isfinite(measured)]
    axes.set_ylim(0, 1.05 * max(high_end.max(), shown.max(initial=0.0), 1e-9))
    ticks(axes.yaxis, 6)
    if len(means) > MOST_LINEAR:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.2, 1.2 * len(means))
        axes.xaxis.set_major_formatter(PlainNumbers())
    else:
        axes.set_xlim(-0.6, len(means) - 0.4)
        ticks(axes.xaxis, 12, whole=True)
    axes.set_xlabel("feature", fontsize=TICK, labelpad=2, color=GREY)
    axes.set_ylabel("coefficient", fontsize=TICK, labelpad=3, color=GREY)
    return sheet.figure
