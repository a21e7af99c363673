"""Results as text: for a terminal, a spreadsheet, a program, or a README."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.table import Table

from saesweep.catalogue import METRICS, main_metric
from saesweep.cell_folder import UNFINISHED
from saesweep.files import Row, to_json
from saesweep.metrics.seeds import Point, best_points, points, seed_count
from saesweep.run_folder import Run

FORMATS = ("table", "csv", "json", "md")
SHOWN = ("recon_loss", "mmcs", "mmcs_larger", "dead_neurons", "l0", "fvu")
"""The metrics that fit into 80 columns beside the name of a cell."""
SHOWN_WITHOUT = ("recon_loss", "fvu", "l0", "dead_neurons", "mmcs_larger", "ce_recovered_mean")
"""The same where no true feature is known."""
HEADS = {
    "recon_loss": "recon",
    "mmcs_larger": "larger",
    "dead_neurons": "dead",
    "ce_recovered_mean": "ce",
}


def number(value: Any, digits: int = 4) -> str:
    """A metric in few digits.

    >>> number(0.0012345), number(37.0), number(float("nan"))
    ('0.001234', '37', 'n/a')
    """
    if not isinstance(value, int | float):
        return str(value)
    if math.isnan(value):
        return "n/a"
    return (
        f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.{digits}g}"
    )


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
    """The main metrics, a line a cell, at most ``most`` lines: those with the best `main_metric`.

    A star marks the best value of a column that has a better way. With several seeds a line is of
    means over them; ``±`` is the standard deviation of that metric, ``seeds`` how many are done.
    """
    (first, *heads), lines = _cells(rows, most)
    several = seed_count(rows) > 1
    table = Table(box=None, pad_edge=False, collapse_padding=several, header_style="bold")
    table.add_column(first, overflow="fold")  # numbers stay whole
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def results_html(rows: Sequence[Row], most: int) -> str:
    """`results_table` as HTML, at most ``most`` lines, and what that leaves out."""
    heads, lines = _cells(rows, most)
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(map(_html_cell, line))}</tr>" for line in lines)
    note = left_out(rows, most)
    return f"<table><tr>{head}</tr>{body}</table>" + (f"<p>{escape(note)}</p>" if note else "")


def _html_cell(text: str) -> str:
    words = escape(text.strip())
    return f"<td>{f'<b>{words}</b>' if words.endswith('*') else words}</td>"


def _cells(rows: Sequence[Row], most: int | None) -> tuple[list[str], list[list[str]]]:
    """The heads of `results_table`, and its lines."""
    several, folded = seed_count(rows) > 1, points(rows)
    keys = shown_keys(folded)
    best = {key: {point.name for point in best_points(folded, key)} for key in keys}
    shown = _in_order(folded)[:most] if most and len(folded) > most else folded
    lines = [[point.name, *_line(point, keys, best, several)] for point in shown]
    return ["mean" if several else "cell", *_heads(keys, several)], lines


def left_out(rows: Sequence[Row], most: int) -> str:
    """Which lines `results_table` shows where there are more than ``most``; empty if it has all."""
    folded = points(rows)
    lines, best = len(folded), "lowest fvu" if main_of(folded) == "fvu" else "highest mmcs"
    what = "points of the grid" if seed_count(rows) > 1 else "cells"
    return f"… the {most} of {lines} {what} with the {best}" if lines > most else ""


def main_of(folded: Sequence[Point]) -> str:
    """The metric that tells most of these points."""
    found = ({key: point.mean(key) for key in ("mmcs", "fvu")} for point in folded)
    return "fvu" if "fvu" in map(main_metric, found) else "mmcs"


def shown_keys(folded: Sequence[Point]) -> tuple[str, ...]:
    """The metrics of these points that are shown where there is no room for all."""
    return SHOWN_WITHOUT if main_of(folded) == "fvu" else SHOWN


def _in_order(folded: Sequence[Point]) -> list[Point]:
    """Those that are best in the main metric first, and those without it last."""
    main = main_of(folded)
    sign = 1 if METRICS[main].direction == "lower" else -1
    return sorted(
        folded, key=lambda p: math.inf if math.isnan(p.mean(main)) else sign * p.mean(main)
    )


def _heads(keys: Sequence[str], several: bool) -> list[str]:
    heads = [HEADS.get(key, key) for key in keys]
    if several:
        heads.insert(keys.index("mmcs" if "mmcs" in keys else "fvu") + 1, "±")
        heads.append("seeds")
    return heads


def _line(point: Point, keys: Sequence[str], best: dict[str, set[str]], several: bool) -> list[str]:
    """What stands behind the name of a point: its state, or its metrics under `_heads`."""
    if point.state != "done":
        return [point.state] + [""] * (len(_heads(keys, several)) - 1)
    digits = 3 if several else 4
    marks = {key: "*" if point.name in best[key] else " " for key in keys}
    line = [number(point.mean(key), digits) + marks[key] for key in keys]
    if several:
        main = "mmcs" if "mmcs" in keys else "fvu"
        line.insert(keys.index(main) + 1, number(point.spread(main), 2))
        done = sum(row["state"] == "done" for row in point.rows)
        line.append(f"{done}/{len(point.rows)}")
    return line


def summary_line(rows: Sequence[Row], path: str | Path) -> str:
    """What stands below the table of the run at ``path``: what is done, and how to go on."""
    losses = ", ".join(dict.fromkeys(row["loss"] for row in rows))
    seeds, main = seed_count(rows), main_of(points(rows))
    means = f"; means over {seeds} seeds, ± standard deviation of {main}" if seeds > 1 else ""
    states = {row["state"] for row in rows}
    hint = ""
    if "running" in states:
        hint += f"\n`saesweep status {path} --watch` follows those that run"
    elif states & {*UNFINISHED}:
        hint += f"\n`saesweep resume {path}` goes on with those that wait"
    if states & {"failed", "damaged"}:
        hint += f"\n`saesweep resume {path} --retry-failed` trains the others again"
    return f"{path}: {counts(rows)} (loss: {losses}; * best of the column{means}){hint}"


def status_rows(run: Run, queued: Collection[str] = (), before: Sequence[Row] = ()) -> list[Row]:
    """For each cell its state, how far it is, and why it failed.

    ``queued`` cells wait in a cluster. What was done in the rows ``before`` is not looked at again:
    hashing the files of 2,000 cells takes a second.
    """
    running = run.running()
    known = {row["cell"]: row for row in before if row["state"] == "done"}
    return [
        known.get(cell.name) or _status(run, cell.name, running, cell.name in queued)
        for cell in run.cells
    ]


def _status(run: Run, name: str, running: Collection[str], queued: bool) -> Row:
    folder, state = run.folder(name), run.state(name, running)
    if queued and state in ("waiting", "interrupted"):
        state = "queued"
    epochs = folder.cell.train.epochs
    epoch, latest = folder.progress(otherwise=epochs if state == "done" else 0)
    return {
        "cell": name,
        "state": state,
        "epoch": epoch,
        "epochs": epochs,
        **latest,
        "reason": folder.error() if state == "failed" else "",
    }


def status_table(rows: Sequence[Row]) -> Table:
    """`status_rows` for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    main = "fvu" if "fvu" in map(main_metric, rows) else "mmcs"
    for head in ("cell", "state", "epoch", main):
        table.add_column(
            head, no_wrap=True, justify="left" if head in ("cell", "state") else "right"
        )
    table.add_column("")
    for row in rows:
        value = "" if math.isnan(row[main]) else number(row[main])
        epoch = f"{row['epoch']}/{row['epochs']}"
        table.add_row(row["cell"], row["state"], epoch, value, row["reason"])
    return table


def tally(rows: Sequence[Row]) -> dict[str, int]:
    """How many cells are in which state."""
    return dict(Counter(row["state"] for row in rows))


def counts(rows: Sequence[Row]) -> str:
    """The same in words: ``10 done, 2 failed``."""
    return ", ".join(f"{count} {state}" for state, count in tally(rows).items())
