"""What all formats share: an autoencoder from bare tensors, and checks of what others wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
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


class Described(BaseModel):
    """What a config says of an autoencoder: keys that are of the right kind, and others besides."""

    model_config = ConfigDict(strict=True, frozen=True)


D = TypeVar("D", bound=Described)


def described(path: Path, kind: type[D], config: Mapping[str, Any]) -> D:
    """``config``, which was read at ``path``, as ``kind``; ``RunError`` names what does not fit."""
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            there = ", ".join(sorted(first["input"])) or "nothing"
            raise RunError(f"{path}: has no {key}, but {there}") from None
        given, rule = repr(first["input"])[:60], first["msg"].removeprefix("Input ")
        raise RunError(f"{path}: {key} is {given}: {rule}") from None


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


def counted(path: Path, k: float | None, size: int) -> int:
    """``k``, how many of ``size`` latents are kept; ``RunError`` where it is no such number."""
    if k is None:
        raise RunError(f"{path}: has no k")
    if not 1 <= k <= size or k != int(k):
        raise RunError(f"{path}: k is {k!r}, not a count from 1 to {size}")
    return int(k)


def checked(path: Path, w: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``w`` in float32, if they fit together: d_in and dict_size are W_enc's. Else ``RunError``."""
    if w["W_enc"].dim() != 2:
        raise RunError(f"{path}: W_enc has shape {list(w['W_enc'].shape)}, not two axes")
    d_in, size = w["W_enc"].shape
    expected = {"W_enc": [d_in, size], "W_dec": [size, d_in], "b_dec": [d_in]}
    for name, part in w.items():
        for_all = name == "threshold" and not part.dim()  # as batchtopk has it
        shape = expected.get(name, [] if for_all else [size])
        if list(part.shape) != shape:
            raise RunError(f"{path}: {name} has shape {list(part.shape)}, not {shape}")
        if part.layout != torch.strided or part.is_meta or not part.is_floating_point():
            kind = str(part.dtype if part.layout == torch.strided else part.layout)
            kind = "no numbers" if part.is_meta else kind.removeprefix("torch.")
            raise RunError(f"{path}: {name} holds {kind}, not floating-point numbers")
    single = {name: part.float().contiguous() for name, part in w.items()}
    for name, part in single.items():
        lowest = -torch.inf if name == "log_threshold" else torch.finfo(torch.float32).min
        if not ((part >= lowest) & (part < torch.inf)).all():
            raise RunError(f"{path}: {name} holds what is no finite number")
    return single
