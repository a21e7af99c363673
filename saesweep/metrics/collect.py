"""From the results of cells to tables: ``metrics.csv`` and a matrix for each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from saesweep.catalogue import METRICS
from saesweep.files import Row, write_rows
from saesweep.metrics.recovery import mmcs_between
from saesweep.run_folder import Run


def collect(run: Run) -> list[Row]:
    """Write the tables of ``run`` and return the long one, a row a cell."""
    rows = run.metrics()
    _compare_sizes(run, rows)
    write_rows(run.metrics_dir / "metrics.csv", rows, list(rows[0]))
    for key in METRICS:
        matrix, columns = _matrix(run, rows, key)
        write_rows(run.metrics_dir / f"{key}.csv", matrix, columns)
    return rows


def _compare_sizes(run: Run, rows: Sequence[Row]) -> None:
    """Fill in mmcs_larger and mmcs_next_larger, for cells that differ only in dictionary size."""
    alike: dict[tuple[object, ...], list[Row]] = {}
    for row, cell in zip(rows, run.cells, strict=True):
        row["mmcs_larger"] = row["mmcs_next_larger"] = math.nan
        alike.setdefault((cell.l1, *cell.extra.values()), []).append(row)
    for family in alike.values():
        family.sort(key=lambda row: int(row["dict_size"]))
        atoms = [run.sae(row["cell"]).W_dec if row["state"] == "done" else None for row in family]
        for i, (row, own) in enumerate(zip(family, atoms, strict=True)):
            if own is None:
                continue
            agreement = [mmcs_between(own, other) for other in atoms[i + 1 :] if other is not None]
            if agreement:
                row["mmcs_larger"] = fmean(agreement)
                # The next size may have failed; the one after it is not "next".
                row["mmcs_next_larger"] = agreement[0] if atoms[i + 1] is not None else math.nan


def _matrix(run: Run, rows: Sequence[Row], key: str) -> tuple[list[Row], list[str]]:
    """A metric as a matrix: rows dictionary size, columns L1; blocks for values of other axes."""
    lines: dict[tuple[object, ...], Row] = {}
    extra = list(run.cells[0].extra)
    for row, cell in zip(rows, run.cells, strict=True):
        heads = {**cell.extra, "dict_size": cell.dict_size}
        line = lines.setdefault(tuple(heads.values()), heads)
        line[f"{cell.l1:.10g}"] = row[key]
    penalties = dict.fromkeys(f"{cell.l1:.10g}" for cell in run.cells)
    return list(lines.values()), [*extra, "dict_size", *penalties]
