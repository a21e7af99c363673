"""From runs on disk to ``report.html``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path

from saesweep import files
from saesweep.errors import UsageError
from saesweep.report.contents import Contents
from saesweep.report.page import HEAD, check_extra, is_page, render
from saesweep.report.payload import payload
from saesweep.run_folder import Run

NAME = "report.html"


def write_report(
    runs: Sequence[Run],
    out: Path | None = None,
    *,
    inline: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page of ``runs`` to ``out`` and return its path.

    Without ``out`` it is ``report.html`` in the run's folder, or of several runs in the folder that
    the first of them is in. ``inline`` puts GIFs into the page, which otherwise links to them.
    ``UsageError`` where ``out`` is something else than such a page, or the extra is not installed;
    ``RunError`` where a GIF cannot be read; ``StorageError`` where the disk refuses.
    """
    check_extra()
    path = out or default_path(runs)
    _refuse_twice(runs)
    _check(path)
    contents = Contents(path.parent, inline=inline)
    page = render(payload(runs, path.parent, contents=contents, progress=progress))

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.writelines(contents.pieces(page))

    files.atomic_write(path, write)
    return path


def default_path(runs: Sequence[Run]) -> Path:
    """Where the page of ``runs`` is written if nobody says."""
    return (runs[0].path if len(runs) == 1 else runs[0].path.resolve().parent) / NAME


def runs_of(path: Path) -> str:
    """Which runs the page at ``path`` is of, as its title says; empty where there is none."""
    if not path.is_file():
        return ""
    head = ""
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(1 << 16)
    found = re.search(r"<title>(.*?) · saesweep</title>", head, re.DOTALL)
    if not found or not is_page(head):
        return ""
    # It goes to a terminal, and the page may be a stranger's.
    return "".join(filter(str.isprintable, unescape(found[1])))[:200]


def _refuse_twice(runs: Sequence[Run]) -> None:
    seen: dict[Path, Path] = {}
    for run in runs:
        if before := seen.get(run.path.resolve()):
            raise UsageError(f"{run.path}: is the same run as {before}; name each once")
        seen[run.path.resolve()] = run.path


def _check(path: Path) -> None:
    """Refuse to write over what is not such a page."""
    if path.is_dir():
        raise UsageError(f"--out {path}: is a folder; name a file in it, as {path / NAME}")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        # The file takes the place of what is there, which may be /dev/stdout.
        raise UsageError(f"--out {path}: is a link, or no regular file; choose another")
    head = ""
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as f:
        head = f.read(HEAD)
    if head and not is_page(head):
        raise UsageError(f"--out {path}: exists and is no report of saesweep; choose another")
