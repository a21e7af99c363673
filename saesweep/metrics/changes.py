"""What became of features and latents from one snapshot to the next: learned, moved, lost."""

from __future__ import annotations

import numpy as np

from saesweep.files import Arrays

CLASSES = ("newly_learned", "unlearned", "same_atom", "moved")


def feature_changes(best_cosine: np.ndarray, best_atom: np.ndarray, threshold: float) -> Arrays:
    """What each feature is at each snapshot: masks [T, n_features] by name.

    ``best_cosine`` [T, n_features] is the largest signed cosine of each feature with an atom, and
    ``best_atom`` [T, n_features] the atom that has it.

    - ``learned``: the cosine is above ``threshold``
    - ``newly_learned``: learned now, and not at the snapshot before
    - ``unlearned``: learned at the snapshot before, and not now
    - ``same_atom``, ``moved``: learned at both, by the same atom or by another

    Before the first snapshot nothing counts as learned. So always learned = newly_learned +
    same_atom + moved, and what was learned before = same_atom + moved + unlearned. A cosine that is
    not a number is not learned.

    >>> masks = feature_changes(np.array([[0.95], [0.99]]), np.array([[3], [5]]), 0.9)
    >>> [name for name in CLASSES if masks[name][1, 0]]
    ['moved']
    """
    learned = best_cosine > float(threshold)  # a float64 scalar would widen float32 cosines
    before = _one_later(learned)
    stays = np.zeros_like(learned)
    stays[1:] = best_atom[1:] == best_atom[:-1]
    return {
        "learned": learned,
        "newly_learned": learned & ~before,
        "unlearned": before & ~learned,
        "same_atom": learned & before & stays,
        "moved": learned & before & ~stays,
    }


def latent_changes(dead: np.ndarray) -> Arrays:
    """The same for latents, from ``dead`` [T, dict_size]: masks [T, dict_size] by name.

    ``dead``; ``newly_dead``: dead now, and not at the snapshot before; ``revived``: the reverse.
    Before the first snapshot no latent counts as dead.
    """
    before = _one_later(dead)
    return {"dead": dead, "newly_dead": dead & ~before, "revived": before & ~dead}


def counts(masks: Arrays) -> Arrays:
    """How many there are at each snapshot, [T] each."""
    return {name: mask.sum(axis=1) for name, mask in masks.items()}


def mean_cosines(best_cosine: np.ndarray, masks: Arrays) -> Arrays:
    """Means over features of the best cosine at each snapshot, [T] each; NaN over no feature.

    ``mean_cosine`` is the mean over all features, which is the `mmcs` of that snapshot, and
    ``mean_cosine_<name>`` that over the features of each of ``masks``.
    """
    cosines = best_cosine.astype(np.float64)
    means = {"mean_cosine": cosines.mean(axis=1)}
    for name, mask in masks.items():
        totals, numbers = np.where(mask, cosines, 0.0).sum(axis=1), mask.sum(axis=1)
        none = np.full(len(cosines), np.nan)
        means[f"mean_cosine_{name}"] = np.divide(totals, numbers, out=none, where=numbers > 0)
    return means


def when_learned(epoch: np.ndarray, learned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each feature the epoch of the first snapshot that it is learned at, and for good.

    ``epoch`` [T], ``learned`` [T, n_features]; both answers are [n_features]. For good is the first
    snapshot after which it is never unlearned. Infinite for a feature that never is.

    >>> learned = np.array([[False, False], [True, False], [False, False], [True, False]])
    >>> when_learned(np.array([0, 10, 20, 30]), learned)
    (array([10., inf]), array([30., inf]))
    """
    later = np.append(epoch, np.inf)
    ever = np.logical_or.accumulate(learned, axis=0)
    always = np.logical_and.accumulate(learned[::-1], axis=0)
    return later[(~ever).sum(axis=0)], later[len(epoch) - always.sum(axis=0)]


def _one_later(mask: np.ndarray) -> np.ndarray:
    """At each snapshot what was at the one before, [T, n]; nothing at the first."""
    before = np.zeros_like(mask)
    before[1:] = mask[:-1]
    return before
