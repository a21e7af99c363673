"""Factorisations with non-negative codes: NMF, and dictionary learning with an L1 penalty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical.baseline import Baseline, state

PENALTY = 0.05
"""Dictionary learning minimises ½‖x - x_hat‖² + 0.05 ‖codes‖₁: what a cell with ``l1: 0.1`` and
``loss: sum`` does. Of 0.025, 0.05, 0.1 and 0.2 it has the highest mcc on 512 features of which one
is active on average; where five are, 0.1 is better (docs/baselines.md)."""
EPOCHS = 3
"""Times that dictionary learning sees each sample. Ten raise mcc from 0.68 to 0.73, of 4,096."""
SWEEPS = 15
"""Of coordinate descent over NMF's codes and parts. It has not converged by then, and what more
sweeps gain in error they need not gain in recovery: in three dimensions they lose some."""
MOST_PRODUCTS = 1 << 31
"""What a sweep of NMF costs, samples times atoms squared: this many, as of 8,192 samples and 512
atoms, take minutes in all."""
MOST_CODES = 1 << 24
"""Samples times atoms of dictionary learning: those of 16,384 samples and 1,024 atoms take
minutes."""


def nmf(x: Tensor, size: int, seed: int) -> Baseline:
    """Non-negative matrix factorisation of ``x`` [samples, d_in], split by sign, in ``size`` parts.

    Activations are signed and NMF's data are not. So it factorises [max(x, 0), max(-x, 0)], of 2
    d_in columns, with the Frobenius norm; an atom is the first half of a part minus its second
    half. A feature that fires alone is then a part like any other, and where no x is negative this
    is NMF as usual. Codes are NMF's own, so that x_hat = codes · atoms. ``ValueError`` beyond
    `MOST_PRODUCTS`.
    """
    from sklearn.decomposition import NMF

    _refuse_many(len(x), size, MOST_PRODUCTS // size**2)
    # Not multiplicative updates: they are faster, and find few features where several are active.
    start = state(seed, "nmf")
    model = NMF(size, init="random", solver="cd", tol=0, max_iter=SWEEPS, random_state=start)
    model.fit(_split(x))
    atoms = model.components_[:, : x.shape[1]] - model.components_[:, x.shape[1] :]
    return _synthesis("nmf", atoms, lambda x: model.transform(_split(x)))


def dictionary_learning(x: Tensor, size: int, seed: int) -> Baseline:
    """Online dictionary learning (Mairal et al. 2009) of ``x`` [samples, d_in], ``size`` atoms.

    Codes are non-negative, as latents are, so that atoms have a sign; they are found by coordinate
    descent on ½‖x - codes · atoms‖² + `PENALTY` ‖codes‖₁. ``ValueError`` beyond `MOST_CODES`.
    """
    from sklearn.decomposition import MiniBatchDictionaryLearning

    _refuse_many(len(x), size, MOST_CODES // size)
    model = MiniBatchDictionaryLearning(
        size,
        alpha=PENALTY,
        max_iter=EPOCHS,
        tol=0,
        max_no_improvement=None,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        positive_code=True,
        random_state=state(seed, "dictionary_learning"),
    )
    model.fit(x.numpy())
    code = lambda x: model.transform(x.double().numpy())  # noqa: E731
    return _synthesis("dictionary_learning", model.components_, code)


def _refuse_many(samples: int, size: int, most: int) -> None:
    if samples > most:
        raise ValueError(f"takes at most {most:,} samples with {size:,} atoms, or many minutes")


def _split(x: Tensor) -> np.ndarray[Any, Any]:
    """[max(x, 0), max(-x, 0)] [samples, 2 d_in] of ``x`` [samples, d_in], in float32."""
    halves: np.ndarray[Any, Any] = torch.cat([x, -x], dim=1).clamp(min=0).float().numpy()
    return halves


def _synthesis(
    name: str, atoms: np.ndarray[Any, Any], code: Callable[[Tensor], np.ndarray[Any, Any]]
) -> Baseline:
    """x_hat = codes atoms [size, d_in]; latents are the codes for atoms scaled to norm 1."""
    weights = torch.from_numpy(atoms).float()
    norms = weights.norm(dim=1)

    def encode(batch: Batch) -> tuple[Tensor, Tensor]:
        codes = torch.from_numpy(code(batch.x)).float()
        return codes * norms, codes @ weights

    return Baseline(name, weights[None], encode)
