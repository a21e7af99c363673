"""The command line: parse, call, print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from saesweep.cli import drawing, exchanging, harvesting, looking, running, starting

app = typer.Typer(
    help="Train grids of sparse autoencoders and see what each one learned.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


COMMANDS: tuple[Callable[..., None], ...] = (
    *(starting.init, running.run, running.resume),
    *(looking.status, looking.logs, looking.sae, looking.results, looking.compare),
    *(harvesting.harvest, exchanging.export, exchanging.import_),
    *(drawing.plot, drawing.gif, drawing.report, drawing.data, drawing.baselines, drawing.schema),
    starting.doctor,
)
"""In the order in which the help lists them."""

for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)
app.command("_job", hidden=True)(running.job)
app.command("_collect", hidden=True)(running.collect)
