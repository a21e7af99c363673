"""The command line: parse, call, print."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from saesweep.errors import Interrupted, SaesweepError, StorageError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from saesweep.reporting import Reporter
    from saesweep.run_folder import Run

app = typer.Typer(
    help="Train grids of sparse autoencoders and see what each one learned.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file: the sweep.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as outputs/run1.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key, as train.lr=1e-3. Repeatable."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", show_default=False),
]
MOST_ROWS = 40
"""Rows of the table that `run` ends with; `results` has them all."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from saesweep.version import __version__

        print(f"saesweep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options that stand before the command."""


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    name: Annotated[
        str | None, typer.Option(help="The run's folder; else the first free runN.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("outputs"),
    device: Device = None,
    backend: Annotated[str | None, typer.Option(help="Where jobs run: local.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    fail_fast: FailFast = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train the grid of CONFIG and write its metrics and figures."""
    from saesweep.config_file import load_config

    flags = {"jobs.device": device, "jobs.backend": backend}
    changes = [f"{key}={value}" for key, value in flags.items() if value is not None]
    loaded = load_config(config, [*(overrides or []), *changes])
    if dry_run:
        from saesweep.plan_text import plan_json, plan_text

        print(plan_json(loaded) if as_json else plan_text(loaded))
        return

    def make() -> Run:
        from saesweep.sweep import new_run

        return new_run(loaded, out, name)

    _train(make, quiet, as_json, fail_fast=fail_fast)


@app.command()
def resume(
    path: RunPath,
    device: Device = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train failed and damaged cells again.")
    ] = False,
    fail_fast: FailFast = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Continue RUN with the cells that are not done. Finished cells are never touched."""
    from saesweep.run_folder import Run

    options = {"device": device, "retry_failed": retry_failed, "fail_fast": fail_fast}
    _train(lambda: Run(path), quiet, as_json, **options)


@app.command()
def status(
    path: RunPath,
    watch: Annotated[bool, typer.Option("--watch", help="Follow until nothing runs.")] = False,
    as_json: Json = False,
) -> None:
    """Show what has become of each cell of RUN."""
    from saesweep.run_folder import Run
    from saesweep.tables import counts, status_rows, status_table

    followed = Run(path)
    console = _console()
    while True:
        rows = status_rows(followed)
        if as_json:
            _print_json({"run": str(path), "cells": rows})
        else:
            if watch and console.is_terminal:
                console.clear()
            console.print(status_table(rows))
            console.print(f"{path}: {counts(rows)}", highlight=False, markup=False, soft_wrap=True)
        if not watch or not followed.is_locked():
            return
        time.sleep(2)


@app.command()
def logs(path: RunPath, cell: Annotated[str, typer.Argument(metavar="CELL")]) -> None:
    """Print the log of a CELL of RUN, and its error if it failed."""
    from saesweep.run_folder import Run

    print(Run(path).folder(cell).logs())


@app.command()
def results(
    path: RunPath,
    form: Annotated[str, typer.Option("--format", help="table, csv, json or md.")] = "table",
) -> None:
    """Print the metrics of RUN, a line a cell; csv, json and md have all of them."""
    from saesweep.run_folder import Run
    from saesweep.tables import FORMATS, summary_line
    from saesweep.tables import results as text

    _one_of("--format", form, FORMATS)
    rows = Run(path).metrics()
    content = text(rows, form)
    if isinstance(content, str):
        print(content)
    else:
        _console().print(content)
        print(f"{path}: {summary_line(rows)}")


@app.command()
def plot(path: RunPath, quiet: Quiet = False, as_json: Json = False) -> None:
    """Draw the heatmaps, curves and data figures of RUN from what is on disk."""
    from saesweep.run_folder import Run

    opened = Run(path)
    from saesweep.figures.stills import draw_stills

    drawn = draw_stills(opened, report=None if quiet or as_json else print)
    _print_paths(drawn, opened.figures_dir, quiet, as_json)


@app.command()
def gif(
    path: RunPath,
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CELL]...", help="Cells, or patterns as 'l1=0.1*'."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="gif, mp4 or webp.")] = "gif",
    fps: Annotated[float, typer.Option(min=1, max=50, help="Frames a second.")] = 12,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw each CELL of RUN (all without names) as it learns, and the whole grid."""
    from saesweep.run_folder import Run

    _one_of("--format", form, ("gif", "mp4", "webp"))
    opened = Run(path)
    chosen = opened.matching(cells) if cells else None
    from saesweep.figures.gifs import draw_gifs

    with _progress_bar("frames", quiet or as_json) as progress:
        drawn = draw_gifs(
            opened, chosen, format=form, fps=fps, grid=chosen is None, progress=progress
        )
    _print_paths(drawn, opened.gifs_dir, quiet, as_json)


@app.command()
def data(
    config: ConfigPath,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Folder; else outputs/NAME_data.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw the data of CONFIG alone: vectors, samples, correlation, frequencies."""
    from saesweep.config_file import load_config

    loaded = load_config(config, overrides or [])
    folder = out or Path("outputs") / f"{loaded.name}_data"
    from saesweep.sweep import draw_data_of

    _print_paths(draw_data_of(loaded, folder), folder, quiet, as_json)


@app.command()
def schema() -> None:
    """Print the JSON schema of a config, for editors."""
    from saesweep.config_file import json_schema

    print(json_schema())


def main() -> None:
    """Run the command line; errors become one or two lines and an exit code."""
    # --debug may stand anywhere: it is moved to where the parser wants it.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word != "--debug")
    debug = sys.argv[1:2] == ["--debug"]
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        _complain(error)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _complain(error: Exception) -> NoReturn:
    if isinstance(error, SaesweepError):
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if isinstance(error, MemoryError) or "allocate" in str(error):  # torch raises RuntimeError
        print(f"error: out of memory: {str(error).splitlines()[-1]}", file=sys.stderr)
        sys.exit(1)
    name = type(error).__name__
    print(
        f"error: {name}: {error}\nThis is a fault in saesweep: --debug shows where.",
        file=sys.stderr,
    )
    sys.exit(1)


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    # Nothing is cut off on its way into a file or another program.
    return console if console.is_terminal else Console(stderr=stderr, width=1000)


def _train(open_run: Callable[[], Run], quiet: bool, as_json: bool, **options: Any) -> NoReturn:
    """Run a sweep under a display, print what it came to, and exit with its code."""
    from saesweep.tables import results_table, summary_line

    run: Run | None = None
    try:
        with _display(quiet) as reporter:
            reporter.note("starting")
            from saesweep.sweep import run_sweep

            run = open_run()
            summary = run_sweep(run, reporter, **options)
    except KeyboardInterrupt:
        how = f"; continue with `saesweep resume {run.path}`" if run else ""
        raise Interrupted(f"interrupted{how}") from None
    except StorageError as error:
        if run is None:
            raise
        hint = f"what is done is kept; make room, then `saesweep resume {run.path}`"
        raise StorageError(f"{error}\n{hint}") from error
    path, rows = summary.run.path, summary.rows
    if as_json:
        _print_json({"run": str(path), "done": summary.done, "cells": rows})
    elif not quiet:
        _console().print(results_table(rows, most=MOST_ROWS))
        if len(rows) > MOST_ROWS:
            print(f"… the {MOST_ROWS} of {len(rows)} cells with the highest mmcs")
        print(f"{path}: {summary_line(rows)}")
    raise typer.Exit(0 if summary.done else 1)


@contextlib.contextmanager
def _display(quiet: bool) -> Iterator[Reporter]:
    from saesweep.display import LiveDisplay, PlainDisplay
    from saesweep.reporting import Reporter

    console = _console(stderr=True)
    if quiet:
        yield Reporter()
    elif console.is_terminal:
        with LiveDisplay(console) as display:
            yield display
    else:
        yield PlainDisplay(console)


@contextlib.contextmanager
def _progress_bar(what: str, quiet: bool) -> Iterator[Any]:
    """A function (done, total) that shows progress on a terminal, or None."""
    console = _console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _one_of(option: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise UsageError(f"{option} {given}: should be one of {', '.join(allowed)}")


def _print_paths(paths: list[Path], folder: Path, quiet: bool, as_json: bool) -> None:
    if as_json:
        _print_json({"files": [str(path) for path in paths]})
    elif not quiet:
        print(f"{folder}: {len(paths)} files")


def _print_json(data: Any) -> None:
    from saesweep.files import to_json

    print(to_json(data))
