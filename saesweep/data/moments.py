"""The mean of activations, and the mean of their squared norms."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data.shards import MANIFEST, PART, Shards
from saesweep.errors import RunError


def moments(shards: Shards) -> tuple[Tensor, float]:
    """The mean [d_in], float64, and the mean of ‖x‖², over all rows.

    From the manifest where there is one, else by one pass over the files, in float64.
    """
    manifest = shards.manifest
    if manifest is None or "mean" not in manifest or "mean_square" not in manifest:
        return _measured(shards)
    place = shards.files[0].parent / MANIFEST
    mean, square = manifest["mean"], manifest["mean_square"]
    if not isinstance(mean, list) or not all(map(_is_number, mean)) or len(mean) != shards.d_in:
        raise RunError(f"{place}: damaged: 'mean' is not a list of {shards.d_in} numbers")
    if not _is_number(square) or square < 0:
        raise RunError(f"{place}: damaged: 'mean_square' is {square!r}")
    return torch.tensor(mean, dtype=torch.float64), float(square)


def _measured(shards: Shards) -> tuple[Tensor, float]:
    size = max(1, PART // shards.d_in)
    part = torch.empty(size, shards.d_in)
    total, square = torch.zeros(shards.d_in, dtype=torch.float64), 0.0
    for start in range(0, shards.rows, size):
        rows = torch.arange(start, min(start + size, shards.rows))
        x = shards.copy(rows, part[: len(rows)]).double()
        total += x.sum(dim=0)
        square += float(x.square().sum())
    return total / shards.rows, square / shards.rows


def _is_number(value: object) -> bool:
    # Training is in float32.
    return isinstance(value, int | float) and abs(value) <= torch.finfo(torch.float32).max
