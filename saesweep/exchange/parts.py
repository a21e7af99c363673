"""What all formats share: an autoencoder from bare tensors, and checks of what others wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variants import variant_of
from saesweep.errors import RunError
from saesweep.files import Row
from saesweep.model_config import Options, options_of


@dataclass(frozen=True)
class Handed:
    """An autoencoder for raw activations, on its way from tool to tool."""

    sae: SAE
    variant: str
    origin: Row
    """What is known of where it is from: ``model``, ``site``, …"""


def made(variant: str, tensors: Mapping[str, Tensor], sparsity: float = 0.0, **keys: Any) -> SAE:
    """An autoencoder of ``variant`` with `SAE.tensors`, a decoder bias, and these keys of `model`.

    ``sparsity`` matters to variants that count latents alone.
    """
    options: Options = options_of(variant)(decoder_bias=True, **keys)
    return SAE.of(tensors, variant_of(variant, options, [sparsity]))


def without_shift(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``w`` whose encoder sees x, as one that sees x - b_dec, in float64."""
    wide = {name: part.double() for name, part in w.items()}
    return {**wide, "b_enc": wide["b_enc"] + wide["b_dec"] @ wide["W_enc"]}


def log_threshold(threshold: Tensor) -> Tensor:
    """[dict_size] as `jumprelu` has it, of thresholds; below 0 they do what 0 does to a ReLU."""
    return threshold.clamp_min(0).log()


def wanted(path: Path, mapping: Mapping[str, Any], keys: Iterable[str]) -> list[Any]:
    """The values of ``keys`` in ``mapping``, which was read at ``path``; ``RunError`` if one lacks.

    >>> wanted(Path("cfg.json"), {"d_in": 3}, ["d_in"])
    [3]
    """
    missing = [key for key in keys if key not in mapping]
    if missing:
        there = ", ".join(sorted(mapping)) or "nothing"
        raise RunError(f"{path}: has no {', '.join(missing)}, but {there}")
    return [mapping[key] for key in keys]


def check(path: Path, w: Mapping[str, Tensor]) -> None:
    """``RunError`` unless ``w`` are numbers that fit together: d_in and dict_size are W_enc's."""
    if w["W_enc"].dim() != 2:
        raise RunError(f"{path}: W_enc has shape {list(w['W_enc'].shape)}, not two axes")
    d_in, size = w["W_enc"].shape
    expected = {"W_enc": [d_in, size], "W_dec": [size, d_in], "b_dec": [d_in]}
    for name, part in w.items():
        shape = expected.get(name, [size] if part.dim() else [])  # batchtopk has one threshold
        if list(part.shape) != shape:
            raise RunError(f"{path}: {name} has shape {list(part.shape)}, not {shape}")
        if not part.is_floating_point():
            kind = str(part.dtype).removeprefix("torch.")
            raise RunError(f"{path}: {name} holds {kind}, not floating-point numbers")
        if part.isnan().any() or (part == torch.inf).any():
            raise RunError(f"{path}: {name} holds what is no finite number")
