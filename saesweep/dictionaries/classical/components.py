"""Principal and independent components: linear, without noise, as many as there are dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.dictionaries.classical.baseline import Baseline, state


def pca(x: Tensor, rank: int, seed: int) -> Baseline:
    """The ``rank`` first principal components of ``x`` [samples, d_in] as atoms.

    Latents are projections, of either sign.
    """
    from sklearn.decomposition import PCA

    _refuse(x, rank)
    model = PCA(n_components=rank, random_state=state(seed, "pca")).fit(x.numpy())
    components = torch.from_numpy(model.components_).float()
    return _linear("pca", components.T, components, torch.from_numpy(model.mean_).float())


def fast_ica(x: Tensor, rank: int, seed: int) -> Any:
    """scikit-learn's FastICA of ``x`` [samples, d_in] with ``rank`` sources."""
    from sklearn.decomposition import FastICA

    _refuse(x, rank)
    model = FastICA(
        n_components=rank, whiten="unit-variance", max_iter=400, random_state=state(seed, "ica")
    )
    return model.fit(x.numpy())


def _refuse(x: Tensor, rank: int) -> None:
    if len(x) < rank:
        raise ValueError(f"{rank} components need at least as many samples")
    if not x.var(dim=0).any():
        raise ValueError("the samples are all equal")


def mixing(ica: Any) -> Baseline:
    """Columns of the mixing matrix of `fast_ica` as atoms, sources as latents.

    x - mean = sources · atoms, so these are the directions that ICA says activations are made of.
    """
    unmix, atoms, mean = _matrices(ica)
    return _linear("ica", unmix, atoms, mean)


def unmixing(ica: Any) -> Baseline:
    """Rows of the unmixing matrix of `fast_ica` (its ``components_``) as atoms.

    Latents and x_hat are those of `mixing`. Each atom is the direction that a source is read along:
    orthogonal to the mixing directions of all other sources, and so not what activations are made
    of, unless those are orthogonal.
    """
    unmix, atoms, mean = _matrices(ica)
    return Baseline("ica_components", unmix.T[None], _linear("ica", unmix, atoms, mean).encode)


def _matrices(ica: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Unmixing [d_in, rank], mixing [rank, d_in], mean [d_in]."""
    unmix, mix = (torch.from_numpy(m.T.copy()).float() for m in (ica.components_, ica.mixing_))
    return unmix, mix, torch.from_numpy(ica.mean_).float()


def _linear(name: str, unmix: Tensor, atoms: Tensor, mean: Tensor) -> Baseline:
    """Latents = (x - mean) unmix [d_in, size]; x_hat = latents atoms [size, d_in] + mean [d_in]."""

    def encode(batch: Batch) -> tuple[Tensor, Tensor]:
        latents = (batch.x - mean) @ unmix
        return latents, latents @ atoms + mean

    return Baseline(name, atoms[None], encode)
