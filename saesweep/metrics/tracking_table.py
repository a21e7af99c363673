"""The tracking of features as a table: ``metrics/tracking.csv``, a row a cell and snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from saesweep.files import Arrays, Row, write_rows
from saesweep.grid import Cell
from saesweep.metrics.changes import (
    CLASSES,
    counts,
    feature_changes,
    latent_changes,
    mean_cosines,
)
from saesweep.run_folder import Run

FILE = "tracking.csv"
COLUMNS = (
    "epoch",
    "step",
    "learned",
    *CLASSES,
    "mean_cosine",
    "mean_cosine_learned",
    *(f"mean_cosine_{name}" for name in CLASSES),
    "dead",
    "newly_dead",
    "revived",
)


def write_tracking(run: Run, done: Sequence[Cell] | None = None) -> Path:
    """Write ``metrics/tracking.csv`` and return its path.

    ``done`` are the cells that are done, where it is known: to find out takes reading all records.
    Cells that are not have no rows.
    """
    if done is None:
        done = [cell for cell in run.cells if run.folder(cell).state() == "done"]
    path = run.metrics_dir / FILE
    rows = (row for cell in done for row in tracking_rows(run, cell))  # there may be millions
    write_rows(path, rows, [*run.describe(run.cells[0]), *COLUMNS])
    return path


def tracking_rows(run: Run, cell: Cell) -> list[Row]:
    """What became of the features and latents of ``cell``, a row a snapshot; see `COLUMNS`.

    None where its snapshots do not say which atom is best. ``RunError`` if they cannot be read.
    """
    snapshots = run.snapshots(cell)
    if "best_cosine" not in snapshots:
        return []
    columns = tracking_columns(snapshots, run.config.eval.learned_threshold)
    heads = run.describe(cell)
    lines = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
    return [{**heads, **dict(zip(COLUMNS, line, strict=True))} for line in lines]


def tracking_columns(snapshots: Arrays, threshold: float) -> Arrays:
    """The columns of the table, [T] each, from the ``snapshots`` of a cell (`Track.tensors`)."""
    best_cosine = snapshots["best_cosine"]
    masks = feature_changes(best_cosine, snapshots["best_atom"], threshold)
    return {
        "epoch": snapshots["epoch"],
        "step": snapshots["step"],
        **counts(masks),
        **mean_cosines(best_cosine, masks),
        **counts(latent_changes(snapshots["dead"])),
    }
