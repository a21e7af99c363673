"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saesweep.cli import completing

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file: the sweep.")]


RunPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run folder, as outputs/run1.", autocompletion=completing.runs
    ),
]
RunPaths = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run folders.", autocompletion=completing.runs),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key, as train.lr=1e-3. Repeatable."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="table, csv, json or md.",
        autocompletion=completing.of("table", "csv", "json", "md"),
    ),
]
