"""Does a metric that needs no truth order cells as ``mmcs`` does, and choose a good one?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from saesweep.catalogue import METRICS
from saesweep.files import Row, write_rows
from saesweep.run_folder import Run

PREDICTORS = (
    "mmcs_larger",
    "mmcs_next_larger",
    "stability",
    "recon_loss",
    "fvu",
    "l0",
    "dead_fraction",
)
"""The metrics that one knows without the true features."""
FEWEST = 3
"""Cells below which a rank correlation says nothing: two always agree or disagree wholly."""
COLUMNS = (
    "predictor",
    "better",
    "over",
    "cells",
    "spearman",
    "kendall",
    "chosen",
    "ties",
    "chosen_mmcs",
    "best",
    "best_mmcs",
    "regret",
)
"""The columns of ``metrics/prediction.csv``."""


def write_prediction(run: Run, rows: Sequence[Row]) -> None:
    """Write ``metrics/prediction.csv`` from ``rows``, those of ``metrics.csv`` (see `predict`)."""
    write_rows(run.metrics_dir / "prediction.csv", predict(rows), COLUMNS)


def predict(rows: Sequence[Row]) -> list[Row]:
    """For each predictor, over the whole grid and at each dictionary size, how well it predicts.

    ``rows`` are those of `Run.metrics`. The columns of a row:

    - ``predictor``, and which way of it is ``better``; empty where that depends.
    - ``over``: ``grid``, or as ``dict_size=24`` the cells of one size, which differ in L1.
    - ``cells``: how many are done and have both numbers.
    - ``spearman`` (rho) and ``kendall`` (tau-b) rank correlation with ``mmcs``; NaN below `FEWEST`
      cells or where either metric is the same in all.
    - ``chosen``: the cell that is best by the predictor, the first in grid order of ``ties``;
      ``chosen_mmcs`` is the mean over those that tie. Empty and NaN where no way is better.
    - ``best`` and ``best_mmcs``: the cell with the highest MMCS, whether the predictor is defined
      there or not; ``regret`` is ``best_mmcs - chosen_mmcs``.

    >>> rows = [{"cell": name, "dict_size": 8, "state": "done", "mmcs": m, "fvu": f}
    ...         for name, m, f in (("a", 0.5, 0.3), ("b", 0.9, 0.1), ("c", 0.7, 0.2))]
    >>> first = predict(rows)[0]
    >>> first["predictor"], first["over"], first["cells"], first["spearman"], first["chosen"]
    ('fvu', 'grid', 3, -1.0, 'b')
    """
    done = [row for row in rows if row["state"] == "done" and math.isfinite(row["mmcs"])]
    parts = {"grid": done}
    for size in sorted({row["dict_size"] for row in rows}):
        parts[f"dict_size={size}"] = [row for row in done if row["dict_size"] == size]
    known = [key for key in PREDICTORS if key in METRICS and all(key in row for row in rows)]
    return [_row(key, over, cells) for key in known for over, cells in parts.items()]


def _row(key: str, over: str, done: Sequence[Row]) -> Row:
    cells = [row for row in done if math.isfinite(row[key])]
    spearman, kendall = rank_correlations(
        [row[key] for row in cells], [row["mmcs"] for row in cells]
    )
    direction = METRICS[key].direction
    row: Row = {
        "predictor": key,
        "better": direction or "",
        "over": over,
        "cells": len(cells),
        "spearman": spearman,
        "kendall": kendall,
        "chosen": "",
        "ties": 0,
        "best": "",
    }
    if done:
        best = max(done, key=lambda cell: cell["mmcs"])
        row |= {"best": best["cell"], "best_mmcs": best["mmcs"]}
    if cells and direction:
        extreme = (min if direction == "lower" else max)(cell[key] for cell in cells)
        tied = [cell for cell in cells if cell[key] == extreme]
        mmcs = float(np.mean([cell["mmcs"] for cell in tied]))
        row |= {"chosen": tied[0]["cell"], "ties": len(tied), "chosen_mmcs": mmcs}
        row["regret"] = row["best_mmcs"] - mmcs
    return {column: row.get(column, math.nan) for column in COLUMNS}


def rank_correlations(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho and Kendall's tau-b of ``x`` and ``y`` [cells each]; NaN where undefined.

    >>> rho, tau = rank_correlations([1, 2, 3, 4], [1, 2, 4, 3])
    >>> round(rho, 3), round(tau, 3)
    (0.8, 0.667)
    """
    if len(x) < FEWEST or len(set(x)) == 1 or len(set(y)) == 1:
        return math.nan, math.nan
    from scipy.stats import kendalltau, spearmanr

    return float(spearmanr(x, y).statistic), float(kendalltau(x, y).statistic)
