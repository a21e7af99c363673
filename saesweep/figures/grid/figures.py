"""A metric over the grid, over training, and against sparsity: with words and baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS, Metric
from saesweep.figures.grid.curves import CurvePanel, training_curves
from saesweep.figures.grid.heatmaps import heatmap
from saesweep.figures.grid.table import GridTable, grid_tables
from saesweep.figures.grid.trade_off import trade_off
from saesweep.figures.style import level
from saesweep.figures.variants import ending, loss_words
from saesweep.files import Arrays
from saesweep.run_folder import Run

# Heatmaps whose names are promised to users; all others are called <key>_matrix.
FILES = {"mmcs_larger": "av_mmcs_with_larger_dicts"}
CURVES = ("loss", "recon_loss", "mmcs", "dead_neurons", "l0", "fvu")
TRAINED = Metric("loss", "Loss", "lower", "what is trained, measured on the evaluation set")


@dataclass(frozen=True)
class _Against:
    """A metric that L0 is drawn against."""

    title: str
    name: str
    """Of the upright axis."""
    better: str


AGAINST = {
    "fvu": _Against(
        "Sparsity against error: L0 and FVU",
        "FVU: fraction of variance unexplained",
        "lower and further left is better: less error with fewer active latents",
    ),
    "mmcs": _Against(
        "Sparsity against recovery: L0 and MMCS",
        "MMCS: mean max cosine similarity w/ true",
        "higher is better: every true feature has an atom that is close to it",
    ),
    "f1": _Against(
        "Sparsity against detection: L0 and F1",
        "F1: mean over latents",
        "higher is better: latents fire where their features do, and nowhere else",
    ),
}


def draw_grid(run: Run) -> Iterator[tuple[str, Figure]]:
    """Heatmaps of all metrics, curves over training, L0 against others: file stems and figures.

    Heatmaps and curves are drawn for each sparsity axis, and L0 for all cells at once.
    """
    tables, known = grid_tables(run), run.config.data.n_features > 0
    for table in tables:
        end = ending(run.sparsity_axes, table.axis)
        for metric in METRICS.values():
            if table.measures(metric.key):
                stem = FILES.get(metric.key, f"{metric.key}_matrix")
                yield stem + end, metric_heatmap(table, metric)
        histories = table.histories()
        for key in CURVES if known else [key for key in CURVES if key != "mmcs"]:
            figure = metric_curves(table, METRICS.get(key, TRAINED), histories)
            yield f"training_{key}{end}", figure
    for key in AGAINST if known else ["fvu"]:
        yield f"l0_against_{key}", sparsity_against(tables, key)


def metric_heatmap(table: GridTable, metric: Metric) -> Figure:
    """The heatmap of a metric: a panel for each variant."""
    return heatmap(
        table.panels(metric.key),
        table.grid,
        title=metric.title,
        direction=metric.direction,
        caption=[_sentence(metric), *_baseline_words(table, metric), *loss_words(table.cells)],
        references=table.references(metric.key),
    )


def _baseline_words(table: GridTable, metric: Metric) -> list[str]:
    references = table.references(metric.key)
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


def metric_curves(table: GridTable, metric: Metric, histories: dict[str, Arrays]) -> Figure:
    """A metric over the epochs: a panel a dictionary size, a line a point of the grid."""
    panels = [
        CurvePanel(
            name,
            list(table.lines(metric.key, size, histories)),
            _levels(table, metric.key, index),
        )
        for index, (size, name) in enumerate(
            zip(table.grid.sizes, table.grid.row_names, strict=True)
        )
    ]
    better = f"{metric.direction} is better; " if metric.direction else ""
    return training_curves(
        panels,
        title=f"{metric.title} over training",
        axis=table.axis,
        note=f"{better}a panel for each {table.grid.rows_title}",
        caption=[
            _sentence(metric),
            *_seed_words(table, "Lines", "a finite value", "bands"),
            *loss_words(table.cells),
        ],
        variants=table.variants,
    )


def _levels(table: GridTable, key: str, row: int) -> dict[str, float]:
    """Reference values for the curves of one row of the grid."""
    if key == "l0":
        return {"true L0": table.true_l0} if np.isfinite(table.true_l0) else {}
    if key != "mmcs":
        return {}
    references = table.references(key)
    levels = {}
    if "chance" in references.rows:
        levels["chance"] = references.rows["chance"][row]
    if "truth" in references.marks:
        levels["true features"] = references.marks["truth"]
    return levels


def sparsity_against(tables: Sequence[GridTable], key: str) -> Figure:
    """L0 against another metric, one of `AGAINST`, for the cells of all tables."""
    words = AGAINST[key]
    cells = tables[0].run.cells
    order = list(dict.fromkeys(cell.variant for cell in cells))
    fronts = [front for table in tables for front in table.fronts(key)]
    seeds = _seed_words(tables[0], "Points", "a value", "bars")
    known = [table.true_l0 for table in tables if np.isfinite(table.true_l0)]
    return trade_off(
        sorted(fronts, key=lambda front: order.index(front.variant)),
        title=words.title,
        note=words.better,
        y_name=words.name,
        caption=[_sentence(METRICS["l0"]), _sentence(METRICS[key]), *seeds, *loss_words(cells)],
        true_l0=known[0] if known else np.nan,
    )


def _sentence(metric: Metric) -> str:
    """What a metric is, as a line of a caption."""
    return f"{metric.key}: {metric.definition}."


def _seed_words(table: GridTable, means: str, has: str, ranges: str) -> list[str]:
    if table.seeds == 1:
        return []
    over = f"mean over the seeds that have {has}, of {table.seeds}"
    return [f"{means}: {over}; {ranges}: from the lowest to the highest."]
