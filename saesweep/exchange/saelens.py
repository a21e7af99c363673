"""SAELens's folder: ``cfg.json`` and ``sae_weights.safetensors``, as `SAE.load_from_disk` reads it.

Its classes compute, with x as it is:

    standard  ReLU((x - b_dec) W_enc + b_enc)
    topk      the k largest of those; with rescale_acts_by_decoder_norm of those times atoms' norms
    jumprelu  those whose pre-activation is above ``threshold`` [d_sae]
    gated     H((x - b_dec) W_enc + b_gate) · ReLU((x - b_dec) W_enc exp(r_mag) + b_mag)

and without apply_b_dec_to_input the encoder sees x. batchtopk and matryoshka have no class there
for use after training: they are jumprelu with the same threshold for all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saesweep import files
from saesweep.dictionaries.sae import SAE
from saesweep.errors import RunError
from saesweep.exchange.folding import with_unit_atoms
from saesweep.exchange.parts import Handed, check, log_threshold, made, wanted, without_shift
from saesweep.files import Row

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
VERSION = "6.0.0"
"""Of SAELens, with which this form of ``cfg.json`` came."""
ARCHITECTURES = {
    "relu": "standard",
    "topk": "topk",
    "batchtopk": "jumprelu",
    "matryoshka": "jumprelu",
    "jumprelu": "jumprelu",
    "gated": "gated",
}
"""What becomes of each variant."""
TENSORS = {
    "standard": ("W_enc", "W_dec", "b_enc", "b_dec"),
    "topk": ("W_enc", "W_dec", "b_enc", "b_dec"),
    "jumprelu": ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"),
    "gated": ("W_enc", "W_dec", "b_gate", "b_dec", "r_mag", "b_mag"),
}


def write(folder: Path, handed: Handed) -> None:
    """Write ``handed`` into ``folder``; its origin goes into the metadata."""
    sae, origin = handed.sae, handed.origin
    architecture = ARCHITECTURES[handed.variant]
    d_in, size = sae.W_enc.shape
    config: Row = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": size,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": VERSION,
            "model_name": origin.get("model"),
            "hook_name": origin.get("site"),
            "context_size": origin.get("context"),
            "saesweep": origin,
        },
    }
    if architecture == "topk":
        config |= {"k": int(sae.variant.sparsity[0]), "rescale_acts_by_decoder_norm": False}
    files.write_tensors(folder / WEIGHTS, _theirs(sae, architecture))
    files.write_json(folder / CONFIG, config)


def _theirs(sae: SAE, architecture: str) -> dict[str, Tensor]:
    w = sae.tensors()
    if architecture == "gated":
        w["b_gate"] = w["b_enc"]
    if "log_threshold" in w:
        w["threshold"] = w["log_threshold"].exp()
    elif "threshold" in w:
        w["threshold"] = w["threshold"].expand_as(w["b_enc"])
    return {name: w[name].float() for name in TENSORS[architecture]}


def read(folder: Path) -> Handed:
    """The autoencoder in ``folder``; ``RunError`` says what of it cannot be read here."""
    path = folder / CONFIG
    config = _current(files.read_json(path))
    architecture = config["architecture"]
    if architecture not in TENSORS:
        allowed = ", ".join(TENSORS)
        raise RunError(f"{path}: architecture {architecture!r}: {allowed} can be read")
    if config["normalize_activations"] != "none":
        raise RunError(
            f"{path}: normalize_activations is {config['normalize_activations']!r}: fold it into "
            "the weights first; none can be read"
        )
    activation = config.get("activation_fn")
    if activation not in (None, "relu", "topk"):
        raise RunError(f"{path}: activation_fn is {activation!r}: relu and topk can be read")
    if config.get("finetuning_scaling_factor"):
        raise RunError(f"{path}: finetuning_scaling_factor is set: fold it into W_dec first")
    arrays = files.read_arrays(folder / WEIGHTS)
    names = TENSORS[architecture]
    found = wanted(folder / WEIGHTS, arrays, names)
    w = {name: torch.from_numpy(part) for name, part in zip(names, found, strict=True)}
    if architecture == "gated":
        w["b_enc"] = w.pop("b_gate")
    check(folder / WEIGHTS, w)
    said, there = wanted(path, config, ["d_in", "d_sae"]), list(w["W_enc"].shape)
    if said != there:
        raise RunError(f"{path}: d_in and d_sae are {said}, and W_enc has shape {there}")
    if not isinstance(config["apply_b_dec_to_input"], bool):
        given = config["apply_b_dec_to_input"]
        raise RunError(f"{path}: apply_b_dec_to_input is {given!r}, not true or false")
    if not config["apply_b_dec_to_input"]:
        w = _seeing_x(w, gated=architecture == "gated")
    sae = _ours(path, config, w)
    variant = "relu" if architecture == "standard" else architecture
    return Handed(sae, variant, config["metadata"])


def _ours(path: Path, config: Row, w: dict[str, Tensor]) -> SAE:
    w = {name: part.float() for name, part in w.items()}
    architecture = config["architecture"]
    if architecture == "topk":
        (k,) = wanted(path, config, ["k"])
        if type(k) is not int or not 1 <= k <= len(w["b_enc"]):
            raise RunError(f"{path}: k is {k!r}, not a count from 1 to {len(w['b_enc'])}")
        if config.get("rescale_acts_by_decoder_norm"):
            w = with_unit_atoms(made("relu", w)).tensors()
        return made("topk", w, sparsity=k)
    if architecture == "jumprelu":
        w["log_threshold"] = log_threshold(w.pop("threshold"))
    return with_unit_atoms(made("relu" if architecture == "standard" else architecture, w))


def _seeing_x(w: dict[str, Tensor], gated: bool) -> dict[str, Tensor]:
    shifted = without_shift(w)
    if gated:
        shift = shifted["b_enc"] - w["b_enc"].double()
        shifted["b_mag"] = w["b_mag"].double() + shift * w["r_mag"].double().exp()
    return shifted


def _current(config: dict[str, Any]) -> Row:
    """``cfg.json`` with the keys of SAELens 6; before it, they had other names and places."""
    renamed = {"activation_fn_str": "activation_fn", "hook_point": "hook_name"}
    flat = {renamed.get(key, key): value for key, value in config.items()}
    keys = ("model_name", "hook_name", "context_size")
    metadata = flat.get("metadata") or {key: flat[key] for key in keys if key in flat}
    architecture = flat.get("architecture", "standard")
    if architecture == "standard" and flat.get("activation_fn") == "topk":
        architecture = "topk"
        flat.setdefault("k", (flat.get("activation_fn_kwargs") or {}).get("k"))
    normalize = flat.get("normalize_activations") or "none"
    return {
        **flat,
        "architecture": architecture,
        "normalize_activations": normalize,
        "apply_b_dec_to_input": flat.get("apply_b_dec_to_input", True),
        "metadata": {
            **(metadata.get("saesweep") or {}),
            "model": metadata.get("model_name"),
            "site": metadata.get("hook_name"),
        },
    }
