"""Dictionaries that no gradient made: what a sparse autoencoder should be compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical import clusters, components, factors, references
from saesweep.dictionaries.classical.baseline import Baseline

FIT_SAMPLES = 16_384
"""Samples that the baselines of a sweep are fitted on."""

Fit = tuple[str, Callable[[], Baseline]]
"""What to call a baseline, and the function that fits it."""


def fits(
    names: Sequence[str],
    batch: Batch,
    features: Tensor,
    dict_sizes: Sequence[int],
    seed: int,
    bias: Tensor | float = 0.0,
) -> Iterator[Fit]:
    """Each of the baselines ``names``, of `classical.methods.METHODS`.

    They are fitted on ``batch``, data with ``features`` [n_features, d_in], no rows where none is
    known, to which ``bias`` [d_in] is added; those that are sized, once for each of ``dict_sizes``.
    A function raises `ValueError`
    where its baseline cannot be fitted, or would take absurdly long.
    """
    x = batch.x.double()
    rank = min(features.shape) or features.shape[1]
    ica = cache(partial(components.fast_ica, x, rank, seed))  # both of its dictionaries share it
    once: dict[str, Callable[[], Baseline]] = {
        "pca": partial(components.pca, x, rank, seed),
        "ica": lambda: components.mixing(ica()),
        "ica_components": lambda: components.unmixing(ica()),
        "truth": partial(references.truth, features, bias),
    }
    sized: dict[str, Callable[[int], Baseline]] = {
        "kmeans": lambda size: clusters.kmeans(x, size, seed),
        "kmedoids": lambda size: clusters.kmedoids(x, size, seed),
        "nmf": lambda size: factors.nmf(x, size, seed),
        "dictionary_learning": lambda size: factors.dictionary_learning(x, size, seed),
        "random": lambda size: references.random(size, features, seed),
    }
    for name in names:
        if name in once:
            yield name, once[name]
        else:
            yield from ((f"{name} of {size}", partial(sized[name], size)) for size in dict_sizes)
