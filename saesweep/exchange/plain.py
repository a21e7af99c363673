"""saesweep's own folder: ``cfg.json`` with variant and keys, ``sae.safetensors`` as cells have it.

Every variant goes through it, and any tool reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from saesweep import files
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variants import variant_of
from saesweep.errors import RunError
from saesweep.exchange.parts import Described, Handed, checked, counted, described, wanted
from saesweep.model_config import BUILT_IN, offered, options_of

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
FORMAT = "saesweep-1"


class Config(Described):
    """What is read of ``cfg.json``."""

    format: str
    variant: str
    options: dict[str, Any]
    sparsity: float
    origin: dict[str, Any] | None = None


def write(folder: Path, handed: Handed) -> None:
    """Write ``handed`` into ``folder``; its origin goes into the config."""
    sae = handed.sae
    d_in, size = sae.W_enc.shape
    config = {
        "format": FORMAT,
        "variant": handed.variant,
        "options": sae.variant.options.model_dump(),
        "sparsity": sae.variant.sparsity[0],
        "d_in": d_in,
        "dict_size": size,
        "origin": handed.origin,
    }
    files.write_tensors(folder / WEIGHTS, sae.tensors())
    files.write_json(folder / CONFIG, config)


def read(folder: Path) -> Handed:
    """The autoencoder in ``folder``; ``RunError`` says what of it cannot be read here."""
    path = folder / CONFIG
    config = described(path, Config, files.read_json(path))
    variant, sparsity = config.variant, config.sparsity
    if config.format != FORMAT:
        raise RunError(f"{path}: in format {config.format!r}; {FORMAT} can be read")
    if variant not in BUILT_IN and variant not in offered():
        known = ", ".join([*BUILT_IN, *offered()])
        raise RunError(f"{path}: variant {variant!r}: {known} can be read")
    tensors = files.read_tensors(folder / WEIGHTS)
    wanted(folder / WEIGHTS, tensors, ["W_enc", "W_dec", "b_enc", "b_dec"])
    w = checked(folder / WEIGHTS, tensors)
    if variant == "topk":
        sparsity = counted(path, sparsity, len(w["b_enc"]))
    try:
        options = options_of(variant).model_validate(config.options)
        sae = SAE.of(w, variant_of(variant, options, [sparsity]))
    except (ValidationError, TypeError, ValueError) as error:
        raise RunError(f"{path}: damaged: {str(error).partition(chr(10))[0]}") from None
    except LookupError as error:
        raise RunError(f"{folder / WEIGHTS}: {error.args[0]}") from None
    return Handed(sae, variant, config.origin or {})
