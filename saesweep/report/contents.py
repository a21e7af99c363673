"""Files that a page refers to: by links to them, or by their content."""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from saesweep.errors import RunError
from saesweep.files import Row, lies_within
from saesweep.run_folder import Run

ANIMATIONS = {"gif": "image/gif", "webp": "image/webp", "mp4": "video/mp4"}
PIECE = 3 << 18
"""Bytes of a file that are read at a time: a multiple of 3, which base64 takes together."""


class Contents:
    """How a page in ``folder`` has its animations: as links, or with ``inline`` in itself.

    Those of a large run take more than the memory of a laptop. So the page is made with a mark in
    the place of each, and they are read, piece by piece, as it is written.
    """

    def __init__(self, folder: Path, *, inline: bool = False) -> None:
        self.folder, self.inline = folder.resolve(), inline
        self._mark = secrets.token_hex(16)  # no text of a run can hold it
        self._paths: list[Path] = []

    def animation(self, run: Run, name: str) -> Row | None:
        """``gifs/<name>`` in the first format that is there: its kind, and what refers to it."""
        for ending, kind in ANIMATIONS.items():
            path = run.gifs_dir / f"{name}.{ending}"
            if lies_within(path, run.path):
                return {"kind": kind, "source": self._source(path, kind)}
        return None

    def _source(self, path: Path, kind: str) -> str:
        if not self.inline:
            return quote(os.fsencode(os.path.relpath(path.resolve(), self.folder)))
        self._paths.append(path)
        return f"data:{kind};base64,{self._mark}-{len(self._paths) - 1}."

    def pieces(self, page: str) -> Iterator[str]:
        """``page`` with the files in the place of their marks.

        ``RunError`` where one cannot be read.
        """
        end = 0
        for found in re.finditer(rf"{self._mark}-(\d+)\.", page):
            yield page[end : found.start()]
            yield from _base64(self._paths[int(found[1])])
            end = found.end()
        yield page[end:]


def _base64(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield base64.b64encode(piece).decode("ascii")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
