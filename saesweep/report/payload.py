"""What the page is told of its runs, as plain data."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from saesweep import provenance
from saesweep.catalogue import METRICS
from saesweep.compare import differences, labels, origin, settings
from saesweep.config_file import dump_config
from saesweep.errors import RunError
from saesweep.files import Row
from saesweep.grid import Cell
from saesweep.metrics.references import references
from saesweep.metrics.seeds import Point, points, seed_count, variant_name
from saesweep.report.details import details, numbers, points_kept
from saesweep.run_folder import Run
from saesweep.tables import counts

ANIMATIONS = {"gif": "image/gif", "webp": "image/webp", "mp4": "video/mp4"}
LOG_LINES = 40
"""Of the log of a cell that failed."""
DIGITS = 10
"""Penalties that agree to so many digits are the same: two runs may round them differently."""


def payload(
    runs: Sequence[Run],
    folder: Path,
    *,
    inline: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Row:
    """All that a page in ``folder`` shows of ``runs``.

    GIFs are links from there, or with ``inline`` the files themselves. ``progress`` is told (cells
    read, cells in all).
    """
    total = sum(len(run.cells) for run in runs)
    done = count(1)
    tell = (lambda: progress(next(done), total)) if progress else (lambda: None)
    pages = [
        _run(run, label, _Links(folder, inline), points_kept(total), tell)
        for run, label in zip(runs, labels(runs), strict=True)
    ]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M"),
        "failed": [
            _named(cell, page, len(runs))
            for page in pages
            for cell in page["cells"]
            if "reason" in cell
        ],
        "metrics": {key: asdict(metric) for key, metric in METRICS.items()},
        "runs": pages,
        "differences": [
            asdict(found)
            for found in (
                *differences(list(map(settings, runs))),
                *differences(list(map(origin, runs))),
            )
        ],
    }


def _named(cell: Row, page: Row, runs: int) -> Row:
    """A cell, with the name of its run where there are several."""
    return {**cell, "name": f"{page['label']}: {cell['name']}"} if runs > 1 else cell


class _Links:
    """How the page refers to files: from ``folder``, or with ``inline`` by their content."""

    def __init__(self, folder: Path, inline: bool) -> None:
        self.folder, self.inline = folder.resolve(), inline

    def animation(self, run: Run, name: str) -> Row | None:
        """``gifs/<name>`` in the first format that is there."""
        for ending, kind in ANIMATIONS.items():
            path = run.gifs_dir / f"{name}.{ending}"
            # A stranger's run may hold a link to a file that is not to be passed on.
            inside = path.resolve().is_relative_to(run.path.resolve())
            if path.is_file() and inside:
                return {"kind": kind, "source": self._source(path, kind)}
        return None

    def _source(self, path: Path, kind: str) -> str:
        if self.inline:
            with contextlib.suppress(OSError):
                content = base64.b64encode(path.read_bytes()).decode("ascii")
                return f"data:{kind};base64,{content}"
        return quote(os.path.relpath(path.resolve(), self.folder))


def _run(run: Run, label: str, links: _Links, most: int, tell: Callable[[], None]) -> Row:
    rows = run.metrics()
    cells = [_cell(run, row, links) for row in rows]
    packed = []
    for cell in run.cells:
        packed.append(details(run, cell, most))
        tell()
    places = {cell.name: index for index, cell in enumerate(run.cells)}
    return {
        "label": label,
        "path": str(run.path),
        "folder": str(run.path.resolve()),
        "counts": counts(rows),
        "config": dump_config(run.config),
        "origin": origin(run),
        "command": _command(run),
        "known": run.config.data.n_features > 0,
        "seeds": seed_count(rows),
        "threshold": run.config.eval.learned_threshold,
        "axes": [asdict(axis) for axis in run.sparsity_axes],
        "columns": _columns(rows),
        "cells": cells,
        "metrics": _metrics(rows),
        "points": [_point(run, point, places) for point in points(rows)],
        "references": _references(run, rows),
        "baselines": _baselines(run),
        "imported": [
            {"name": row["cell"], "dict_size": row["dict_size"], "metrics": _values(row)}
            for row in run.imported()
        ],
        "grids": [
            found
            for name in ("grid", *(f"grid_{axis.key}" for axis in run.sparsity_axes))
            if (found := links.animation(run, name))
        ],
        "details": packed,
    }


def _baselines(run: Run) -> list[Row]:
    """The baselines, without columns that no row has a value for."""
    rows = run.baselines()
    columns = [
        key for key in (rows[0] if rows else {}) if any(row[key] == row[key] for row in rows)
    ]
    return [{key: row[key] for key in columns} for row in rows]


def _command(run: Run) -> str:
    """How the run was started, as it was typed; empty if that is not known."""
    words = (provenance.first(run) or {}).get("command")
    if not isinstance(words, list) or not words:
        return ""
    return " ".join([os.path.basename(str(words[0])), *map(str, words[1:])])


def _columns(rows: Sequence[Row]) -> list[str]:
    """The columns of `Run.metrics` that are hyperparameters."""
    return [name for name in rows[0] if name not in METRICS and name not in ("cell", "state")]


def _metrics(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The metrics that any cell has, [cells] each."""
    columns = {key: numbers(row[key] for row in rows) for key in METRICS}
    return {key: column for key, column in columns.items() if any(v is not None for v in column)}


