"""Every still figure of a run, from what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from saesweep.data_config import DataConfig
from saesweep.figures.data.draw import figures_of_data
from saesweep.figures.grid.density import draw_density
from saesweep.figures.grid.figures import draw_grid
from saesweep.figures.recovery.prediction import draw_prediction
from saesweep.figures.recovery.probability import draw_probability
from saesweep.figures.style import save
from saesweep.figures.tracking.draw import draw_tracking
from saesweep.run_folder import Run

Draw = Callable[[Run], Iterator[tuple[str, Figure]]]

DRAWN: tuple[Draw, ...] = (draw_grid, draw_density)
"""What is drawn of the cells: each gives figures with the names of their files, without ending."""
OF_KNOWN_FEATURES: tuple[Draw, ...] = (draw_tracking, draw_probability, draw_prediction)
"""What is drawn beside, where the true features are known."""


def draw_stills(run: Run, report: Callable[[str], None] | None = None) -> list[Path]:
    """Draw every still figure of a run into its `figures_dir`; returns the files.

    `report` is told the name of each file once it is written.
    """
    drawn = []
    for name, figure in figures(run):
        path = save(figure, run.figures_dir / f"{name}.png")
        drawn.append(path)
        if report is not None:
            report(path.name)
    return drawn


def figures(run: Run) -> Iterator[tuple[str, Figure]]:
    """Every still figure of a run, of its cells and of its data, and the name of its file without
    ending; each is drawn when asked for.
    """
    data = run.config.data
    known = isinstance(data, DataConfig)
    for draw in (*DRAWN, *(OF_KNOWN_FEATURES if known else ())):
        yield from draw(run)
    if isinstance(data, DataConfig):
        yield from figures_of_data(run.ground_truth(), data)
