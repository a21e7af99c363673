"""Activations in files: a folder of shards, read row by row without holding them in memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saesweep.data.mapped import DTYPES, READERS, map_rows
from saesweep.errors import RunError
from saesweep.files import read_json, sha256

MANIFEST = "manifest.json"
"""What describes a folder that `saesweep harvest` wrote."""
FORMAT = 1
"""The format of that description which is read here."""
ORIGIN = ("model", "model_sha256", "revision", "site", "module", "side", "context", "dropped")
"""What a manifest says of where the activations come from."""
PART = 1 << 20
"""Numbers that are copied at once: 4 MiB of float32, which stay in the cache."""


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Shards:
    """The rows of one site, shard after shard.

    >>> torch.save(torch.arange(6.0).reshape(3, 2), tmp_path / "a.pt")
    >>> shards = Shards.open(tmp_path)
    >>> shards.rows, shards.d_in
    (3, 2)
    >>> shards.copy(torch.tensor([0, 2]), torch.empty(2, 2))
    tensor([[0., 1.],
            [4., 5.]])
    """

    files: tuple[Path, ...]
    ends: tuple[int, ...]
    """Before which row each file ends, counted over all."""
    d_in: int
    dtype: torch.dtype
    """As the first file has it: those of others may differ between their files."""
    manifest: dict[str, Any] | None

    @classmethod
    def open(cls, path: Path) -> Shards:
        """The shards in a folder, or a single file; ``RunError`` if they cannot be read.

        Headers are read and no rows: 0.2 ms a file. See `verify` for what that leaves out.
        """
        if not path.exists():
            raise RunError(
                f"{path}: no such folder or file; `saesweep harvest CONFIG` makes activations"
            )
        manifest = path / MANIFEST
        if path.is_dir() and manifest.exists():
            return _harvested(path, read_json(manifest))
        return _of_files(_files(path))

    @property
    def rows(self) -> int:
        """In all files."""
        return self.ends[-1]

    def copy(self, rows: Tensor, out: Tensor, go_on: Callable[[], bool] = _always) -> Tensor:
        """Copy ``rows`` [n], ascending, to ``out`` [n, d_in], float32 on the CPU; give it back.

        File after file, each of which is mapped once and released after. Between parts ``go_on`` is
        asked whether to; the rest of ``out`` is left as it was. ``RunError`` if a file is no longer
        what it was, or a row is not finite. A page that is past the end of a mapped file ends the
        process with SIGBUS, so the size is compared before each part: milliseconds are left in
        which a file that is cut short does so.
        """
        limits = torch.searchsorted(rows, torch.tensor(self.ends)).tolist()
        size = max(1, PART // self.d_in)
        for number, (first, last) in enumerate(itertools.pairwise([0, *limits])):
            if first == last:
                continue
            begin = self.ends[number - 1] if number else 0
            mapped = self._mapped(number, self.ends[number] - begin)
            mapped_size = self._size(number)
            for start in range(first, last, size):
                if not go_on():
                    return out
                stop = min(start + size, last)
                if self._size(number) != mapped_size:
                    raise RunError(f"{self.files[number]}: changed while in use")
                part, wanted = out[start:stop], rows[start:stop] - begin
                part.copy_(mapped.index_select(0, wanted))
                self._check_finite(number, wanted, part)
            del mapped  # before the next is mapped
        return out

    def facts(self) -> dict[str, Any]:
        """What they are, for the records of a run: files with rows and hashes, and their origin.

        Without a manifest the sizes of the files stand for hashes.
        """
        manifest = self.manifest or {}
        hashes = [shard["sha256"] for shard in manifest.get("shards", [])]
        marks = hashes or [path.stat().st_size for path in self.files]
        origin = {key: manifest[key] for key in ORIGIN if key in manifest}
        names = [path.name for path in self.files]
        return {
            "d_in": self.d_in,
            "rows": self.rows,
            **origin,
            "files": dict(zip(names, marks, strict=True)),
        }

    def verify(self) -> None:
        """``RunError`` that names the first file which is not as the manifest says, by its bytes.

        It reads every file: 1 to 2 GB/s where the disk is as fast. Without a manifest there is
        nothing to compare with.
        """
        for shard, path in zip((self.manifest or {}).get("shards", []), self.files, strict=False):
            try:
                found = sha256(path)
            except OSError as error:
                raise RunError(f"{path}: cannot be read: {error.strerror}") from None
            if found != shard["sha256"]:
                raise RunError(
                    f"{path}: damaged: its SHA-256 is {found[:12]}…, "
                    f"{MANIFEST} has {shard['sha256'][:12]}…"
                )

    def _mapped(self, number: int, rows: int) -> Tensor:
        mapped = map_rows(self.files[number])
        if tuple(mapped.shape) != (rows, self.d_in):
            raise RunError(
                f"{self.files[number]}: changed while in use: it had {rows} rows of "
                f"{self.d_in} numbers, now {len(mapped)} of {mapped.shape[1]}"
            )
        return mapped

    def _size(self, number: int) -> int:
        """Of a file in bytes, now; -1 where it is gone."""
        try:
            return self.files[number].stat().st_size
        except OSError:
            return -1

    def _check_finite(self, number: int, wanted: Tensor, part: Tensor) -> None:
        """``part`` holds the rows ``wanted`` of a file; its extremes tell at half the cost."""
        if all(math.isfinite(extreme) for extreme in torch.aminmax(part)):
            return
        bad = int((~part.isfinite().all(dim=1)).nonzero()[0])
        raise RunError(f"{self.files[number]}: row {int(wanted[bad])} is not finite in float32")


def _files(path: Path) -> list[Path]:
    """The files of a folder without a manifest, by name, or the one that ``path`` is."""
    allowed = ", ".join(READERS)
    if not path.is_dir():
        if path.suffix not in READERS:
            raise RunError(f"{path}: not a file of activations: allowed endings are {allowed}")
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
    found = [file for file in files if file.suffix in READERS]
    endings = sorted({file.suffix for file in found})
    if not files:
        raise RunError(f"{path}: an empty folder: it needs files that end in {allowed}")
    if not found:
        raise RunError(f"{path}: no file of activations in it: allowed endings are {allowed}")
    if len(endings) > 1:
        raise RunError(f"{path}: holds a mixture of {', '.join(endings)}: one of them is allowed")
    return found


def _of_files(files: Sequence[Path], manifest: dict[str, Any] | None = None) -> Shards:
    mapped = (map_rows(file) for file in files)  # one at a time
    headers = [(len(rows), rows.shape[1], rows.dtype) for rows in mapped]
    _, d_in, dtype = headers[0]
    for file, (_, width, _) in zip(files, headers, strict=True):
        if width != d_in:
            raise RunError(
                f"{file}: has rows of {width} numbers, {files[0].name} of {d_in}: "
                "all files of a folder need the same"
            )
    ends = tuple(itertools.accumulate(count for count, _, _ in headers))
    if manifest is not None:
        _compare(files, headers, manifest)
    return Shards(tuple(files), ends, d_in, dtype, manifest)


def _harvested(folder: Path, manifest: dict[str, Any]) -> Shards:
    """The shards that ``manifest`` lists."""
    path = folder / MANIFEST
    if manifest.get("format") != FORMAT:
        raise RunError(f"{path}: has the format {manifest.get('format')!r}: {FORMAT} is read here")
    if manifest.get("complete") is not True:
        raise RunError(f"{folder}: cut off: continue with `saesweep harvest CONFIG`")
    _check_manifest(path, manifest)
    return _of_files([folder / shard["file"] for shard in manifest["shards"]], manifest)


def _check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Whether it has what is read of it, each of its kind."""
    shards = manifest.get("shards")
    if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
        raise RunError(f"{path}: damaged: 'shards' is not a list of mappings")
    if not shards:
        raise RunError(f"{path}: lists no shards: harvest more tokens")
    kinds = {"d_in": int, "rows": int, "dtype": str}
    inner = {"file": str, "rows": int, "sha256": str}
    for mapping, keys in ((manifest, kinds), *((shard, inner) for shard in shards)):
        for key, kind in keys.items():
            if type(mapping.get(key)) is not kind:
                raise RunError(f"{path}: damaged: {key!r} is {mapping.get(key)!r}")
    for shard in shards:
        if Path(shard["file"]).name != shard["file"] or Path(shard["file"]).suffix not in READERS:
            raise RunError(f"{path}: damaged: {shard['file']!r} is no file of this folder")


def _compare(
    files: Sequence[Path],
    headers: Sequence[tuple[int, int, torch.dtype]],
    manifest: dict[str, Any],
) -> None:
    """Whether files and manifest agree in rows, width and dtype."""
    for file, shard, (rows, d_in, dtype) in zip(files, manifest["shards"], headers, strict=True):
        found = {"rows": rows, "d_in": d_in, "dtype": DTYPES[dtype]}
        said = {"rows": shard["rows"], "d_in": manifest["d_in"], "dtype": manifest["dtype"]}
        for key, value in found.items():
            if value != said[key]:
                raise RunError(f"{file}: has {key} {value}, {MANIFEST} has {said[key]}")
    total = sum(rows for rows, _, _ in headers)
    if total != manifest["rows"]:
        raise RunError(
            f"{files[0].parent / MANIFEST}: damaged: 'rows' is {manifest['rows']}, "
            f"its shards have {total}"
        )
