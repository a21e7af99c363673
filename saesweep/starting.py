"""A config to begin with, for a kind of sweep."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from shlex import quote

import yaml

from saesweep import files
from saesweep.config import NAME
from saesweep.errors import UsageError

KINDS = ("toy", "highdim", "seeds", "variants", "activations")


def write_start(path: Path, kind: str) -> Path:
    """Write a commented config of one of `KINDS` to ``path``; returns it.

    ``UsageError`` for another kind, or where ``path`` exists: a config is never written over.
    """
    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: should be one of {', '.join(KINDS)}")
    if not str(path).isprintable():
        raise UsageError(f"{str(path)!r}: should be a name without control characters")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it, as {path / 'sweep.yaml'}")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path}: exists already; choose another file")
    files.write_text(path, start(path, kind))
    return path


def start(path: Path, kind: str) -> str:
    """The config of ``kind`` that goes to ``path``, whose name it has.

    >>> start(Path("mine.yaml"), "toy").splitlines()[2]
    'name: mine'
    """
    text = (resources.files("saesweep") / "starts" / f"{kind}.yaml").read_text("utf-8")
    name = path.stem if re.fullmatch(NAME, path.stem) else kind
    # In quotes where YAML would read a number, a truth value or nothing.
    is_plain = name[0].isalpha() and yaml.safe_load(name) == name
    name = name if is_plain else f'"{name}"'
    return text.replace("{file}", quote(str(path))).replace("{name}", name)
