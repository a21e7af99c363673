"""What the page shows of one cell once it is opened: curves, densities, tracking; packed."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import math
from collections.abc import Iterable

import numpy as np

from saesweep.errors import RunError
from saesweep.files import Arrays, Row
from saesweep.grid import Cell
from saesweep.metrics.changes import CLASSES
from saesweep.metrics.tracking_table import tracking_columns
from saesweep.run_folder import Run

DIGITS = 5
BINS = 24
"""Of the histogram of how often latents fire."""
TRACKED = ("learned", *CLASSES, "dead", "newly_dead", "revived")
ALL_POINTS = 100_000
"""Points of a curve times cells of a page. Packed, 50 points of 2,000 cells take 5 MB."""
LEAST, MOST = 32, 256


def points_kept(cells: int) -> int:
    """How many points of a curve a page with so many cells keeps.

    >>> points_kept(12), points_kept(2000), points_kept(100_000)
    (256, 50, 32)
    """
    return max(LEAST, min(MOST, ALL_POINTS // max(1, cells)))


def details(run: Run, cell: Cell, most: int) -> str:
    """All of a cell that takes long to load, as gzip in base64 of JSON: see `unpacked`."""
    return packed(json.dumps(unpacked(run, cell, most)))


def packed(text: str) -> str:
    """``text`` as gzip in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def unpacked(run: Run, cell: Cell, most: int) -> Row:
    """The same before it is packed: what of it can be read, at most ``most`` points a curve.

    ``curves`` are the columns of its history and ``tracking`` those of `TRACKED`, by name, each
    with its ``epoch``; ``of`` is the number of snapshots there were. ``density`` is a histogram:
    ``low``, log10 of the frequency where it begins (it ends at 0), ``counts``, and ``dead``.
    """
    found: Row = {}
    with contextlib.suppress(RunError):
        history = run.history(cell)
        kept = _kept(len(history["epoch"]), most)
        found["curves"] = {name: numbers(column[kept]) for name, column in history.items()}
        found["of"] = len(history["epoch"])
    with contextlib.suppress(RunError):
        snapshots = run.snapshots(cell)
        if "best_cosine" in snapshots:
            found["tracking"] = _tracking(snapshots, run.config.eval.learned_threshold, most)
        if "density" in snapshots:
            found["density"] = _density(snapshots["density"], run.config.eval.n_samples)
    return found


def _tracking(snapshots: Arrays, threshold: float, most: int) -> Row:
    columns = tracking_columns(snapshots, threshold)
    kept = _kept(len(columns["epoch"]), most)
    return {name: numbers(columns[name][kept]) for name in ("epoch", *TRACKED)}


def _density(frequency: np.ndarray, samples: int) -> Row:
    """A histogram of firing frequencies [dict_size]."""
    low = math.floor(math.log10(1 / samples))
    alive = np.log10(frequency[frequency > 0])
    counts, _ = np.histogram(alive, np.linspace(low, 0, BINS + 1))
    return {"low": low, "counts": counts.tolist(), "dead": int((frequency == 0).sum())}


def _kept(count: int, most: int) -> np.ndarray:
    """Which of ``count`` points are kept: evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def numbers(values: Iterable[float]) -> list[float | str | None]:
    """Numbers that JSON can hold, in `DIGITS` digits; what is no number is None.

    >>> numbers([1.23456789, float("nan"), 3.0, float("inf")])
    [1.2346, None, 3, 'inf']
    """
    return [_number(float(value)) for value in values]


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return str(value)
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short
