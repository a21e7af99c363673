"""The metrics of one cell over its training."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS
from saesweep.figures.grid.curve_parts import scale
from saesweep.figures.grid.figures import CURVES, TRAINED
from saesweep.figures.style import BLUE, GREY, INK, MARGIN, TICK, WIDTH, Sheet, ticks
from saesweep.figures.variants import loss_words
from saesweep.grid import Cell
from saesweep.run_folder import Run

ACROSS, HIGH, LEFT = 3, 1.3, 0.5


def cell_curves(run: Run, cell: Cell) -> Figure:
    """The metrics of `CURVES` over the epochs of ``cell``, a panel each; as far as it has trained.

    Raises ``RunError`` where the cell has no history.
    """
    history = run.history(cell)
    epochs = history["epoch"]
    shown = [key for key in CURVES if np.isfinite(history.get(key, np.nan)).any()]
    step = (WIDTH - MARGIN) / ACROSS
    down = -(-len(shown) // ACROSS)
    caption = ["Metrics on the evaluation set.", *loss_words([cell])]
    sheet = Sheet(cell.name, f"{run.name}: one cell over training", down * (HIGH + 0.55), caption)
    for index, key in enumerate(shown):
        row, column = divmod(index, ACROSS)
        left = column * step + LEFT
        axes = sheet.axes(left, 0.18 + row * (HIGH + 0.55), step - LEFT, HIGH)
        y = np.where(np.isfinite(history[key]), history[key], np.nan)
        scale(axes, "y", y)
        axes.set_xlim(0, float(epochs[-1]) or 1.0)
        ticks(axes.xaxis, 4)
        axes.plot(epochs, y, color=BLUE, linewidth=1.1)
        axes.set_title(
            METRICS.get(key, TRAINED).key.replace("_", " "),
            fontsize=TICK,
            loc="left",
            pad=3,
            color=INK,
        )
        axes.set_xlabel("epoch", fontsize=TICK, labelpad=2, color=GREY)
    return sheet.figure
