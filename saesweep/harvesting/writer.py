"""Shards: the rows of one site in files of equal length, and the manifest that lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saesweep import files
from saesweep.errors import RunError, UsageError

MANIFEST = "manifest.json"
PART = 4096
"""Rows whose sums are taken at once: in float64 a whole shard would be four times its size."""


class SiteWriter:
    """Writes the rows of one site, in order, into shards of ``shard_rows``.

    The manifest is written after each shard, so a harvest that is cut off loses at most the shard
    it was filling. Rows carry their number from the start: those on disk already are passed over.
    """

    def __init__(
        self, folder: Path, facts: dict[str, Any], total: int, shard_rows: int, dtype: torch.dtype
    ) -> None:
        """``facts`` stand in the manifest as they are; ``total`` rows make it complete."""
        self.folder, self.facts, self.total = folder, facts, total
        self.shard_rows, self.dtype = shard_rows, dtype
        self.rows = 0
        """Rows in shards on disk."""
        self.shards: list[dict[str, Any]] = []
        self.known: tuple[int, str] | None = None
        """Of an earlier harvest: how many rows it wrote, and the hash of their text."""
        self.text_sha256 = ""
        self._sum: Tensor | None = None
        self._square = 0.0
        self._buffer: Tensor | None = None
        self._filled = 0
        self._take_up()

    @property
    def complete(self) -> bool:
        """Whether all rows are on disk."""
        return self.rows == self.total

    def add(self, rows: Tensor, first: int, text_sha256: str) -> None:
        """Take ``rows`` [n, d_in] in float32, the first of which is row ``first`` of the site.

        ``text_sha256`` is the hash of all tokens up to and with those of these rows.
        """
        rows = rows[max(0, self.rows + self._filled - first) :]
        stored = self._stored(rows)
        if self._buffer is None:
            self._buffer = torch.empty(self.shard_rows, rows.shape[1], dtype=self.dtype)
        while len(stored):
            part = stored[: self.shard_rows - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            stored = stored[len(part) :]
            if self._filled == self.shard_rows or self.rows + self._filled == self.total:
                self.text_sha256 = text_sha256
                self._write(self._buffer[: self._filled])

    def _stored(self, rows: Tensor) -> Tensor:
        """``rows`` in the dtype of the shards; refused where a number is not finite in it."""
        stored = rows.to(self.dtype)
        if torch.isfinite(stored).all():
            return stored
        site = self.facts["site"]
        if not torch.isfinite(rows).all():
            raise UsageError(f"{site}: the model gives numbers that are not finite")
        name, largest = str(self.dtype).removeprefix("torch."), torch.finfo(self.dtype).max
        raise UsageError(
            f"{site}: {rows.abs().max():.4g} is over the most that {name} holds, {largest:.5g}\n"
            "take store_dtype: bfloat16 or float32, and another folder"
        )

    def _write(self, rows: Tensor) -> None:
        path = self.folder / f"shard-{len(self.shards):05d}.safetensors"
        files.write_tensors(path, {"activations": rows})
        self._count(rows, {"file": path.name, "rows": len(rows), "sha256": files.sha256(path)})
        self._filled = 0
        self._write_manifest()

    def _count(self, rows: Tensor, shard: dict[str, Any]) -> None:
        # Shard by shard: so the sums are the same to the last bit however often it was cut off.
        for part in rows.split(PART):
            exact = part.double()
            total = exact.sum(dim=0)
            self._sum = total if self._sum is None else self._sum + total
            self._square += float(exact.square().sum())
        self.rows += len(rows)
        self.shards.append(shard)

    def _write_manifest(self) -> None:
        assert self._sum is not None
        about = {
            **self.facts,
            "d_in": len(self._sum),
            "dtype": str(self.dtype).removeprefix("torch."),
            "rows": self.rows,
            "complete": self.complete,
            "text_sha256": self.text_sha256,
            "mean": (self._sum / self.rows).tolist(),
            "mean_square": self._square / self.rows,
            "shards": self.shards,
        }
        files.write_json(self.folder / MANIFEST, about)

    def _take_up(self) -> None:
        """Count what an earlier harvest left; from a shard that is damaged on, it is done again."""
        path = self.folder / MANIFEST
        if not path.exists():
            return
        manifest = files.read_json(path)
        for key, value in self.facts.items():
            # A model may be called otherwise from another folder; its hash says which it is.
            if manifest.get(key) != value and key not in ("saesweep", "model"):
                raise RunError(f"{path}: of another harvest: {key} was {manifest.get(key)!r}")
        listed, rows = manifest.get("shards"), manifest.get("rows")
        if not isinstance(listed, list):
            raise RunError(f"{path}: damaged: it lists no shards")
        if type(rows) is not int:
            raise RunError(f"{path}: damaged: rows is {rows!r}")
        self.known = rows, str(manifest.get("text_sha256"))
        self.text_sha256 = self.known[1]
        for shard in listed:
            if not is_whole(self.folder, shard):
                return
            self._count(_read(self.folder / shard["file"]), shard)


def is_whole(folder: Path, shard: Any) -> bool:
    """Whether the file of a shard that a manifest in ``folder`` lists is as it was written."""
    try:
        return bool(files.sha256(folder / shard["file"]) == shard["sha256"])
    except (OSError, LookupError, TypeError):
        return False


def _read(path: Path) -> Tensor:
    from safetensors.torch import load_file

    return load_file(path)["activations"]
