"""What every classical method gives: atoms, and how to write activations in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.seeding import stream_seed


@dataclass(frozen=True)
class Baseline:
    """A dictionary, and how it writes activations in it."""

    name: str
    atoms: Tensor
    """[draws, dict_size, d_in]; several draws only of random atoms"""
    encode: Callable[[Batch], tuple[Tensor, Tensor]] | None
    """latents [samples, dict_size] and x_hat [samples, d_in], or None where there is no encoder"""


def state(seed: int, name: str) -> int:
    """The seed of the stream ``name`` for scikit-learn, whose seeds have 32 bits."""
    return stream_seed(seed, name) % 2**32
