"""Arguments and options that several commands have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file: the sweep.")]


def _runs(incomplete: str) -> list[str]:
    """Run folders, and folders on the way to some, whose paths begin like this."""
    before, _, begin = incomplete.rpartition("/")
    folder = f"{before}/" if before or incomplete.startswith("/") else ""
    with contextlib.suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(folder or ".") if entry.is_dir())
        found = [f"{folder}{name}" for name in names if name.startswith(begin)]
        runs = [path for path in found if _is_run(path)]
        holders = [path for path in found if path not in runs and not _hidden(path)]
        inside = [f"{path}/{name}" for path in holders for name in sorted(os.listdir(path))]
        return [*runs, *(path for path in inside if _is_run(path))]
    return []


def _is_run(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "config.yaml"))


def _hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".") or not os.access(path, os.R_OK)


def known_cells(ctx: typer.Context, incomplete: str) -> list[str]:
    """Cells of the run that the line has named already."""
    with contextlib.suppress(OSError, TypeError):
        names = sorted(os.listdir(os.path.join(ctx.params["path"], "cells")))
        return [name for name in names if name.startswith(incomplete)]
    return []


RunPath = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run folder, as outputs/run1.", autocompletion=_runs),
]
RunPaths = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folders.", autocompletion=_runs)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key, as train.lr=1e-3. Repeatable."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
