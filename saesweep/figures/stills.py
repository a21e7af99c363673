"""Every still figure of a run, from what is on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS, Metric
from saesweep.errors import RunError
from saesweep.figures.curves import CurvePanel, Front, Line, trade_off, training_curves
from saesweep.figures.data import draw_data
from saesweep.figures.heatmap_page import Grid, References
from saesweep.figures.heatmaps import Panel, heatmap
from saesweep.figures.style import LOSSES, level, save
from saesweep.files import Arrays, Row
from saesweep.grid import Cell
from saesweep.run_folder import Run

# Heatmaps whose names are promised to users; all others are called <key>_matrix.png.
FILES = {"mmcs_larger": "av_mmcs_with_larger_dicts"}
CURVES = ("loss", "recon_loss", "mmcs", "dead_neurons", "l0", "fvu")
TRAINED = Metric("loss", "Loss", "lower", "what is trained, measured on the evaluation set")
# Baselines that exist once for each dictionary size, and those that exist once.
PER_SIZE = {"random": "chance", "kmeans": "k-means"}
SINGLE = {"pca": "PCA", "ica": "ICA", "truth": "truth"}


def draw_stills(run: Run, report: Callable[[str], None] | None = None) -> list[Path]:
    """Draw every still figure of a run into its `figures_dir`; returns the files.

    Heatmaps of all metrics, curves over training, L0 against FVU, and the data figures. `report` is
    told the name of each file once it is written.
    """
    drawn = []
    for path in _draw(run):
        drawn.append(path)
        if report is not None:
            report(path.name)
    return drawn


def _draw(run: Run) -> Iterator[Path]:
    table = Table(run)
    for metric in METRICS.values():
        name = FILES.get(metric.key, f"{metric.key}_matrix")
        yield save(table.heatmap(metric), run.figures_dir / f"{name}.png")
    histories = dict(_histories(run))
    for key in CURVES:
        figure = table.curves(METRICS.get(key, TRAINED), histories)
        yield save(figure, run.figures_dir / f"training_{key}.png")
    yield save(table.trade_off(), run.figures_dir / "l0_against_fvu.png")
    yield from draw_data(run.ground_truth(), run.config, run.figures_dir)


def _histories(run: Run) -> Iterator[tuple[str, Arrays]]:
    """The histories that are there: cells that wait have none, cells that failed may have some."""
    for cell in run.cells:
        with contextlib.suppress(RunError):
            yield cell.name, run.history(cell.name)


class Table:
    """The metrics of a run as matrices: rows dictionary sizes, columns L1 penalties."""

    def __init__(self, run: Run) -> None:
        self._cells = run.cells
        self._rows = run.metrics()
        self._baselines = run.baselines()
        ratios = {row["dict_size"]: row["dict_ratio"] for row in self._rows}
        self._grid = Grid(
            sizes=sorted(ratios),
            ratios=[ratios[size] for size in sorted(ratios)],
            l1=sorted({row["l1_penalty"] for row in self._rows}),
        )
        self._losses = [LOSSES[loss] for loss in sorted({row["loss"] for row in self._rows})]
        # What differs between cells of one L1 and one size: the values of the grid's other axes.
        self._variants = list(dict.fromkeys(_variant(cell) for cell in self._cells))

    def heatmap(self, metric: Metric) -> Figure:
        """The heatmap of a metric: a panel for each combination of the other axes."""
        return heatmap(
            [self._panel(metric.key, variant) for variant in self._variants],
            self._grid,
            title=metric.title,
            direction=metric.direction,
            caption=[_sentence(metric), *self._baseline_words(metric), *self._losses],
            references=self._references(metric.key),
        )

    def _panel(self, key: str, variant: str) -> Panel:
        shape = len(self._grid.sizes), len(self._grid.l1)
        values, states = np.full(shape, np.nan), np.full(shape, "absent", dtype="<U8")
        for cell, row in self._each(variant):
            place = self._grid.sizes.index(cell.dict_size), self._grid.l1.index(row["l1_penalty"])
            values[place], states[place] = row[key], row["state"]
        return Panel(values, states, variant)

    def _each(self, variant: str) -> Iterator[tuple[Cell, Row]]:
        for cell, row in zip(self._cells, self._rows, strict=True):
            if _variant(cell) == variant:
                yield cell, row

    def _references(self, key: str) -> References:
        known = [row for row in self._baselines if np.isfinite(row[key])]
        if len({row[key] for row in known}) < 2:  # the same for all: nothing to compare with
            return References()
        rows = {}
        for name, words in PER_SIZE.items():
            sizes = {row["dict_size"]: row[key] for row in known if row["baseline"] == name}
            if sizes:
                rows[words] = [sizes.get(size, np.nan) for size in self._grid.sizes]
        marks = {SINGLE[row["baseline"]]: row[key] for row in known if row["baseline"] in SINGLE}
        return References(rows, marks)

    def _baseline_words(self, metric: Metric) -> list[str]:
        references = self._references(metric.key)
        words = []
        if "chance" in references.rows:
            words.append("chance: as many random unit atoms as latents")
        if "k-means" in references.rows:
            words.append("k-means: as many cluster centres")
        ceiling = ", the ceiling" if metric.direction == "higher" else ""
        for name, value in references.marks.items():
            called = f"truth (the true features{ceiling})" if name == "truth" else name
            words.append(f"{called}: {level(value)}")
        return [f"Baselines — {'; '.join(words)}."] if words else []

    def curves(self, metric: Metric, histories: dict[str, Arrays]) -> Figure:
        """A metric over the epochs: a panel a dictionary size, a line a cell."""
        panels = []
        for size, name in zip(self._grid.sizes, self._grid.row_names, strict=True):
            lines = [
                Line(
                    histories[cell.name]["epoch"], histories[cell.name][metric.key], cell.l1, index
                )
                for index, variant in enumerate(self._variants)
                for cell, _ in self._each(variant)
                if cell.dict_size == size and cell.name in histories
            ]
            panels.append(CurvePanel(name, lines, self._levels(metric.key, size)))
        better = f"{metric.direction} is better; " if metric.direction else ""
        return training_curves(
            panels,
            title=f"{metric.title} over training",
            note=f"{better}a panel for each {self._grid.rows_title}",
            caption=[_sentence(metric), *self._losses],
            variants=self._variants,
        )

    def _levels(self, key: str, size: int) -> dict[str, float]:
        """Reference values for the curves of one dictionary size."""
        if key == "l0":
            true_l0 = self._true_l0()
            return {"true L0": true_l0} if np.isfinite(true_l0) else {}
        if key != "mmcs":
            return {}
        references = self._references(key)
        levels = {}
        if "chance" in references.rows:
            levels["chance"] = references.rows["chance"][self._grid.sizes.index(size)]
        if "truth" in references.marks:
            levels["true features"] = references.marks["truth"]
        return levels

    def _true_l0(self) -> float:
        known = [row["true_l0"] for row in self._rows if np.isfinite(row["true_l0"])]
        return float(np.mean(known)) if known else float("nan")

    def trade_off(self) -> Figure:
        """L0 against FVU."""
        fronts = []
        for index, variant in enumerate(self._variants):
            for size in self._grid.sizes:
                rows = [row for cell, row in self._each(variant) if cell.dict_size == size]
                l1, l0, fvu = (_column(rows, key) for key in ("l1_penalty", "l0", "fvu"))
                fronts.append(Front(size, l1, l0, fvu, index))
        return trade_off(
            fronts,
            title="Sparsity against error: L0 and FVU",
            caption=[_sentence(METRICS["l0"]), _sentence(METRICS["fvu"]), *self._losses],
            true_l0=self._true_l0(),
            variants=self._variants,
        )


def _variant(cell: Cell) -> str:
    """The values of a cell's axes other than L1 and size, as `seed=0, train.lr=0.001`."""
    return ", ".join(
        f"{axis}={value:g}" if isinstance(value, float) else f"{axis}={value}"
        for axis, value in cell.extra.items()
    )


def _sentence(metric: Metric) -> str:
    """What a metric is, as a line of a caption."""
    return f"{metric.key}: {metric.definition}."


def _column(rows: list[Row], key: str) -> np.ndarray[Any, Any]:
    return np.array([row[key] for row in rows], dtype=float)
