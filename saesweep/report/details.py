"""What the page shows of one cell once it is opened: curves, densities, tracking; packed."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import math

import numpy as np

from saesweep.errors import RunError
from saesweep.files import Arrays, Row
from saesweep.grid import Cell
from saesweep.metrics.changes import counts, feature_changes, latent_changes
from saesweep.report.numbers import short, whole
from saesweep.run_folder import Run

BINS = 24
"""Of the histogram of how often latents fire."""
COUNTED = ("epoch", "step")
"""Columns of a history that keep all digits: two snapshots are never at one epoch."""
EVENTS = {"newly_learned", "unlearned", "moved", "newly_dead", "revived"}
"""What happened since the snapshot before. The others are what is so at a snapshot."""
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

    ``curves`` are the columns of its history, by name; ``of`` is how many snapshots there were.
    ``tracking`` is the ``epoch``, what `latent_changes` tells, and `feature_changes` where true
    features are known; `EVENTS` are counted since the point before. ``density`` is a histogram:
    ``low``, log10 of the frequency where it begins (it ends at 0), ``counts``, and ``dead``.
    """
    found: Row = {}
    with contextlib.suppress(RunError):
        history = run.history(cell)
        kept = _kept(len(history["epoch"]), most)
        found["curves"] = {
            name: whole(column[kept]) if name in COUNTED else short(column[kept])
            for name, column in history.items()
        }
        found["of"] = len(history["epoch"])
    with contextlib.suppress(RunError):
        snapshots = run.snapshots(cell)
        if "dead" in snapshots:
            found["tracking"] = _tracking(run, snapshots, most)
        if "density" in snapshots:
            found["density"] = _density(snapshots["density"], run.config.eval.n_samples)
    return found


def _tracking(run: Run, snapshots: Arrays, most: int) -> Row:
    masks = latent_changes(snapshots["dead"])
    if run.config.data.n_features:
        threshold = run.config.eval.learned_threshold
        masks |= feature_changes(snapshots["best_cosine"], snapshots["best_atom"], threshold)
    columns = counts(masks)
    kept = _kept(len(snapshots["epoch"]), most)
    begins = np.append(0, kept[:-1] + 1)  # of what happened until each point
    shown = {
        name: np.add.reduceat(column, begins) if name in EVENTS else column[kept]
        for name, column in columns.items()
    }
    return {"epoch": snapshots["epoch"][kept].tolist()} | {k: c.tolist() for k, c in shown.items()}


def _density(frequency: np.ndarray, samples: int) -> Row:
    """A histogram of firing frequencies [dict_size] over ``samples``.

    >>> _density(np.array([0, 1e-5, 1], np.float32), 100_000)["counts"].count(1)
    2
    """
    low = -max(1, math.ceil(math.log10(samples)))
    # In float32 one of 100,000 is a little less than that, and would fall out of the histogram.
    alive = np.log10(frequency[frequency > 0].astype(np.float64)).clip(low, 0)
    counted, _ = np.histogram(alive, np.linspace(low, 0, BINS + 1))
    return {"low": low, "counts": counted.tolist(), "dead": int((frequency == 0).sum())}


def _kept(count: int, most: int) -> np.ndarray:
    """Which of ``count`` points are kept: evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
