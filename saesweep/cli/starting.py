"""Commands for the first minutes: init and doctor."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from saesweep import terminal
from saesweep.cli import completing
from saesweep.cli.options import Json, Overrides

if TYPE_CHECKING:
    from saesweep.doctor import Finding

MARKS = {"ok": "ok", "note": "--", "stop": "STOP"}


def init(
    path: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where the config is written.")
    ] = Path("sweep.yaml"),
    kind: Annotated[
        str,
        typer.Option(
            help="toy, highdim, seeds, variants or activations.",
            autocompletion=completing.of("toy", "highdim", "seeds", "variants", "activations"),
        ),
    ] = "toy",
) -> None:
    """Write a commented config to begin with."""
    from saesweep.starting import write_start

    write_start(path, kind)
    command = f"saesweep run {quote(str(path))} --dry-run"
    first = "name your shards in data.path, then " if kind == "activations" else ""
    print(f"{path}: {kind} sweep; {first}`{command}` says what it would take")


def doctor(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A sweep to check for, too.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("outputs"),
    as_json: Json = False,
) -> None:
    """Say what would stop a run: torch, GPUs, disk, permissions, memory, extras.

    Ends with 1 where something would.
    """
    from saesweep.config_file import load_config
    from saesweep.doctor import Finding, examine
    from saesweep.errors import ConfigError, UsageError

    if overrides and config is None:
        raise UsageError("--set is for a config: name its file, too")
    loaded, wrong = None, []
    try:
        loaded = load_config(config, overrides or []) if config else None
    except ConfigError as error:
        wrong = [Finding("config", "stop", problem) for problem in error.problems]
    findings = [*examine(out, loaded), *wrong]
    stops = sum(finding.state == "stop" for finding in findings)
    if as_json:
        terminal.print_json({"stops": stops, "findings": [asdict(one) for one in findings]})
    else:
        wide = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(_shown(finding, wide))
        print("nothing would stop a run" if not stops else f"{stops} would stop a run: see STOP")
    raise typer.Exit(1 if stops else 0)


def _shown(finding: Finding, wide: int) -> str:
    """In lines of at most 80 columns, where its words allow."""
    begins = f"{MARKS[finding.state]:<4}  {finding.what:<{wide}}  "
    return textwrap.fill(
        finding.words,
        width=80,
        initial_indent=begins,
        subsequent_indent=" " * len(begins),
        break_long_words=False,
        break_on_hyphens=False,
    )
