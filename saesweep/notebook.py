"""A run where people look at it by hand: it shows itself, and gives tables and figures.

>>> import saesweep
>>> config = saesweep.parse_config('''
... data: {activation_dim: 3, n_features: 6, mean_active: 1}
... grid: {l1: [0.01, 0.1], dict_ratio: [4]}
... train: {epochs: 20, batch_size: 256}
... jobs: {plot: false}
... ''')
>>> run = saesweep.run(config, out=tmp_path)
>>> run.matrix("mmcs").shape
(1, 2)
>>> figure = run.heatmap("mmcs")
"""

from __future__ import annotations

import base64
import difflib
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from saesweep import run_folder
from saesweep.catalogue import METRICS, main_metric
from saesweep.cell_folder import ERROR, RESULT
from saesweep.compare import check_metrics
from saesweep.errors import RunError, UsageError
from saesweep.files import Row
from saesweep.tables import results_html, summary_line

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from saesweep.figures.grid.table import GridTable
    from saesweep.grid import Cell

SHOWN = ("recon_loss", "mmcs", "mmcs_larger", "dead_neurons")
SHOWN_WITHOUT = ("recon_loss", "fvu", "l0", "dead_neurons")
"""The heatmaps by which a run shows itself; and where no true feature is known."""
MOST_ROWS = 24
"""Of its table: `frame` has all."""


