"""saesweep's own folder: ``cfg.json`` with variant and keys, ``sae.safetensors`` as cells have it.

Every variant goes through it, and any tool reads it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError

from saesweep import files
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variants import variant_of
from saesweep.errors import RunError
from saesweep.exchange.parts import Handed, check, wanted
from saesweep.model_config import BUILT_IN, offered, options_of

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
FORMAT = "saesweep-1"


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
    config = files.read_json(path)
    form, variant, given, sparsity = wanted(
        path, config, ["format", "variant", "options", "sparsity"]
    )
    if form != FORMAT:
        raise RunError(f"{path}: in format {form!r}; {FORMAT} can be read")
    if variant not in BUILT_IN and variant not in offered():
        known = ", ".join([*BUILT_IN, *offered()])
        raise RunError(f"{path}: variant {variant!r}: {known} can be read")
    arrays = files.read_arrays(folder / WEIGHTS)
    tensors = {name: torch.from_numpy(part) for name, part in arrays.items()}
    wanted(folder / WEIGHTS, tensors, ["W_enc", "W_dec", "b_enc", "b_dec"])
    check(folder / WEIGHTS, tensors)
    try:
        options = options_of(variant).model_validate(given)
        sae = SAE.of(tensors, variant_of(variant, options, [float(sparsity)]))
    except (ValidationError, TypeError, ValueError) as error:
        raise RunError(f"{path}: damaged: {str(error).partition(chr(10))[0]}") from None
    except LookupError as error:
        raise RunError(f"{folder / WEIGHTS}: {error.args[0]}") from None
    return Handed(sae, variant, config.get("origin") or {})