def _values(row: Row) -> Row:
    return dict(zip(METRICS, numbers(row[key] for key in METRICS), strict=True))


def _cell(run: Run, row: Row, links: _Links) -> Row:
    folder = run.folder(row["cell"])
    found: Row = {
        "name": row["cell"],
        "state": row["state"],
        "axes": [_plain(row[name]) for name in _columns([row])],
        "animation": links.animation(run, row["cell"]),
    }
    if row["state"] in ("failed", "damaged"):
        found["reason"] = folder.error() or "its files are not those of its result"
        with contextlib.suppress(RunError):
            found["log"] = "\n".join(folder.logs().splitlines()[-LOG_LINES:])
    return found


def _plain(value: Any) -> Any:
    return numbers([value])[0] if isinstance(value, float) else value


def _point(run: Run, point: Point, places: Mapping[str, int]) -> Row:
    """A point of the grid; ``places`` are the numbers of cells by name."""
    cell: Cell = run.cell(point.cells[0])
    known = [key for key in METRICS if point.values(key)]
    several = len(point.rows) > 1
    return {
        "name": point.name,
        "cells": [places[name] for name in point.cells],
        "axis": cell.axis.key,
        "sparsity": float(f"{cell.sparsity:.{DIGITS}g}"),
        "size": cell.dict_size,
        "ratio": _plain(cell.dict_size / run.config.data.ratio_unit[0]),
        "variant": variant_name(point.apart(cell)),
        "apart": {axis: _plain(value) for axis, value in point.apart(cell).items()},
        "state": point.state,
        "done": sum(row["state"] == "done" for row in point.rows),
        "mean": dict(zip(known, numbers(point.mean(key) for key in known), strict=True)),
        "spread": dict(zip(known, numbers(point.spread(key) for key in known), strict=True))
        if several
        else {},
    }


def _references(run: Run, rows: Sequence[Row]) -> Row:
    """For each metric that has any: baselines by dictionary size, and those that stand alone."""
    sizes = sorted({row["dict_size"] for row in rows})
    baselines = run.baselines()
    found = {}
    for key in METRICS:
        known = references(baselines, key, sizes)
        if known.rows or known.marks:
            by_size = {
                name: dict(zip(map(str, sizes), numbers(values), strict=True))
                for name, values in known.rows.items()
            }
            found[key] = {"rows": by_size, "marks": {n: _plain(v) for n, v in known.marks.items()}}
    return found
