"""The command that runs a language model."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saesweep import terminal
from saesweep.cli.options import Json, Overrides, Quiet
from saesweep.errors import Interrupted, StorageError

if TYPE_CHECKING:
    from saesweep.harvesting.harvest import Harvested, Report

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


def harvest(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file: the harvest.")],
    overrides: Overrides = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run text through a language model and write its activations, for `data.source: activations`.

    One that was cut off goes on where it was: give the same CONFIG again.
    """
    from saesweep.harvesting import settings

    loaded = settings.load(config, overrides or [])
    note = None if quiet or as_json else _say
    with terminal.nothing_to_lose():
        from saesweep.harvesting import harvest as harvesting
    how = f"what is done is kept; `saesweep harvest {config}` goes on"
    try:
        with _progress(quiet or as_json) as report:
            harvested = harvesting.harvest(loaded, report, note)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
        raise Interrupted(f"interrupted; {how}") from None
    except StorageError as error:
        raise StorageError(f"{error}\n{how}") from error
    if as_json:
        terminal.print_json(_result(loaded.out, harvested))
    elif not quiet:
        _print(loaded.out, harvested)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _result(out: str, harvested: Harvested) -> dict[str, object]:
    """What a program is told."""
    rate = harvested.tokens / harvested.seconds if harvested.tokens else None
    keys = ("site", "rows", "d_in", "dtype", "model", "mean_square")
    sites = [
        {"folder": str(Path(out) / site), **{key: manifest.get(key) for key in keys}}
        for site, manifest in harvested.manifests.items()
    ]
    counts = {"tokens": harvested.tokens, "seconds": harvested.seconds}
    return {"out": out, **counts, "tokens_per_second": rate, "sites": sites}


def _print(out: str, harvested: Harvested) -> None:
    if harvested.tokens:
        rate = harvested.tokens / harvested.seconds
        print(f"{harvested.tokens:,} tokens in {harvested.seconds:.1f} s: {rate:,.0f} a second")
    else:
        print(f"{out}: finished already; nothing to do")
    for site, manifest in harvested.manifests.items():
        rows, width, dtype = manifest["rows"], manifest["d_in"], manifest["dtype"]
        print(f"{Path(out) / site}: {rows:,} rows of {width:,} in {dtype}")


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Report | None]:
    """Shows tokens and their rate: a bar on a terminal, elsewhere a line now and then."""
    errors = terminal.console(stderr=True)
    if quiet:
        yield None
    elif not errors.is_terminal:
        yield _lines()
    else:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.completed:,.0f} tokens, {task.fields[rate]:,.0f} a second")
        columns = (TextColumn("harvest"), BarColumn(), text, TimeRemainingColumn())
        with Progress(*columns, console=errors, transient=True) as bar:
            task, rate = bar.add_task("tokens", total=None, rate=0.0), _rate()

            def update(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total, rate=rate(done))

            yield update


def _lines() -> Callable[[int, int], None]:
    last, rate = time.monotonic(), _rate()

    def report(done: int, total: int) -> None:
        nonlocal last
        now, speed = time.monotonic(), rate(done)
        if now - last >= EVERY:
            last = now
            _say(f"{done:,} of {total:,} tokens, {speed:,.0f} a second")

    return report


def _rate() -> Callable[[int], float]:
    """Tokens a second since the first batch: what comes before it is loading."""
    first: tuple[float, int] | None = None

    def rate(done: int) -> float:
        nonlocal first
        first = first or (time.monotonic(), done)
        return (done - first[1]) / max(time.monotonic() - first[0], 1e-9)

    return rate
