"""Commands that train: run, resume, and what jobs are started with."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from saesweep import terminal
from saesweep.cli import completing
from saesweep.cli.options import ConfigPath, Json, Overrides, Quiet, RunPath
from saesweep.errors import Interrupted, StorageError, UsageError

if TYPE_CHECKING:
    from saesweep.run_folder import Run
    from saesweep.sweep import Summary

# Short ways to set keys of `jobs`.
Backend = Annotated[
    str | None,
    typer.Option(
        help="Where jobs run: local, ray or slurm.",
        show_default=False,
        autocompletion=completing.of("local", "ray", "slurm"),
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N.",
        show_default=False,
        autocompletion=completing.of("auto", "cpu", "cuda"),
    ),
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


def _refuse_idle_flags(backend: str, ray_address: str | None, detach: bool) -> None:
    if ray_address is not None and backend != "ray":
        raise UsageError(f"--ray-address is for the backend ray, and this is {backend}")
    if detach and backend != "slurm":
        raise UsageError(f"--detach is for the backend slurm, and this is {backend}")


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

    _train(make, quiet, as_json, foresee=not quiet)


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


def job(
    path: RunPath,
    cells: Annotated[list[str], typer.Argument(metavar="CELL...")],
    device: Annotated[str, typer.Option()] = "cpu",
    token: Annotated[str, typer.Option()] = "",
) -> None:
    """Train CELLs of RUN stacked, or with - the jobs that come in on standard input."""
    import os

    from saesweep.jobs.worker import work_on

    try:
        work_on(path, cells, device, token or None)
    except StorageError as error:  # the sweep asks why, and gives no other job to do
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(os.EX_IOERR) from None


def collect(path: RunPath) -> None:
    """Write the tables and figures of RUN, when jobs that nobody waited for are over."""
    from saesweep.run_folder import Run
    from saesweep.sweep import write_up

    write_up(Run(path))


def _train(
    open_run: Callable[[], Run],
    quiet: bool,
    as_json: bool,
    *,
    foresee: bool = False,
    **options: Any,
) -> NoReturn:
    """Run a sweep under a display, print what it came to, and exit with its code.

    ``foresee`` measures a few steps first, and says what it will take.
    """
    run: Run | None = None
    try:
        with terminal.display(quiet) as reporter:
            reporter.note("starting")
            with terminal.nothing_to_lose():
                from saesweep.sweep import run_sweep

            run = open_run()
            if foresee:
                from saesweep.plan_text import plan_text

                reporter.note("looking at what it will take")
                reporter.foreseen(plan_text(run.config))
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
    _say(summary, quiet, as_json)
    raise typer.Exit(0 if summary.done or not summary.over else 1)


def _say(summary: Summary, quiet: bool, as_json: bool) -> None:
    """Print what a sweep came to; quietly only that it is not all done."""
    from saesweep.tables import counts, left_out, results_table, summary_line

    path, rows = summary.run.path, summary.rows
    if as_json:
        terminal.print_json({"run": str(path), "done": summary.done, "cells": rows})
    elif quiet:
        if summary.over and not summary.done:
            print(f"{path}: {counts(rows)}; `saesweep status {path}` says why", file=sys.stderr)
    elif not summary.over:
        print(f"{path}: submitted; follow it with `saesweep status {path} --watch`")
    else:
        terminal.console().print(results_table(rows, most=MOST_ROWS))
        if note := left_out(rows, MOST_ROWS):
            print(note)
        print(summary_line(rows, path))
