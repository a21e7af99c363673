"""Safetensors that know whether they are whole: for checkpoints, which are read back to go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saesweep.errors import RunError
from saesweep.files import Arrays, read_arrays, read_header, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

FACTS, DIGEST = "facts", "sha256"
"""What the header of a sealed file holds beside its tensors."""


def write_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write ``tensors`` with ``facts`` (anything that JSON holds) and the hash of both."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    digest = _digest({name: tensor.numpy() for name, tensor in on_cpu.items()}, text)
    write_tensors(path, on_cpu, {FACTS: text, DIGEST: digest})


def read_sealed(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and facts of a sealed file; ``RunError`` if a bit of it is not as written."""
    arrays, header = read_arrays(path), read_header(path)
    text = header.get(FACTS, "")
    if header.get(DIGEST) != _digest(arrays, text):
        raise RunError(f"{path}: damaged: it is not what was written")
    return arrays, json.loads(text)


def _digest(arrays: Arrays, facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
