"""The command line: parse, call, print."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from saesweep import terminal
from saesweep.errors import Interrupted, StorageError, UsageError

if TYPE_CHECKING:
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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

# Short ways to set keys of `jobs`.
Backend = Annotated[
    str | None, typer.Option(help="Where jobs run: local, ray or slurm.", show_default=False)
]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", show_default=False),
]
PerDevice = Annotated[
    int | None, typer.Option(help="Jobs at once on one device.", show_default=False)
]
Stacked = Annotated[
    str | None,
    typer.Option("--stack", metavar="N", help="Cells a job trains: auto, or a number."),
]
Retries = Annotated[
    int | None,
    typer.Option(help="How often a job that was killed is started again.", show_default=False),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")]
RayAddress = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster that runs; implies ray.")
]
Detach = Annotated[bool, typer.Option("--detach", help="With slurm: submit, and return at once.")]

MOST_ROWS = 40
"""Rows of the table that `run` ends with; `results` has them all."""


def _settings(
    backend: str | None,
    device: str | None,
    per_device: int | None,
    stack: str | None,
    retries: int | None,
    fail_fast: bool,
    ray_address: str | None,
    detach: bool,
) -> list[str]:
    """The flags about jobs as overrides of the config."""
    if ray_address is not None and backend is None:
        backend = "ray"
    flags = {
        "backend": backend,
        "device": device,
        "per_device": per_device,
        "stack": stack,
        "retries": retries,
        "fail_fast": "true" if fail_fast else None,
        "ray.address": ray_address,
        "slurm.detach": "true" if detach else None,
    }
    return [f"jobs.{key}={value}" for key, value in flags.items() if value is not None]


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


def _refuse_idle_flags(backend: str, ray_address: str | None, detach: bool) -> None:
    if ray_address is not None and backend != "ray":
        raise UsageError(f"--ray-address is for the backend ray, and this is {backend}")
    if detach and backend != "slurm":
        raise UsageError(f"--detach is for the backend slurm, and this is {backend}")


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    name: Annotated[
        str | None, typer.Option(help="The run's folder; else the first free runN.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("outputs"),
    backend: Backend = None,
    device: Device = None,
    per_device: PerDevice = None,
    stack: Stacked = None,
    retries: Retries = None,
    fail_fast: FailFast = False,
    ray_address: RayAddress = None,
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train the grid of CONFIG and write its metrics and figures."""
    from saesweep.config_file import load_config

    jobs = _settings(backend, device, per_device, stack, retries, fail_fast, ray_address, detach)
    loaded = load_config(config, [*(overrides or []), *jobs])
    _refuse_idle_flags(loaded.jobs.backend, ray_address, detach)
    if dry_run:
        from saesweep.plan_text import plan_json, plan_text

        print(plan_json(loaded) if as_json else plan_text(loaded))
        return

    def make() -> Run:
        from saesweep.sweep import new_run

        return new_run(loaded, out, name)

    _train(make, quiet, as_json)


