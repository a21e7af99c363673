"""The normalisation of activations, folded into an autoencoder and taken out again.

A run trains on x' = (x - mean) · scale. An autoencoder f of x' becomes one of x itself by

    W_enc · scale,  W_dec / scale,  b_dec / scale + mean

whatever its variant, as the encoder only ever sees x - b_dec. Its atoms then have norm 1/scale.
Where the variant says how, latents are stretched by 1/scale: atoms have norm 1 again, and latents
are in units of x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.activations_config import ActivationsConfig
from saesweep.data.activations import Normalization
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variant import Weights
from saesweep.errors import RunError
from saesweep.run_folder import Run


def normalization_of(run: Run) -> Normalization | None:
    """How the activations of ``run`` were normalised; None of data that are synthetic.

    ``RunError`` where the record is lost: without it an autoencoder of the run is one of nothing.
    """
    found = run.normalization()
    if found is None and isinstance(run.config.data, ActivationsConfig):
        raise RunError(
            f"{run.path}: data/normalization.safetensors is missing; "
            f"`saesweep resume {run.path}` makes it again"
        )
    return found


def of_raw_activations(sae: SAE, normalization: Normalization) -> SAE:
    """What ``sae`` is for normalised activations, for raw ones: x in, x_hat out."""
    w = {name: part.double() for name, part in sae.tensors().items()}
    scale = torch.tensor(normalization.scale, dtype=torch.float64)
    moved = {**w, "b_dec": w["b_dec"] / scale + normalization.mean.double()}
    return _scaled(sae, moved, scale)


def of_normalised_activations(sae: SAE, normalization: Normalization) -> SAE:
    """The way back: what ``sae`` is for raw activations, for normalised ones."""
    w = {name: part.double() for name, part in sae.tensors().items()}
    scale = torch.tensor(normalization.scale, dtype=torch.float64)
    moved = {**w, "b_dec": (w["b_dec"] - normalization.mean.double()) * scale}
    return _scaled(sae, moved, 1 / scale)


def with_unit_atoms(sae: SAE) -> SAE:
    """The same autoencoder with atoms of norm 1, where its latents are found one by one."""
    norms: Tensor = torch.linalg.vector_norm(sae.W_dec.double(), dim=1)
    w = {name: part.double() for name, part in sae.tensors().items()}
    return _rounded(sae, sae.variant.stretched(w, norms.where(norms > 0, 1)) or w)


def _scaled(sae: SAE, w: Weights, scale: Tensor) -> SAE:
    """``w``, of what is ``scale`` times as large, for what is not."""
    inner = {**w, "W_enc": w["W_enc"] * scale, "W_dec": w["W_dec"] / scale}
    return _rounded(sae, sae.variant.stretched(inner, 1 / scale) or inner)


def _rounded(sae: SAE, w: Weights) -> SAE:
    return SAE.of({name: part.to(sae.W_dec.dtype) for name, part in w.items()}, sae.variant)
