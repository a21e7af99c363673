"""A metric over the grid, over training, and sparsity against error: with words and baselines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from saesweep.catalogue import METRICS, Metric
from saesweep.figures.grid.curves import CurvePanel, training_curves
from saesweep.figures.grid.heatmaps import heatmap
from saesweep.figures.grid.table import GridTable
from saesweep.figures.grid.trade_off import trade_off
from saesweep.figures.style import LOSSES, level
from saesweep.files import Arrays
from saesweep.run_folder import Run

# Heatmaps whose names are promised to users; all others are called <key>_matrix.
FILES = {"mmcs_larger": "av_mmcs_with_larger_dicts"}
CURVES = ("loss", "recon_loss", "mmcs", "dead_neurons", "l0", "fvu")
TRAINED = Metric("loss", "Loss", "lower", "what is trained, measured on the evaluation set")


def draw_grid(run: Run) -> Iterator[tuple[str, Figure]]:
    """Heatmaps of all metrics, curves over training, L0 against FVU: file stems and figures."""
    table = GridTable(run)
    for metric in METRICS.values():
        if metric.key != "stability" or table.seeds > 1:
            yield FILES.get(metric.key, f"{metric.key}_matrix"), metric_heatmap(table, metric)
    histories = table.histories()
    for key in CURVES:
        yield f"training_{key}", metric_curves(table, METRICS.get(key, TRAINED), histories)
    yield "l0_against_fvu", sparsity_against_error(table)


def metric_heatmap(table: GridTable, metric: Metric) -> Figure:
    """The heatmap of a metric: a panel for each variant."""
    return heatmap(
        table.panels(metric.key),
        table.grid,
        title=metric.title,
        direction=metric.direction,
        caption=[_sentence(metric), *_baseline_words(table, metric), *_losses(table)],
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
        note=f"{better}a panel for each {table.grid.rows_title}",
        caption=[
            _sentence(metric),
            *_seed_words(table, "Lines", "a finite value", "bands"),
            *_losses(table),
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


def sparsity_against_error(table: GridTable) -> Figure:
    """L0 against FVU."""
    definitions = [_sentence(METRICS["l0"]), _sentence(METRICS["fvu"])]
    return trade_off(
        table.fronts(),
        title="Sparsity against error: L0 and FVU",
        caption=[*definitions, *_seed_words(table, "Points", "a value", "bars"), *_losses(table)],
        true_l0=table.true_l0,
        variants=table.variants,
    )


def _sentence(metric: Metric) -> str:
    """What a metric is, as a line of a caption."""
    return f"{metric.key}: {metric.definition}."


def _seed_words(table: GridTable, means: str, has: str, ranges: str) -> list[str]:
    if table.seeds == 1:
        return []
    over = f"mean over the seeds that have {has}, of {table.seeds}"
    return [f"{means}: {over}; {ranges}: from the lowest to the highest."]


def _losses(table: GridTable) -> list[str]:
    return [LOSSES[loss] for loss in table.losses]