@app.command()
def resume(
    path: RunPath,
    overrides: Overrides = None,
    backend: Backend = None,
    device: Device = None,
    per_device: PerDevice = None,
    stack: Stacked = None,
    retries: Retries = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train failed and damaged cells again.")
    ] = False,
    fail_fast: FailFast = False,
    ray_address: RayAddress = None,
    detach: Detach = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Continue RUN from its checkpoints. Cells that are done are never touched.

    It may go on elsewhere than it began: --set and the flags change keys of jobs.
    """
    from saesweep.run_folder import Run

    jobs = _settings(backend, device, per_device, stack, retries, fail_fast, ray_address, detach)
    opened = Run(path)
    settings = opened.settings([*(overrides or []), *jobs])
    _refuse_idle_flags(settings.backend, ray_address, detach)
    _train(lambda: opened, quiet, as_json, settings=settings, retry_failed=retry_failed)


@app.command("_job", hidden=True)
def job(
    path: RunPath,
    cells: Annotated[list[str], typer.Argument(metavar="CELL...")],
    device: Annotated[str, typer.Option()] = "cpu",
    token: Annotated[str, typer.Option()] = "",
) -> None:
    """Train CELLs of RUN stacked, or with - the jobs that come in on standard input."""
    import os
    import sys

    from saesweep.jobs.worker import work_on

    try:
        work_on(path, cells, device, token or None)
    except StorageError as error:  # the sweep asks why, and gives no other job to do
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(os.EX_IOERR) from None


@app.command("_collect", hidden=True)
def collect(path: RunPath) -> None:
    """Write the tables and figures of RUN, when jobs that nobody waited for are over."""
    from saesweep.run_folder import Run
    from saesweep.sweep import write_up

    write_up(Run(path))


@app.command()
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

    terminal.one_of("--format", form, FORMATS)
    rows = Run(path).metrics()
    content = text(rows, form)
    if isinstance(content, str):
        print(content)
    else:
        terminal.console().print(content)
        print(summary_line(rows, path))


@app.command()
def compare(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="KEY", help="Shown for each cell. Repeatable."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, csv, json or md.")] = "table",
) -> None:
    """Show what differs between RUNs: config, provenance, and metrics cell by cell."""
    from saesweep.compare import check_metrics
    from saesweep.compare import compare as compared
    from saesweep.compare_text import rendered
    from saesweep.run_folder import Run
    from saesweep.tables import FORMATS

    terminal.one_of("--format", form, FORMATS)
    chosen = check_metrics(metrics or [])
    content = rendered(compared([Run(path) for path in paths]), form, chosen)
    if isinstance(content, str):
        print(content)
    else:
        terminal.console().print(content)


@app.command()
def plot(path: RunPath, quiet: Quiet = False, as_json: Json = False) -> None:
    """Draw the heatmaps, curves and data figures of RUN from what is on disk."""
    from saesweep.run_folder import Run

    opened = Run(path)
    from saesweep.figures.stills import draw_stills

    drawn = draw_stills(opened, report=None if quiet or as_json else print)
    terminal.print_paths(drawn, opened.figures_dir, quiet, as_json)


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

    terminal.one_of("--format", form, ("gif", "mp4", "webp"))
    opened = Run(path)
    chosen = opened.matching(cells) if cells else None
    from saesweep.figures.gifs import draw_gifs

    with terminal.progress_bar("frames", quiet or as_json) as progress:
        drawn = draw_gifs(
            opened, chosen, format=form, fps=fps, grid=chosen is None, progress=progress
        )
    terminal.print_paths(drawn, opened.gifs_dir, quiet, as_json)


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

    terminal.print_paths(draw_data_of(loaded, folder), folder, quiet, as_json)


@app.command()
def schema() -> None:
    """Print the JSON schema of a config, for editors."""
    from saesweep.config_file import json_schema

    print(json_schema())


def _train(open_run: Callable[[], Run], quiet: bool, as_json: bool, **options: Any) -> NoReturn:
    """Run a sweep under a display, print what it came to, and exit with its code."""
    from saesweep.tables import results_table, summary_line

    run: Run | None = None
    try:
        with terminal.display(quiet) as reporter:
            reporter.note("starting")
            with terminal.nothing_to_lose():
                from saesweep.sweep import run_sweep

            run = open_run()
            summary = run_sweep(run, reporter, **options)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
        how = f"; continue with `saesweep resume {run.path}`" if run else ""
        raise Interrupted(f"interrupted{how}") from None
    except StorageError as error:
        if run is None:
            raise
        room = "make room, then " if "No space left" in str(error) else ""
        hint = f"what is done is kept; {room}`saesweep resume {run.path}` goes on"
        raise StorageError(f"{error}\n{hint}") from error
    path, rows = summary.run.path, summary.rows
    if not summary.over:
        if as_json:
            terminal.print_json({"run": str(path), "done": False, "cells": []})
        elif not quiet:
            print(f"{path}: submitted; follow it with `saesweep status {path} --watch`")
        raise typer.Exit(0)
    if as_json:
        terminal.print_json({"run": str(path), "done": summary.done, "cells": rows})
    elif not quiet:
        terminal.console().print(results_table(rows, most=MOST_ROWS))
        if len(rows) > MOST_ROWS:
            print(f"… the {MOST_ROWS} of {len(rows)} cells with the highest mmcs")
        print(summary_line(rows, path))
    raise typer.Exit(0 if summary.done else 1)
