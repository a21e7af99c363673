"""Cells of a run, written as folders that other tools load."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saesweep import files
from saesweep.errors import RunError, StorageError, UsageError
from saesweep.exchange.folding import normalization_of, of_raw_activations
from saesweep.exchange.formats import FORMATS
from saesweep.exchange.parts import Handed
from saesweep.files import Row
from saesweep.grid import Cell
from saesweep.run_folder import Run
from saesweep.version import __version__

OF_DATA = ("model", "model_sha256", "revision", "site", "module", "context", "dropped")
"""What is passed on of ``data/activations.json``."""


@dataclass(frozen=True)
class Exported:
    """A cell, and the folder it is in."""

    cell: str
    folder: Path
    is_new: bool
    """Whether it was written now; else it was there, of the same weights."""


def export(
    run: Run,
    patterns: Sequence[str],
    to: str,
    out: Path,
    *,
    force: bool = False,
    note: Callable[[str], object] = lambda text: None,
) -> list[Exported]:
    """Write the cells of ``run`` that match ``patterns``, or all that are done, below ``out``.

    The normalisation of activations is folded in: the autoencoders take raw ones. ``UsageError``
    where a cell that was asked for is not done or of a variant that the format ``to`` has not;
    ``RunError`` where its folder holds something else, unless ``force``.
    """
    asked = run.matching(patterns) if patterns else run.cells
    done = [cell for cell in asked if run.folder(cell).state() == "done"]
    variants = FORMATS[to].variants
    able = [cell for cell in done if variants is None or cell.variant in variants]
    if (patterns and len(able) < len(asked)) or not able:
        raise UsageError(_why_not(run, asked, done, able, to))
    if len(able) < len(done):
        left_out = ", ".join(dict.fromkeys(c.variant for c in done if c not in able))
        note(f"left out: {to} has nothing for {left_out}; --to safetensors has")
    return [_export(run, cell, to, out / cell.name, force) for cell in able]


def _why_not(
    run: Run, asked: Sequence[Cell], done: Sequence[Cell], able: Sequence[Cell], to: str
) -> str:
    if not done:
        return f"{run.path}: no cell that is done to export; see `saesweep status {run.path}`"
    for cell in asked:
        if cell not in done:
            state = run.state(cell, run.running())
            return f"{cell.name}: {state}; cells that are done can be exported"
    variant = next(cell.variant for cell in asked if cell not in able)
    return f"{to} has nothing for the variant {variant}; --to safetensors has"


def _export(run: Run, cell: Cell, to: str, folder: Path, force: bool) -> Exported:
    origin = origin_of(run, cell)
    if folder.exists():
        if _is_of(folder, to, origin["sae_sha256"]):
            return Exported(cell.name, folder, is_new=False)
        if not force:
            raise RunError(f"{folder}: holds something else; choose another --out, or --force")
    sae, normalization = run.sae(cell), normalization_of(run)
    if normalization is not None:
        sae = of_raw_activations(sae, normalization)
    handed = Handed(sae, cell.variant, origin)
    settle(folder, lambda temporary: FORMATS[to].write(temporary, handed))
    return Exported(cell.name, folder, is_new=True)


def origin_of(run: Run, cell: Cell) -> Row:
    """Where the autoencoder of ``cell`` is from, for those who find it later."""
    facts = run.path / "data" / "activations.json"
    data = files.read_json(facts) if facts.exists() else {}
    return {
        "saesweep": __version__,
        "run": run.name,
        "cell": cell.name,
        "sae_sha256": files.sha256(run.folder(cell).path / "sae.safetensors"),
        "hyperparameters": cell.describe(),
        **{key: data[key] for key in OF_DATA if key in data},
    }


def _is_of(folder: Path, to: str, digest: str) -> bool:
    """Whether ``folder`` is whole, and of the cell whose weights have this ``digest``.

    Folders appear whole, so the name of the digest in the config is enough.
    """
    form = FORMATS[to]
    try:
        text = (folder / form.config).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return f'"sae_sha256": "{digest}"' in text and (folder / form.weights).exists()


def settle(folder: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary folder, and put it in the place of ``folder``.

    What goes wrong leaves the folder as it was; after a kill between the two renames ``.old-…``
    beside it holds what it was, and the next call puts it back.
    """
    temporary = files.temporary_name(folder, os.getpid())
    old = folder.with_name(f".old-{folder.name}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder.parent), _undone(folder, old, temporary):
            temporary.mkdir()
            write(temporary)
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _undone(folder: Path, old: Path, temporary: Path) -> Iterator[None]:
    """Before and after: without what a call leaves that did not come to its end."""
    killed = folder.parent.glob(f"{files.TEMPORARY}*-{glob.escape(folder.name)}")
    lost = [path for path in killed if not files.is_being_written(path)]
    try:
        _put_back(old, folder, *lost)
        yield
    finally:
        _put_back(old, folder, temporary)


def _put_back(old: Path, folder: Path, *unfinished: Path) -> None:
    """Undo the first of two renames, where the second did not follow."""
    if old.exists() and not folder.exists():
        with contextlib.suppress(OSError):
            old.rename(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    for path in unfinished:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait for others that settle something in ``folder``."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
