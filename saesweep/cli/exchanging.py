"""Commands that hand trained SAEs on, and bring in those of others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from saesweep import terminal
from saesweep.cli import completing
from saesweep.cli.options import Json, Quiet, RunPath

Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]


def export(
    path: RunPath,
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CELL",
            help="Names or patterns, as l1=0.1_*. Default: all.",
            autocompletion=completing.cells,
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="saelens, dictionary_learning or safetensors.",
            autocompletion=completing.of("saelens", "dictionary_learning", "safetensors"),
        ),
    ] = "saelens",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Default: RUN/exported/FORMAT.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write trained CELLs of RUN as folders that other tools load, a folder a cell.

    They take activations as they are: the run's centring and scaling is folded in.
    """
    from saesweep.exchange.export import export as exported
    from saesweep.exchange.formats import FORMATS
    from saesweep.run_folder import Run

    terminal.one_of("--to", to, tuple(FORMATS))
    run, folder = Run(path), out or path / "exported" / to
    written = exported(run, cells or [], to, folder, force=force, note=_note(quiet))
    if as_json:
        entries = [
            {"cell": one.cell, "folder": str(one.folder), "new": one.is_new} for one in written
        ]
        terminal.print_json({"run": str(path), "format": to, "exported": entries})
    elif not quiet:
        for one in written:
            print(one.folder if one.is_new else f"{one.folder}: is there already")


def import_(
    path: RunPath,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of SAELens, dictionary_learning or an export.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: the folder's name.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Bring the SAE in FOLDER into RUN, measured as its cells are; `results` shows it below them.

    It should take activations as they are, without a normalisation of its own.
    """
    from saesweep.exchange.bring import bring
    from saesweep.run_folder import Run
    from saesweep.tables import results_table

    row = bring(Run(path), folder, name, force=force, note=_note(quiet))
    if as_json:
        terminal.print_json(row)
    elif not quiet:
        terminal.console().print(results_table([row]))


def _note(quiet: bool) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    return say
