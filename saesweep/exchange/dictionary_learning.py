"""dictionary_learning's folder: ``ae.pt`` and ``config.json``, as its `load_dictionary` reads it.

Weights are a state dictionary of plain tensors, written and read as such: nothing is unpickled.
Its classes compute what the variants here do, with parameters of other names: linear layers, whose
weights are transposed, except in those of jumprelu and matryoshka; and jumprelu's encoder sees x.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saesweep import files
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variants.matryoshka import prefixes
from saesweep.errors import RunError
from saesweep.exchange.folding import with_unit_atoms
from saesweep.exchange.parts import (
    Described,
    Handed,
    checked,
    counted,
    described,
    log_threshold,
    made,
    wanted,
    without_shift,
)
from saesweep.files import Row

CONFIG, WEIGHTS = "config.json", "ae.pt"
LINEAR = {"W_enc": "encoder.weight", "W_dec": "decoder.weight"}
"""Layers with weights [out, in]."""
OWN = {name: name for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
COUNTING = {**LINEAR, "b_enc": "encoder.bias", "b_dec": "b_dec", "threshold": "threshold"}
CLASSES: dict[str, tuple[str, dict[str, str]]] = {
    "relu": ("AutoEncoder", {**LINEAR, "b_enc": "encoder.bias", "b_dec": "bias"}),
    "gated": (
        "GatedAutoEncoder",
        {
            **LINEAR,
            **{"b_enc": "gate_bias", "b_dec": "decoder_bias"},
            **{"r_mag": "r_mag", "b_mag": "mag_bias"},
        },
    ),
    "topk": ("AutoEncoderTopK", COUNTING),
    "batchtopk": ("BatchTopKSAE", COUNTING),
    "matryoshka": ("MatryoshkaBatchTopKSAE", {**OWN, "threshold": "threshold"}),
    "jumprelu": ("JumpReluAutoEncoder", {**OWN, "threshold": "threshold"}),
}
"""The class of each variant, and what it calls its tensors."""
NEW = ("AutoEncoderNew", {**LINEAR, "b_enc": "encoder.bias", "b_dec": "decoder.bias"})
"""A ReLU whose encoder sees x; only read."""


class Trainer(Described):
    """What is read of how it was trained."""

    dict_class: str
    k: int | None = None
    lm_name: Any = None
    submodule_name: Any = None


class Config(Described):
    """What is read of ``config.json``."""

    trainer: Trainer
    saesweep: dict[str, Any] | None = None


def write(folder: Path, handed: Handed) -> None:
    """Write ``handed`` into ``folder``; its origin goes into the config."""
    sae, variant, origin = handed.sae, handed.variant, handed.origin
    kind, names = CLASSES[variant]
    w = _named_as_here(sae, variant)
    state = {
        theirs: _turned(name, w[name], theirs).float().contiguous()
        for name, theirs in names.items()
    }
    trainer: Row = {
        "dict_class": kind,
        "activation_dim": sae.W_enc.shape[0],
        "dict_size": sae.W_enc.shape[1],
        "lm_name": origin.get("model"),
        "submodule_name": origin.get("site"),
    }
    if variant in ("topk", "batchtopk", "matryoshka"):
        trainer["k"] = k = max(1, round(sae.variant.sparsity[0]))
        state["k"] = torch.tensor(k, dtype=torch.int)
    if variant == "matryoshka":
        ends = [0, *prefixes(sae.W_enc.shape[1], sae.variant.options.prefixes)]
        state["group_sizes"] = torch.tensor(ends).diff()
    files.atomic_write(folder / WEIGHTS, lambda temporary: torch.save(state, temporary))
    files.write_json(folder / CONFIG, {"trainer": trainer, "saesweep": origin})


def _named_as_here(sae: SAE, variant: str) -> dict[str, Tensor]:
    w = sae.tensors()
    if variant == "topk":
        w["threshold"] = torch.tensor(-1.0)  # it has one, for another way to use it: none is known
    if variant == "jumprelu":
        w["threshold"] = w["log_threshold"].exp()
        shift = w["b_dec"].double() @ w["W_enc"].double()
        w["b_enc"] = w["b_enc"].double() - shift
    return w


def _turned(name: str, part: Tensor, theirs: str) -> Tensor:
    """``part`` as it is called ``theirs``, or the other way round: a layer's weights transposed."""
    return part.T if theirs == LINEAR.get(name) and part.dim() == 2 else part


def read(folder: Path) -> Handed:
    """The autoencoder in ``folder``; ``RunError`` says what of it cannot be read here."""
    path = folder / CONFIG
    config = described(path, Config, files.read_json(path))
    trainer = config.trainer
    known = {theirs: (variant, names) for variant, (theirs, names) in CLASSES.items()}
    known[NEW[0]] = ("relu", NEW[1])
    if trainer.dict_class not in known:
        raise RunError(f"{path}: dict_class {trainer.dict_class!r}: {', '.join(known)} can be read")
    variant, names = known[trainer.dict_class]
    w = _weights(folder / WEIGHTS, variant, names)
    if trainer.dict_class in (NEW[0], CLASSES["jumprelu"][0]):
        w = {name: part.float() for name, part in without_shift(w).items()}
    origin = {"model": trainer.lm_name, "site": trainer.submodule_name}
    if variant == "topk":
        sae = made("topk", w, sparsity=counted(path, trainer.k, len(w["b_enc"])))
        return Handed(sae, variant, {**(config.saesweep or {}), **origin})
    if "threshold" in w:
        # After training those that count over a batch have one threshold, as jumprelu has many.
        threshold = w.pop("threshold").expand_as(w["b_enc"])
        variant, w["log_threshold"] = "jumprelu", log_threshold(threshold)
    sae = with_unit_atoms(made(variant, w))
    return Handed(sae, variant, {**(config.saesweep or {}), **origin})


def _weights(path: Path, variant: str, names: dict[str, str]) -> dict[str, Tensor]:
    """The tensors of ``names`` in the file, in float32 and called as they are here."""
    state = _state(path)
    if variant == "topk":  # its threshold is for another way to use it, and came late
        names = {name: theirs for name, theirs in names.items() if name != "threshold"}
    found = wanted(path, state, names.values())
    turned = {
        name: _turned(name, part, theirs)
        for (name, theirs), part in zip(names.items(), found, strict=True)
    }
    return checked(path, turned)


def _state(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of a kind that it then refuses
            state = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        # Not torch's own words: they tell how to switch the protection off.
        raise RunError(
            f"{path}: cannot be read as plain tensors: damaged, or more than those, and nothing is "
            "unpickled"
        ) from None
    except Exception as error:  # a damaged pickle raises errors of every kind
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(f"{path}: cannot be read as plain tensors: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise RunError(f"{path}: not a mapping of names to tensors")
    return state
