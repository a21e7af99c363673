"""What the page is told of its runs, as plain data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from saesweep import provenance
from saesweep.catalogue import METRICS
from saesweep.compare import PROVENANCE, differences, labels, origin, settings
from saesweep.config_file import dump_config
from saesweep.figures.variants import loss_words
from saesweep.files import Row, lies_within
from saesweep.metrics.references import references
from saesweep.metrics.seeds import Point, points, seed_count
from saesweep.report.contents import Contents
from saesweep.report.details import details, points_kept
from saesweep.report.failures import FAILED, Logs, failed_together, failure
from saesweep.report.grid_points import described
from saesweep.report.numbers import exact
from saesweep.run_folder import Run
from saesweep.tables import counts, main_of, shown_keys


def payload(
    runs: Sequence[Run],
    folder: Path,
    *,
    contents: Contents | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Row:
    """All that a page in ``folder`` shows of ``runs``.

    GIFs are links from there, unless ``contents`` says otherwise. ``progress`` is told (cells read,
    cells in all).
    """
    contents = contents or Contents(folder)
    tables = [run.metrics() for run in runs]
    rows = [row for table in tables for row in table]
    logs = Logs(sum(row["state"] in FAILED for row in rows))
    done = count(1)
    tell = (lambda: progress(next(done), len(rows))) if progress else (lambda: None)
    folded = [points(table) for table in tables]
    origins = list(map(_origin, runs))
    pages = [
        {
            "label": label,
            **_facts(run, table),
            "origin": origin,
            "cells": _cells(run, table, contents, logs),
            "points": described(run, own),
            "grids": _grids(run, contents),
            "details": _details(run, points_kept(len(rows)), tell),
        }
        for run, label, table, own, origin in zip(
            runs, labels(runs), tables, folded, origins, strict=True
        )
    ]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M"),
        "failed": failed_together(pages, logs.texts, len(runs) > 1),
        "logs": logs.texts,
        "metrics": {key: asdict(metric) for key, metric in METRICS.items()},
        "main": _main(folded, pages),
        "runs": pages,
        "differences": [
            asdict(found)
            for found in (*differences(list(map(settings, runs))), *differences(origins))
        ],
    }


def _main(folded: Sequence[Sequence[Point]], pages: Sequence[Row]) -> Row:
    """The metric that the page begins with, and those it shows where there is no room for all.

    As in the tables of `saesweep results`.
    """
    known = {key for page in pages for key in page["metrics"]}
    known |= {
        key
        for page in pages
        for one in page["imported"]
        for key, value in one["metrics"].items()
        if value is not None
    }
    main = main_of([point for own in folded for point in own])
    keys = dict.fromkeys(key for own in folded for key in shown_keys(own))
    shown = [key for key in keys if key in known]
    others = [*shown, *(key for key in METRICS if key in known), main]
    return {"metric": main if main in known else others[0], "metrics": shown}


def _facts(run: Run, rows: Sequence[Row]) -> Row:
    """What the page is told of a run as a whole."""
    return {
        "path": str(run.path),
        "folder": str(run.path.resolve()),
        "counts": counts(rows),
        "config": dump_config(run.config),
        "command": _command(run),
        "known": run.config.data.n_features > 0,
        "loss": _loss(run),
        "seeds": seed_count(rows),
        "axes": [asdict(axis) for axis in run.sparsity_axes],
        "columns": _columns(rows[0]),
        "metrics": _metrics(rows),
        "references": _references(run, rows),
        "baselines": _baselines(run),
        "imported": [{"name": row["cell"], "metrics": _values(row)} for row in run.imported()],
    }


def _loss(run: Run) -> list[str]:
    """What is trained, a line for each loss of each sparsity axis: an α is that of its loss."""
    found = [
        line
        for axis in run.sparsity_axes
        for line in loss_words(cell for cell in run.cells if cell.axis == axis)
    ]
    return list(dict.fromkeys(found))


def _is_own(run: Run, *names: str) -> bool:
    """Whether a file of a run is in it: a stranger's may lead to what is not to be passed on."""
    return lies_within(run.path.joinpath(*names), run.path)


def _origin(run: Run) -> Row:
    """What its provenance tells; nothing but None where that lies elsewhere."""
    return origin(run) if _is_own(run, "provenance.json") else dict.fromkeys(PROVENANCE)


def _command(run: Run) -> str:
    """How the run was started, as it was typed; empty if that is not known."""
    known = provenance.first(run) if _is_own(run, "provenance.json") else None
    words = (known or {}).get("command")
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        return ""
    return " ".join([os.path.basename(words[0]), *words[1:]])


def _baselines(run: Run) -> list[Row]:
    """The baselines, without columns that no row has a value for."""
    rows = run.baselines() if _is_own(run, "metrics", "baselines.csv") else []
    columns = [
        key for key in (rows[0] if rows else {}) if any(row[key] == row[key] for row in rows)
    ]
    return [{key: row[key] for key in columns} for row in rows]


def _references(run: Run, rows: Sequence[Row]) -> Row:
    """For each metric that has any: baselines by dictionary size, and those that stand alone."""
    sizes = sorted({row["dict_size"] for row in rows})
    baselines = run.baselines() if _is_own(run, "metrics", "baselines.csv") else []
    found = {}
    for key in METRICS:
        known = references(baselines, key, sizes)
        if known.rows or known.marks:
            by_size = {
                name: dict(zip(map(str, sizes), map(exact, values), strict=True))
                for name, values in known.rows.items()
            }
            found[key] = {
                "rows": by_size,
                "marks": {name: exact(value) for name, value in known.marks.items()},
            }
    return found


def _columns(row: Row) -> list[str]:
    """The columns of `Run.metrics` that are hyperparameters."""
    return [name for name in row if name not in METRICS and name not in ("cell", "state")]


def _metrics(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The metrics that any cell has, [cells] each."""
    columns = {key: [exact(row[key]) for row in rows] for key in METRICS}
    return {key: column for key, column in columns.items() if any(v is not None for v in column)}


def _values(row: Row) -> Row:
    return {key: exact(row[key]) for key in METRICS}


def _cells(run: Run, rows: Sequence[Row], contents: Contents, logs: Logs) -> list[Row]:
    columns = _columns(rows[0])
    return [
        {
            "name": row["cell"],
            "state": row["state"],
            "axes": [exact(row[name]) for name in columns],
            "animation": contents.animation(run, row["cell"]),
            "log": None,
            **(failure(run, run.folder(row["cell"]), logs) if row["state"] in FAILED else {}),
        }
        for row in rows
    ]


def _grids(run: Run, contents: Contents) -> list[Row]:
    """The animations of all cells together: one, or one for each sparsity axis."""
    names = ("grid", *(f"grid_{axis.key}" for axis in run.sparsity_axes))
    return [found for name in names if (found := contents.animation(run, name))]


def _details(run: Run, most: int, tell: Callable[[], None]) -> list[str]:
    packed = []
    for cell in run.cells:
        packed.append(details(run, cell, most))
        tell()
    return packed
