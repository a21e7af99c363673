"""From the results of cells to tables: ``metrics.csv`` and a matrix for each metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from saesweep.catalogue import METRICS, OF_LANGUAGE_MODELS
from saesweep.files import Row, write_rows
from saesweep.grid import Cell
from saesweep.metrics.prediction import write_prediction
from saesweep.metrics.recovery import mmcs_between
from saesweep.metrics.seeds import Point, points, seed_count
from saesweep.metrics.stability import fill_in_stability
from saesweep.metrics.tracking_table import write_tracking
from saesweep.run_folder import Run


def collect(run: Run, check: Callable[[], None] = lambda: None) -> list[Row]:
    """Write the tables of ``run`` and return the long one, a row a cell.

    With several seeds a matrix holds the means over them, and ``<key>_std.csv`` their sample
    standard deviations. ``check`` is called now and then while dictionaries are compared, and may
    raise.
    """
    rows = run.metrics()
    _compare_sizes(run, rows, check)
    fill_in_stability(run, rows, check)
    write_rows(run.metrics_dir / "metrics.csv", rows, list(rows[0]))
    folded = points(rows)
    for key in [key for key in METRICS if _is_measured(run, rows, key)]:
        _write_matrix(run, f"{key}.csv", folded, [point.mean(key) for point in folded])
        if seed_count(rows) > 1:
            _write_matrix(run, f"{key}_std.csv", folded, [point.spread(key) for point in folded])
    if run.config.data.n_features:
        write_tracking(run, _done(run, rows))
        write_prediction(run, rows)
    return rows


def _is_measured(run: Run, rows: Sequence[Row], key: str) -> bool:
    """Whether a metric has a matrix: without known features, or a model, some have none."""
    sure = run.config.data.n_features > 0 and key not in OF_LANGUAGE_MODELS
    return sure or any(math.isfinite(row[key]) for row in rows)


def _done(run: Run, rows: Sequence[Row]) -> list[Cell]:
    return [cell for row, cell in zip(rows, run.cells, strict=True) if row["state"] == "done"]


def _compare_sizes(run: Run, rows: Sequence[Row], check: Callable[[], None]) -> None:
    """Fill in mmcs_larger and mmcs_next_larger, for cells that differ only in dictionary size."""
    alike: dict[tuple[object, ...], list[Row]] = {}
    for row, cell in zip(rows, run.cells, strict=True):
        row["mmcs_larger"] = row["mmcs_next_larger"] = math.nan
        alike.setdefault((cell.axis, cell.sparsity, *cell.extra.items()), []).append(row)
    for family in alike.values():
        family.sort(key=lambda row: int(row["dict_size"]))
        atoms = [run.sae(row["cell"]).W_dec if row["state"] == "done" else None for row in family]
        for i, (row, own) in enumerate(zip(family, atoms, strict=True)):
            larger = [other for other in atoms[i + 1 :] if other is not None]
            if own is None or not larger:
                continue
            check()
            agreement = [mmcs_between(own, other) for other in larger]
            row["mmcs_larger"] = fmean(agreement)
            # The next size may have failed; the one after it is not "next".
            row["mmcs_next_larger"] = agreement[0] if atoms[i + 1] is not None else math.nan


def _write_matrix(run: Run, name: str, folded: Sequence[Point], values: Sequence[float]) -> None:
    """One value a point: rows dictionary size, columns sparsity; blocks for values of other axes.

    Columns are L1 penalties, or with several sparsity axes called ``l1=0.1``, ``k=4``.
    """
    several = len(run.sparsity_axes) > 1
    apart = [axis for point in folded for axis in point.apart(run.cell(point.cells[0]))]
    lines: dict[tuple[object, ...], Row] = {}
    columns: dict[str, None] = {}
    for point, value in zip(folded, values, strict=True):
        cell = run.cell(point.cells[0])
        heads = {**dict.fromkeys(apart, ""), **point.apart(cell), "dict_size": cell.dict_size}
        line = lines.setdefault(tuple(heads.values()), dict(heads))
        column = f"{cell.sparsity:.10g}"
        line[f"{cell.axis.key}={column}" if several else column] = value
        columns |= dict.fromkeys(line)  # those of the axes come first
    write_rows(run.metrics_dir / name, list(lines.values()), list(columns))
