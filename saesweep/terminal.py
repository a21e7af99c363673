"""What every command shares: how it starts, prints, shows progress, and says what went wrong."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from saesweep.errors import Interrupted, SaesweepError, UsageError, is_out_of_memory

if TYPE_CHECKING:
    from rich.console import Console

    from saesweep.reporting import Reporter


def start(app: Callable[..., object]) -> None:
    """Run the command line; errors become one or two lines and an exit code."""
    # --debug may stand anywhere: it is moved to where the parser wants it.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word != "--debug")
    debug = sys.argv[1:2] == ["--debug"]
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False, prog_name="saesweep")
        if code == Interrupted.exit_code:  # what the parser makes of a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        with contextlib.suppress(OSError):  # the terminal is closed, or its disk full
            _complain(error)
        sys.exit(getattr(error, "exit_code", 1))


@contextlib.contextmanager
def nothing_to_lose() -> Iterator[None]:
    """Let a signal end the process on the spot, as it has written nothing yet.

    For imports: an exception that strikes in the middle of one may come out as a traceback.
    """
    before = {
        number: signal.signal(number, _leave)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(*_: object) -> NoReturn:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # a live display hides the cursor
    print("interrupted before anything was written", file=sys.stderr, flush=True)
    os._exit(130)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _complain(error: Exception) -> NoReturn:
    if type(error).__name__ == "Abort":  # what the parser makes of a KeyboardInterrupt
        raise KeyboardInterrupt
    if hasattr(error, "format_message"):  # of the parser
        context = getattr(error, "ctx", None)
        how = f"; see `{context.command_path} --help`" if context else ""
        print(f"error: {error.format_message().rstrip('.')}{how}", file=sys.stderr)
        sys.exit(2)
    if isinstance(error, SaesweepError):
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if is_out_of_memory(error):
        said = str(error).splitlines()[-1:]
        print(": ".join(["error: out of memory", *said]), file=sys.stderr)
        sys.exit(1)
    if isinstance(error, OSError) and error.strerror:  # of a file or stream, not of this code
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        sys.exit(1)
    name = type(error).__name__
    print(
        f"error: {name}: {error}\nThis is a fault in saesweep: --debug shows where.",
        file=sys.stderr,
    )
    sys.exit(1)


def console(stderr: bool = False) -> Console:
    """Where to print what rich lays out."""
    from rich.console import Console

    class Patient(Console):
        """Leaves it to others what a closed pipe means: rich would end the sweep."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    made = Patient(stderr=stderr)
    # Nothing is cut off on its way into a file or another program.
    return made if made.is_terminal else Patient(stderr=stderr, width=1000)


@contextlib.contextmanager
def display(quiet: bool) -> Iterator[Reporter]:
    """What shows a sweep as it runs: live in a terminal, in lines elsewhere."""
    from saesweep.display import LiveDisplay, PlainDisplay
    from saesweep.reporting import Reporter

    errors = console(stderr=True)
    if quiet:
        yield Reporter()
    elif errors.is_terminal:
        with LiveDisplay(errors) as live:
            yield live
    else:
        yield PlainDisplay(errors)


@contextlib.contextmanager
def progress_bar(what: str, quiet: bool) -> Iterator[Any]:
    """A function (done, total) that shows progress on a terminal, or None."""
    errors = console(stderr=True)
    if quiet or not errors.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=errors, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def one_of(option: str, given: str, allowed: tuple[str, ...]) -> None:
    """Refuse an option's value that is not allowed."""
    if given not in allowed:
        raise UsageError(f"{option} {given}: should be one of {', '.join(allowed)}")


def print_paths(paths: list[Path], folder: Path, quiet: bool, as_json: bool) -> None:
    """Say which files were written."""
    if as_json:
        print_json({"files": [str(path) for path in paths]})
    elif not quiet:
        print(f"{folder}: {len(paths)} file{'s' * (len(paths) != 1)}")


def print_json(data: Any) -> None:
    """Print ``data`` for a program."""
    from saesweep.files import to_json

    print(to_json(data))
