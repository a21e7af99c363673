"""How often latents fire: a histogram of each cell's firing frequencies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saesweep.errors import RunError
from saesweep.figures.style import BLUE, GREY, INK, PALE, TICK, Sheet, level, line_height
from saesweep.figures.variants import ending
from saesweep.grid import Cell
from saesweep.run_folder import Run
from saesweep.sparsity import SparsityAxis

MOST_CELLS = 400
"""Panels in one figure: with more of them none could be read."""
LEFT, GAP, PANEL, HEAD = 0.62, 0.07, (0.62, 0.42), 0.2
"""Inches: the room for the names of rows, between panels, and for those of columns."""
BINS = 24

Densities = dict[str, np.ndarray]
"""[dict_size] how often each latent fires on the evaluation set, by cell"""


def draw_density(run: Run) -> Iterator[tuple[str, Figure]]:
    """``density``: the firing frequencies of the latents of every cell that is done.

    One figure for each sparsity axis: a row for each dictionary size and value of further axes.
    """
    for axis in run.sparsity_axes:
        cells = [cell for cell in run.cells if cell.axis == axis]
        densities = _densities(run, cells)
        if densities and len(cells) <= MOST_CELLS:
            figure = density(cells, densities, run.config.eval.n_samples, axis)
            yield f"density{ending(run.sparsity_axes, axis)}", figure


def _densities(run: Run, cells: Sequence[Cell]) -> Densities:
    found: Densities = {}
    for cell in cells:
        if run.folder(cell).state() != "done":
            continue
        try:
            found[cell.name] = run.snapshots(cell)["density"]
        except (RunError, KeyError):  # of saesweep 0.2 or before
            continue
    return found


def density(
    cells: Sequence[Cell], densities: Densities, samples: int, axis: SparsityAxis
) -> Figure:
    """Panels of log10 frequency, all on one scale; ``samples`` were looked at, at most."""
    columns = sorted({cell.sparsity for cell in cells})
    rows = sorted({_row(cell) for cell in cells})
    width = LEFT + len(columns) * (PANEL[0] + GAP) + GAP
    height = HEAD + len(rows) * (PANEL[1] + GAP) + 1.5 * line_height()
    sheet = Sheet(
        "Feature density: how often latents fire",
        "a panel for each cell; the number is the share of latents that never fire",
        height,
        [
            f"Across: the share of samples of the evaluation set (up to {samples:,}) in which a "
            "latent is not zero, on a logarithmic scale. Upright: latents, each panel on its own "
            "scale. Latents that never fire are not in the histogram."
        ],
        width=max(width, 3.6),
    )
    edges = np.linspace(np.floor(np.log10(1 / samples)), 0, BINS + 1)
    for x, value in enumerate(columns):
        left = LEFT + x * (PANEL[0] + GAP) + PANEL[0] / 2
        sheet.text(left, HEAD - 0.06, f"{value:.3g}", ha="center", fontsize=TICK, color=INK)
    sheet.text(LEFT - GAP, HEAD - 0.06, axis.short, ha="right", fontsize=TICK, color=GREY)
    for y, row in enumerate(rows):
        top = HEAD + y * (PANEL[1] + GAP)
        sheet.text(LEFT - GAP, top + PANEL[1] / 2, row[1], ha="right", fontsize=TICK, color=INK)
        for x, value in enumerate(columns):
            here = [c for c in cells if _row(c) == row and c.sparsity == value]
            shown = [densities[cell.name] for cell in here if cell.name in densities]
            axes = sheet.axes(LEFT + x * (PANEL[0] + GAP), top, *PANEL)
            _histogram(axes, shown, edges, bottom=y == len(rows) - 1)
    return sheet.figure


def _row(cell: Cell) -> tuple[int, str]:
    """What the row of ``cell`` is sorted by, and called: seeds are taken together."""
    apart = [f"{value}" for axis, value in cell.extra.items() if axis != "seed"]
    return cell.dict_size, " ".join([f"{cell.dict_size:,}", *apart])


def _histogram(axes: Axes, shown: Sequence[np.ndarray], edges: np.ndarray, bottom: bool) -> None:
    """The frequencies ``shown``, of all seeds of a point together."""
    axes.set_xlim(edges[0], 0)
    axes.set_yticks([])
    decades = [d for d in range(int(edges[0]), 1) if d % 2 == 0]
    axes.set_xticks(decades, [f"1e{d}" if d else "1" for d in decades] if bottom else [])
    axes.tick_params(length=1.5, width=0.5, color=GREY, labelsize=TICK - 2, labelcolor=GREY, pad=1)
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color=PALE)
    if not shown:
        return
    frequency = np.concatenate(shown)
    alive = np.log10(frequency[frequency > 0])
    axes.hist(alive, bins=edges.tolist(), color=BLUE, linewidth=0)
    dead = float((frequency == 0).mean())
    if dead:
        axes.text(
            0.04,
            0.93,
            f"{level(dead)} dead",
            transform=axes.transAxes,
            va="top",
            fontsize=TICK - 1.5,
            color=INK,
        )
