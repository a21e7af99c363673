"""The folders in which autoencoders are handed from tool to tool."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from saesweep.errors import RunError
from saesweep.exchange import dictionary_learning, plain, saelens
from saesweep.exchange.parts import Handed


@dataclass(frozen=True)
class Format:
    """A kind of folder with two files."""

    config: str
    weights: str
    write: Callable[[Path, Handed], None]
    read: Callable[[Path], Handed]
    variants: Collection[str] | None = None
    """Those it can hold; None: all."""


FORMATS = {
    "saelens": Format(
        saelens.CONFIG, saelens.WEIGHTS, saelens.write, saelens.read, saelens.ARCHITECTURES
    ),
    "dictionary_learning": Format(
        dictionary_learning.CONFIG,
        dictionary_learning.WEIGHTS,
        dictionary_learning.write,
        dictionary_learning.read,
        dictionary_learning.CLASSES,
    ),
    "safetensors": Format(plain.CONFIG, plain.WEIGHTS, plain.write, plain.read),
}


def recognised(folder: Path) -> Format:
    """The format of ``folder``, by the files in it; ``RunError`` if it has none."""
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder")
    for form in FORMATS.values():
        if (folder / form.config).exists() and (folder / form.weights).exists():
            return form
    pairs = ", or ".join(f"{form.config} and {form.weights}" for form in FORMATS.values())
    raise RunError(f"{folder}: no autoencoder that can be read; a folder needs {pairs}")
