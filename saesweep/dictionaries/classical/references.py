"""The floor and the ceiling: random atoms, and the truth."""

from __future__ import annotations

from torch import Tensor, randn

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical.baseline import Baseline
from saesweep.seeding import stream

MOST_DRAWS, LEAST_DRAWS, DRAWN_COSINES = 1024, 16, 1 << 22
"""Random dictionaries of each size; chance is the mean over them. One of 24 atoms in three
dimensions strays by 0.03, so that 16 would leave 0.008, as much as lies between cells; large ones
stray less, and get as many as have four million cosines with the features in all."""


def truth(features: Tensor, bias: Tensor | float = 0.0) -> Baseline:
    """The true ``features`` [n_features, d_in] as atoms, the true coefficients as latents.

    ``bias`` [d_in] is what the data adds to every activation.
    """

    def encode(batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.codes_true, batch.sparse_codes.times(features) + bias

    return Baseline("truth", features[None], encode)


def random(size: int, features: Tensor, seed: int) -> Baseline:
    """Many dictionaries of ``size`` random unit atoms: chance. ``features`` [n_features, d_in]."""
    draws = min(MOST_DRAWS, max(LEAST_DRAWS, DRAWN_COSINES // (size * max(features.shape))))
    shape = (draws, size, features.shape[1])
    atoms = randn(shape, generator=stream(seed, "random", size))
    return Baseline("random", atoms / atoms.norm(dim=-1, keepdim=True), encode=None)
