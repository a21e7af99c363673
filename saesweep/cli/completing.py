"""What a shell offers behind the words of a line. Nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Sequence

import typer


def runs(incomplete: str) -> list[str]:
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


def cells(ctx: typer.Context, incomplete: str) -> list[str]:
    """Cells of the run that the line has named already."""
    with contextlib.suppress(OSError, TypeError):
        names = sorted(os.listdir(os.path.join(ctx.params["path"], "cells")))
        return [name for name in names if name.startswith(incomplete)]
    return []


def of(*words: str) -> Callable[[str], list[str]]:
    """Those of ``words`` that begin as what was typed.

    >>> of("gif", "mp4", "webp")("m")
    ['mp4']
    """
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def metrics(incomplete: str) -> list[str]:
    """The keys of metrics."""
    from saesweep.catalogue import METRICS

    return of(*METRICS)(incomplete)


def methods(incomplete: str) -> list[str]:
    """The keys of classical methods."""
    from saesweep.dictionaries.classical.methods import METHODS

    return of(*METHODS)(incomplete)


def for_bash(app: Callable[..., object]) -> None:
    """Print what bash is to offer, a line each.

    Bash ends words at ``=``, which every name of a cell has, and replaces what stands behind the
    last one alone; unless in quotes, or told otherwise by ``COMP_WORDBREAKS``. It takes lines as
    they are, so that outside of quotes spaces in them have to be escaped.
    """
    words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
    whole, last = joined(words), words[-1]
    os.environ.update(COMP_WORDS="\n".join(whole), COMP_CWORD=str(len(whole) - 1))
    offered = io.StringIO()
    with contextlib.redirect_stdout(offered), contextlib.suppress(SystemExit):
        app(prog_name="saesweep")
    kept = len(whole[-1]) - (len(last) if last.strip("=") else 0)  # what bash leaves as it is
    for line in filter(None, offered.getvalue().splitlines()):
        print(line if last.startswith(("'", '"')) else escaped(line[kept:]))


def joined(words: Sequence[str]) -> list[str]:
    """``words`` as they were before bash parted them at ``=``.

    >>> joined(["saesweep", "logs", "run1", "l1", "=", "0.1_"])
    ['saesweep', 'logs', 'run1', 'l1=0.1_']
    """
    whole: list[str] = []
    goes_on = False
    for word in words:
        parts = bool(word) and not word.strip("=")
        if whole and (parts or goes_on):
            whole[-1] += word
        else:
            whole.append(word)
        goes_on = parts
    return whole


def escaped(text: str) -> str:
    r"""``text`` as one word of a shell.

    >>> print(escaped("my runs/run1"))
    my\ runs/run1
    """
    return re.sub(r"([^\w@%+=:,./~-])", r"\\\1", text)
