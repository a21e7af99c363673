"""Results as text: for a terminal, a spreadsheet, a program, or a README."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from saesweep.catalogue import METRICS
from saesweep.files import Row, to_json
from saesweep.run_folder import Run

FORMATS = ("table", "csv", "json", "md")
SHOWN = ("recon_loss", "mmcs", "mmcs_larger", "dead_neurons", "l0", "fvu")
"""The metrics that fit into 80 columns beside the name of a cell."""
HEADS = {"recon_loss": "recon", "mmcs_larger": "larger", "dead_neurons": "dead"}


def number(value: Any) -> str:
    """A metric in four digits.

    >>> number(0.0012345), number(37.0), number(float("nan"))
    ('0.001234', '37', 'n/a')
    """
    if not isinstance(value, int | float):
        return str(value)
    if math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"


def results(rows: Sequence[Row], form: str) -> str | Table:
    """``rows`` in one of `FORMATS`; all but ``table`` have every column."""
    if form == "json":
        return to_json(rows)
    columns = list(rows[0])
    if form == "csv":
        file = io.StringIO()
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().rstrip("\n")
    if form == "md":
        lines = [columns, ["---"] * len(columns)]
        lines += [[number(row[column]) for column in columns] for row in rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return results_table(rows)


def results_table(rows: Sequence[Row], most: int | None = None) -> Table:
    """The main metrics, a line a cell, at most ``most`` lines: those with the highest MMCS.

    A star marks the best value of a column that has a better way.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", no_wrap=True)
    for key in SHOWN:
        table.add_column(HEADS.get(key, key), justify="right", no_wrap=True)
    best = {key: _best(rows, key) for key in SHOWN}
    shown = sorted(rows, key=_by_mmcs)[:most] if most and len(rows) > most else rows
    for row in shown:
        if row["state"] == "done":
            marks = ["*" if row["cell"] == best[key] else " " for key in SHOWN]
            values = [number(row[key]) + mark for key, mark in zip(SHOWN, marks, strict=True)]
        else:
            values = [str(row["state"])] + [""] * (len(SHOWN) - 1)
        table.add_row(row["cell"], *values)
    return table


def _by_mmcs(row: Row) -> float:
    return -row["mmcs"] if row["mmcs"] == row["mmcs"] else math.inf


def _best(rows: Sequence[Row], key: str) -> str | None:
    """The name of the cell that is best in ``key``; None where none is better than another."""
    known = [row for row in rows if not math.isnan(row[key])]
    direction = METRICS[key].direction
    if direction is None or len({row[key] for row in known}) < 2:
        return None
    chosen = (min if direction == "lower" else max)(known, key=lambda row: row[key])
    return str(chosen["cell"])


def summary_line(rows: Sequence[Row], path: str | Path) -> str:
    """What stands below the table of the run at ``path``: what is done, and how to go on."""
    losses = ", ".join(dict.fromkeys(row["loss"] for row in rows))
    states = {row["state"] for row in rows}
    hint = ""
    if "waiting" in states:
        hint += f"\n`saesweep resume {path}` goes on with those that wait"
    if states & {"failed", "damaged"}:
        hint += f"\n`saesweep resume {path} --retry-failed` trains the others again"
    return f"{path}: {counts(rows)} (loss: {losses}; * best of the column){hint}"


def status_rows(run: Run, queued: Collection[str] = (), before: Sequence[Row] = ()) -> list[Row]:
    """For each cell its state, how far it is, and why it failed.

    ``queued`` cells wait in a cluster. What was done in the rows ``before`` is not looked at again:
    hashing the files of 2,000 cells takes a second.
    """
    running = run.running()
    known = {row["cell"]: row for row in before if row["state"] == "done"}
    return [
        known.get(cell.name) or _status(run, cell.name, cell.name in running, cell.name in queued)
        for cell in run.cells
    ]


def _status(run: Run, name: str, running: bool, queued: bool) -> Row:
    folder = run.folder(name)
    state: str = folder.state()
    epochs = folder.cell.train.epochs
    if state == "waiting":
        if running:
            state = "running"
        elif queued:
            state = "queued"
        elif folder.is_begun():
            state = "interrupted"
    epoch, mmcs = folder.progress(otherwise=epochs if state == "done" else 0)
    return {
        "cell": name,
        "state": state,
        "epoch": epoch,
        "epochs": epochs,
        "mmcs": mmcs,
        "reason": folder.error() if state == "failed" else "",
    }


def status_table(rows: Sequence[Row]) -> Table:
    """`status_rows` for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("cell", "state", "epoch", "mmcs"):
        table.add_column(
            head, no_wrap=True, justify="left" if head in ("cell", "state") else "right"
        )
    table.add_column("")
    for row in rows:
        mmcs = "" if math.isnan(row["mmcs"]) else number(row["mmcs"])
        epoch = f"{row['epoch']}/{row['epochs']}"
        table.add_row(row["cell"], row["state"], epoch, mmcs, row["reason"])
    return table


def tally(rows: Sequence[Row]) -> dict[str, int]:
    """How many cells are in which state."""
    return dict(Counter(row["state"] for row in rows))


def counts(rows: Sequence[Row]) -> str:
    """The same in words: ``10 done, 2 failed``."""
    return ", ".join(f"{count} {state}" for state, count in tally(rows).items())
