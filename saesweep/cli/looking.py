"""Commands that say what there is: status, logs, sae, results, compare."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from saesweep import terminal
from saesweep.cli import completing
from saesweep.cli.options import Format, Json, RunPath, RunPaths

CellName = Annotated[
    str,
    typer.Argument(
        metavar="CELL", help="Its name, as l1=0.1_dict=24.", autocompletion=completing.cells
    ),
]


def status(
    path: RunPath,
    watch: Annotated[bool, typer.Option("--watch", help="Follow until nothing runs.")] = False,
    as_json: Json = False,
) -> None:
    """Show what has become of each cell of RUN."""
    from saesweep.jobs.slurm_queue import live_jobs
    from saesweep.run_folder import Run
    from saesweep.tables import counts, status_rows, status_table, tally

    followed = Run(path)
    rows: list[dict[str, Any]] = []
    console = terminal.console()
    while True:
        queued = live_jobs(followed)
        rows = status_rows(followed, queued, rows)
        if as_json:
            totals = {"cells": len(rows), **tally(rows)}
            terminal.print_json({"run": str(path), "totals": totals, "cells": rows})
        else:
            if watch and console.is_terminal:
                console.clear()
            console.print(status_table(rows))
            console.print(f"{path}: {counts(rows)}", highlight=False, markup=False, soft_wrap=True)
        if not watch or not (queued or followed.is_locked()):
            return
        time.sleep(2)


def logs(path: RunPath, cell: CellName) -> None:
    """Print the log of a CELL of RUN, and its error if it failed."""
    from saesweep.run_folder import Run

    print(Run(path).folder(cell).logs())


def sae(
    path: RunPath,
    cell: CellName,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Length of each list.")] = 10,
    as_json: Json = False,
) -> None:
    """Show what the SAE of a CELL of RUN is: norms, how often latents fire, nearest features."""
    from saesweep import sae_report, sae_text
    from saesweep.run_folder import Run

    found = sae_report.report(Run(path), cell, top)
    if as_json:
        print(sae_text.as_json(found))
    else:
        terminal.console().print(sae_text.rendered(found))


def results(
    path: RunPath,
    form: Format = "table",
) -> None:
    """Print the metrics of RUN, a line a cell (or the mean of its seeds).

    csv, json and md have all metrics of each cell.
    """
    from saesweep.run_folder import Run
    from saesweep.tables import FORMATS, summary_line
    from saesweep.tables import results as text

    terminal.one_of("--format", form, FORMATS)
    run = Run(path)
    rows = run.metrics()
    content = text([*rows, *run.imported()], form)
    if isinstance(content, str):
        print(content)
    else:
        terminal.console().print(content)
        print(summary_line(rows, path))


def compare(
    paths: RunPaths,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="KEY",
            help="Shown for each cell. Repeatable.",
            autocompletion=completing.metrics,
        ),
    ] = None,
    form: Format = "table",
    figures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Draw the metrics of the RUNs side by side into it."),
    ] = None,
) -> None:
    """Show what differs between RUNs: config, provenance, and metrics cell by cell."""
    from saesweep.compare import check_metrics
    from saesweep.compare import compare as compared
    from saesweep.compare_text import rendered, titles
    from saesweep.run_folder import Run
    from saesweep.tables import FORMATS

    terminal.one_of("--format", form, FORMATS)
    chosen = check_metrics(metrics or [])
    runs = [Run(path) for path in paths]
    comparison = compared(runs)
    content = rendered(comparison, form, chosen)
    if isinstance(content, str):
        print(content)
    else:
        terminal.console().print(content)
    if figures is not None:
        from saesweep.figures.grid.side_by_side import Side, draw_side_by_side

        sides = [Side(*side) for side in zip(runs, titles(comparison), strict=True)]
        drawn = draw_side_by_side(sides, figures, chosen)
        terminal.print_paths(drawn, figures, quiet=form != "table", as_json=False)
