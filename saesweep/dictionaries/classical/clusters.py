"""k-means and k-medoids: every sample is written with one atom, the nearest centre."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical.baseline import Baseline, state

SAMPLES_PER_CLUSTER = 8
"""Clusterings with fewer samples a cluster find samples, not clusters, and k-means takes long to do
so."""
MOST_PAIRS = 1 << 26
"""k-medoids needs the distances of all pairs of samples: so many, those of 8,192 samples, take 256
MiB and some ten seconds, and twice the samples four times that."""


def kmeans(x: Tensor, size: int, seed: int) -> Baseline:
    """``size`` cluster centres of ``x`` [samples, d_in] as atoms.

    ``ValueError`` where there are fewer than `SAMPLES_PER_CLUSTER` samples a cluster.
    """
    from sklearn.cluster import KMeans

    _refuse_few(len(x), size)
    model = KMeans(size, n_init=1, max_iter=100, random_state=state(seed, "kmeans")).fit(x.numpy())
    return _nearest("kmeans", torch.from_numpy(model.cluster_centers_).float())


def kmedoids(x: Tensor, size: int, seed: int) -> Baseline:
    """The ``size`` samples of ``x`` [samples, d_in] to which all samples are nearest, as atoms.

    FasterPAM (Schubert and Rousseeuw 2021) from random medoids, on Euclidean distances. Raises
    ``ValueError`` like `kmeans`, and where there are more than `MOST_PAIRS` of them.
    """
    from kmedoids import fasterpam
    from sklearn.metrics import pairwise_distances

    _refuse_few(len(x), size)
    if len(x) ** 2 > MOST_PAIRS:
        most = int(MOST_PAIRS**0.5)
        raise ValueError(f"takes at most {most:,} samples, as it needs the distances of all pairs")
    points = x.float()
    distances = pairwise_distances(points.numpy()).astype(np.float32, copy=False)
    start = state(seed, "kmedoids")
    # One thread: with several, ties are broken by whichever comes first.
    found = fasterpam(distances, size, init="random", random_state=start, n_cpu=1)
    return _nearest("kmedoids", points[torch.from_numpy(found.medoids.astype(np.int64))])


def _refuse_few(samples: int, size: int) -> None:
    if size * SAMPLES_PER_CLUSTER > samples:
        needed = size * SAMPLES_PER_CLUSTER
        raise ValueError(f"needs {SAMPLES_PER_CLUSTER} samples a cluster, {needed:,} in all")


def _nearest(name: str, centres: Tensor) -> Baseline:
    """A sample's one latent is the norm of its nearest centre, of ``centres`` [size, d_in]."""
    norms = centres.norm(dim=1)

    def encode(batch: Batch) -> tuple[Tensor, Tensor]:
        nearest = torch.cdist(batch.x, centres).argmin(dim=1)
        latents = torch.zeros(len(batch.x), len(centres))
        latents[torch.arange(len(nearest)), nearest] = norms[nearest]
        return latents, centres[nearest]

    return Baseline(name, centres[None], encode)