class Run(run_folder.Run):
    """A run folder that a notebook can show. ``Run("outputs/run1")`` opens one that exists."""

    def _repr_html_(self) -> str:
        from saesweep.figures.grid.figures import metric_heatmap
        from saesweep.figures.grid.table import GridTable

        rows = self.metrics()
        heatmaps = []
        for axis in self.sparsity_axes:
            table = GridTable(self, axis, rows)
            known = {main_metric(row) for row in table.rows if row["state"] == "done"}
            keys = [] if not known else SHOWN_WITHOUT if known == {"fvu"} else SHOWN
            heatmaps += [
                _image(metric_heatmap(table, METRICS[key]), f"{METRICS[key].title} ({axis.title})")
                for key in keys
            ]
        return (
            f"<p>{escape(summary_line(rows, self.path))}</p>{results_html(rows, MOST_ROWS)}"
            f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(heatmaps)}</div>'
        )

    def frame(self) -> pd.DataFrame:
        """A row a cell, by its name: hyperparameters, state, and every metric.

        ``UsageError`` where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise UsageError(
                "a frame needs pandas: pip install pandas; or take Run.metrics()"
            ) from None
        return pd.DataFrame(self.metrics()).set_index("cell")

    def matrix(
        self, metric: str, *, over: str | None = None, variant: str | None = None
    ) -> np.ndarray:
        """A metric over the grid: [sizes, penalties], both rising; NaN where it is not known.

        Means over seeds. ``over`` is the sparsity axis, as ``k``, and ``variant`` is what else
        differs, as in the titles of heatmaps: ``UsageError`` where there are several and none is
        chosen.
        """
        table = self._table(metric, over)
        chosen = _one_of(table.variants, variant, "variant")
        return table.panels(metric)[table.variants.index(chosen)].values

    def heatmap(self, metric: str, *, over: str | None = None) -> Figure:
        """The heatmap of a metric, as `saesweep plot` draws it; ``over`` as for `matrix`."""
        from saesweep.figures.grid.figures import metric_heatmap

        return metric_heatmap(self._table(metric, over), METRICS[metric])

    def curves(self, cell: Cell | str) -> Figure:
        """The metrics of a cell over its training, a panel each."""
        from saesweep.figures.grid.cell_curves import cell_curves

        return cell_curves(self, self.cell(cell))

    def trade_off(self, metric: str = "fvu") -> Figure:
        """L0 against ``fvu``, ``mmcs`` or ``f1``."""
        from saesweep.figures.grid.figures import AGAINST, sparsity_against
        from saesweep.figures.grid.table import grid_tables

        if metric not in AGAINST:
            raise UsageError(f"no trade-off with {metric!r}: allowed: {', '.join(AGAINST)}")
        tables = grid_tables(self)
        if not any(table.measures(metric) for table in tables):
            raise _unmeasured(metric, self.metrics())
        return sparsity_against(tables, metric)

    def figure(self, name: str) -> Figure:
        """Any still figure by the name of its file, as ``density`` or ``training_mmcs``.

        Those before it in the order of `saesweep plot` are drawn, too: it may take seconds.
        """
        from saesweep.figures.stills import figures

        names = []
        for stem, figure in figures(self):
            if stem == name:
                return figure
            names.append(stem)
        close = difflib.get_close_matches(str(name), names, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
        raise RunError(f"{self.path}: no figure {name!r}: {hint}")

    def gif(self, cell: Cell | str | None = None, *, over: str | None = None) -> Animation:
        """The animation of a cell, or without one of the grid, for which ``over`` is as for
        `matrix`; drawn where it is not there, or older than what it shows.
        """
        from saesweep.figures.gifs import draw_gifs, draw_grid_gif
        from saesweep.figures.variants import ending

        if cell is not None:
            cell = self.cell(cell)
            path = self.gifs_dir / f"{cell.name}.gif"
            if not self._is_newer(path, [cell]):
                (path,) = draw_gifs(self, [cell], grid=False)
            return Animation(path)
        axes = {axis.key: axis for axis in self.sparsity_axes}
        axis = axes[_one_of([*axes], over, "over")]
        path = self.gifs_dir / f"grid{ending(self.sparsity_axes, axis)}.gif"
        if not self._is_newer(path, [one for one in self.cells if one.axis == axis]):
            path = draw_grid_gif(self, axis)
        return Animation(path)

    def _is_newer(self, path: Path, cells: Sequence[Cell]) -> bool:
        """Whether ``path`` was made after the last of ``cells`` was done or failed."""
        folders = [self.folder(cell).path for cell in cells]
        ends = [_written(folder / name) for folder in folders for name in (RESULT, ERROR)]
        return _written(path) > max(ends)

    def _table(self, metric: str, over: str | None) -> GridTable:
        from saesweep.figures.grid.table import grid_tables

        check_metrics([metric])
        tables = {table.axis.key: table for table in grid_tables(self)}
        table = tables[_one_of([*tables], over, "over")]
        if not table.measures(metric):
            raise _unmeasured(metric, table.rows)
        return table


def _unmeasured(metric: str, rows: Sequence[Row]) -> UsageError:
    """What to say of a metric that the cells of ``rows`` do not have."""
    there = [key for key in METRICS if any(math.isfinite(row[key]) for row in rows)]
    found = f"these cells have {', '.join(there)}" if there else "none of these cells is done"
    return UsageError(f"{metric} is not measured here; {found}")


def _one_of(there: Sequence[str], wanted: str | None, name: str) -> str:
    """What is ``wanted`` of what is there, or all that is there; ``UsageError`` if neither is."""
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted is None or wanted not in there:
        found = ", ".join(map(repr, there))
        raise UsageError(f"{name}={wanted!r}: this run has {found}; choose one of them")
    return wanted


def _written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if it is not there."""
    return path.stat().st_mtime_ns if path.exists() else 0


class Animation:
    """A GIF at ``path`` that a notebook shows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Animation({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return _embedded(self.path.read_bytes(), "image/gif", self.path.stem)


def _image(figure: Figure, words: str) -> str:
    from saesweep.figures.style import as_png

    content, width = as_png(figure)
    return _embedded(content, "image/png", words, f'width="{width}" ')


def _embedded(content: bytes, kind: str, words: str, size: str = "") -> str:
    data = base64.b64encode(content).decode("ascii")
    style = f'{size}style="max-width:100%"'
    return f'<img alt="{escape(words)}" {style} src="data:{kind};base64,{data}">'
