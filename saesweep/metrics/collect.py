"""From the results of cells to tables: ``metrics.csv`` and a matrix for each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

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
        if row["state"] == "done":
            alike.setdefault((cell.l1, *cell.extra.values()), []).append(row)
    for family in alike.values():
        family.sort(key=lambda row: int(row["dict_size"]))
        atoms = [run.sae(row["cell"]).W_dec for row in family]
        for i, row in enumerate(family[:-1]):
            agreement = [_mmcs_between(atoms[i], larger) for larger in atoms[i + 1 :]]
            row["mmcs_larger"], row["mmcs_next_larger"] = fmean(agreement), agreement[0]


def _mmcs_between(atoms: Tensor, larger: Tensor) -> float:
    """`recovery.mmcs_between`, with at most 1,024 rows of the cosine matrix in memory."""
    parts = atoms.split(1024)
    weights = torch.tensor([len(part) for part in parts], dtype=torch.float64)
    means = torch.tensor([mmcs_between(part, larger) for part in parts], dtype=torch.float64)
    return ((means * weights).sum() / weights.sum()).item()


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
