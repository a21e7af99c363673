"""The one array of a file of activations, mapped into memory and not read: nothing is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError  # only its name: what torch raises where it refuses a pickle
from typing import Any

import torch
from torch import Tensor

from saesweep.errors import RunError

NAME = "activations"
"""Which tensor is taken from a file that has several."""
DTYPES = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
}
"""What activations may be stored as."""


def map_rows(path: Path) -> Tensor:
    """The array [..., d_in] of a file as a tensor [rows, d_in] that is mapped, not in memory.

    ``RunError`` if there is no such file, or none such array in it. Only the header is read; a file
    that is shorter than its header says is noticed.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file")
    try:
        array = READERS[path.suffix](path)
    except RunError:
        raise
    except (UnpicklingError, AttributeError):
        # Not torch's own words: they tell how to switch the protection off.
        raise RunError(
            f"{path}: refused: not tensors alone, or damaged, and nothing is unpickled: "
            "save the tensor by itself"
        ) from None
    except RuntimeError as error:
        if "_use_new_zipfile_serialization" in str(error):  # so old a format, or no such file
            how = "not a file of torch.save since torch 1.6: save the tensor again"
            raise RunError(f"{path}: cannot be read: {how}") from None
        raise RunError(f"{path}: cannot be read: {str(error).partition('. ')[0]}") from None
    except Exception as error:  # three libraries, each with errors of its own for a damaged file
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise RunError(f"{path}: cannot be read: {reason or type(error).__name__}") from None
    return _checked(path, array)


def _checked(path: Path, array: Tensor) -> Tensor:
    if array.is_meta:
        raise RunError(f"{path}: holds a tensor without its numbers (of the device meta)")
    if array.layout != torch.strided or array.dtype not in DTYPES:
        kind = str(array.dtype if array.layout == torch.strided else array.layout)
        raise _wrong_dtype(path, kind.removeprefix("torch."))
    shape = list(array.shape)
    if len(shape) < 2 or 0 in shape:
        raise RunError(f"{path}: has the shape {shape}: an array [..., d_in] of rows is needed")
    if not array.is_contiguous():
        raise RunError(
            f"{path}: is not stored row after row (transposed, or in Fortran order): "
            "save a contiguous array"
        )
    return array.detach().view(-1, shape[-1])


def _wrong_dtype(path: Path, dtype: str) -> RunError:
    return RunError(f"{path}: holds {dtype}: allowed are {', '.join(DTYPES.values())}")


def _safetensors(path: Path) -> Tensor:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        array: Tensor = file.get_tensor(_choice(path, list(file.keys())))
        return array


def _npy(path: Path) -> Tensor:
    import numpy as np

    # Copy on write, as torch has no tensors that cannot be written.
    array = np.lib.format.open_memmap(path, mode="c")
    if array.dtype.kind != "f" or not array.dtype.isnative or array.dtype.itemsize > 8:
        raise _wrong_dtype(path, array.dtype.str if array.dtype.kind == "f" else str(array.dtype))
    return torch.from_numpy(array)


def _pt(path: Path) -> Tensor:
    held = torch.load(path, mmap=True, weights_only=True, map_location="cpu")
    if isinstance(held, Mapping):
        tensors = {str(key): value for key, value in held.items() if isinstance(value, Tensor)}
        held = tensors[_choice(path, list(tensors))]
    if not isinstance(held, Tensor):
        raise RunError(f"{path}: holds a {type(held).__name__}: a tensor [..., d_in] is needed")
    return held


def _choice(path: Path, names: list[str]) -> str:
    """Which of the tensors called ``names`` holds the activations."""
    if NAME in names:
        return NAME
    if len(names) == 1:
        return names[0]
    held = ", ".join(sorted(names)[:8]) + (", …" if len(names) > 8 else "")
    raise RunError(
        f"{path}: holds {len(names)} tensors ({held or 'none'}): "
        f"one is needed, or one called {NAME!r}"
    )


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _safetensors,
    ".npy": _npy,
    ".pt": _pt,
}
"""How the array is found, by the ending of the file's name."""
