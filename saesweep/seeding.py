"""Named random streams, all derived from the one seed of a run.

A stream is found by its name, never by what was drawn before it. So batch 5,000 can be drawn
again without the 4,999 before it, and a cell starts the same whichever cells train beside it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *name: str | int) -> int:
    """The 63-bit seed of the stream ``name`` of a run's ``seed``.

    >>> stream_seed(0, "data", 1) == stream_seed(0, "data", 1)
    True
    >>> stream_seed(0, "data", 1) == stream_seed(0, "data", 2)
    False
    """
    digest = hashlib.blake2b(repr((seed, *name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stream(seed: int, *name: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for the stream ``name`` of a run's ``seed``.

    CPU and CUDA generators differ: the same stream gives other numbers on another kind of device.
    The CPU's uses the low 32 bits of its seed.
    """
    import torch

    return torch.Generator(device=device).manual_seed(stream_seed(seed, *name))
