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

from pydantic import AliasChoices, Field, model_validator
from torch import Tensor

from saesweep import files
from saesweep.dictionaries.sae import SAE
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


class Metadata(Described):
    """Where it is from."""

    model_name: Any = None
    hook_name: Any = Field(None, validation_alias=AliasChoices("hook_name", "hook_point"))
    saesweep: dict[str, Any] | None = None


class Activation(Described):
    """The arguments of an activation function."""

    k: int | None = None


class Config(Described):
    """What is read of ``cfg.json``.

    Before SAELens 6 some keys had other names, and those of the metadata stood beside the others.
    """

    architecture: str = "standard"
    d_in: int
    d_sae: int
    apply_b_dec_to_input: bool = True
    normalize_activations: str | bool | None = None
    finetuning_scaling_factor: Any = None
    k: int | None = None
    rescale_acts_by_decoder_norm: bool = False
    activation_fn: str | None = Field(
        None, validation_alias=AliasChoices("activation_fn", "activation_fn_str")
    )
    activation_fn_kwargs: Activation | None = None
    metadata: Metadata

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "metadata": config.get("metadata") or config}

    @property
    def kind(self) -> str:
        """A key of `TENSORS`, or what cannot be read."""
        is_topk = self.architecture == "standard" and self.activation_fn == "topk"
        return "topk" if is_topk else self.architecture

    @property
    def origin(self) -> Row:
        """As `Handed` has it."""
        about = self.metadata
        return {**(about.saesweep or {}), "model": about.model_name, "site": about.hook_name}


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
    config = described(path, Config, files.read_json(path))
    _refuse_what_is_not_read(path, config)
    names = TENSORS[config.kind]
    found = wanted(folder / WEIGHTS, files.read_tensors(folder / WEIGHTS), names)
    w = dict(zip(names, found, strict=True))
    if config.kind == "gated":
        w["b_enc"] = w.pop("b_gate")
    w = checked(folder / WEIGHTS, w)
    said, there = [config.d_in, config.d_sae], list(w["W_enc"].shape)
    if said != there:
        raise RunError(f"{path}: d_in and d_sae are {said}, and W_enc has shape {there}")
    if not config.apply_b_dec_to_input:
        w = _seeing_x(w, gated=config.kind == "gated")
    sae = _ours(path, config, w)
    variant = "relu" if config.kind == "standard" else config.kind
    return Handed(sae, variant, config.origin)


def _refuse_what_is_not_read(path: Path, config: Config) -> None:
    if config.kind not in TENSORS:
        allowed = ", ".join(TENSORS)
        raise RunError(f"{path}: architecture {config.architecture!r}: {allowed} can be read")
    if config.normalize_activations not in (None, False, "none"):
        raise RunError(
            f"{path}: normalize_activations is {config.normalize_activations!r}: fold it into "
            "the weights first; none can be read"
        )
    if config.activation_fn not in (None, "relu", "topk"):
        given = config.activation_fn
        raise RunError(f"{path}: activation_fn is {given!r}: relu and topk can be read")
    if config.finetuning_scaling_factor:
        raise RunError(f"{path}: finetuning_scaling_factor is set: fold it into W_dec first")


def _ours(path: Path, config: Config, w: dict[str, Tensor]) -> SAE:
    w = {name: part.float() for name, part in w.items()}
    if config.kind == "topk":
        kept = config.activation_fn_kwargs.k if config.activation_fn_kwargs else None
        k = counted(path, kept if config.k is None else config.k, len(w["b_enc"]))
        if config.rescale_acts_by_decoder_norm:
            w = with_unit_atoms(made("relu", w)).tensors()
        return made("topk", w, sparsity=k)
    if config.kind == "jumprelu":
        w["log_threshold"] = log_threshold(w.pop("threshold").expand_as(w["b_enc"]))
    return with_unit_atoms(made("relu" if config.kind == "standard" else config.kind, w))


def _seeing_x(w: dict[str, Tensor], gated: bool) -> dict[str, Tensor]:
    shifted = without_shift(w)
    if gated:
        shift = shifted["b_enc"] - w["b_enc"].double()
        shifted["b_mag"] = w["b_mag"].double() + shift * w["r_mag"].double().exp()
    return shifted
