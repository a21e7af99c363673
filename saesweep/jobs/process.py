"""The process that does jobs: how it is started, what it is told, and how it may end."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from saesweep.grid import Cell

OVER = b"over\n"
"""What it answers on its standard output when a job is over."""


def job_command(folder: Path, device: str, token: str | None) -> list[str]:
    """The command that does jobs of the run in ``folder``, which it reads from standard input.

    When its input ends, whoever asked is gone: it writes checkpoints and ends.
    """
    words = ["_job", str(folder.resolve()), "-", "--device", device, "--token", token or ""]
    return [sys.executable, "-m", "saesweep", *words]


def job_line(cells: Iterable[Cell]) -> str:
    """How it is told which cells a job has."""
    return json.dumps([cell.name for cell in cells])


def how_it_ended(status: int, words: str) -> str:
    r"""What to say of a process that ended with ``status`` before its job was over.

    >>> how_it_ended(-15, ""), how_it_ended(3, "some\nerror: no disk")
    ('was killed by SIGTERM', 'exited with code 3: error: no disk')
    """
    if status >= 0:
        return f"exited with code {status}" + (f": {words.splitlines()[-1]}" if words else "")
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (by the system, if memory ran out)" if -status == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def last_error(words: str) -> str:
    r"""The last error in what a process said.

    >>> last_error("a note\nerror: disk full")
    'disk full'
    """
    errors = [line for line in words.splitlines() if line.startswith("error: ")]
    return (errors or [words])[-1].removeprefix("error: ")
