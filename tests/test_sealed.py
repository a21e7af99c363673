"""Sealed files say whether they are what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from saesweep.errors import RunError
from saesweep.sealed import read_sealed, write_sealed

TENSORS = {
    "W": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    "flags": torch.tensor([True, False]),
    "half": torch.tensor([1.5], dtype=torch.float16),
    "nothing": torch.empty(0, 3),
    "nan": torch.tensor([float("nan")]),
}
FACTS = {"step": 3, "seconds": 1.25, "cell": {"lr": 0.1, "name": "é"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_sealed(tmp_path / "a.safetensors", TENSORS, FACTS)
    return tmp_path / "a.safetensors"


def test_what_is_written_is_read(path: Path) -> None:
    arrays, facts = read_sealed(path)
    assert facts == FACTS
    assert set(arrays) == set(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_the_seal_does_not_fit_other_tensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    for name, other in (("W", TENSORS["W"] + 1e-6), ("W", TENSORS["W"].T.contiguous())):
        save_file({**load_file(path), name: other.contiguous()}, path, header)
        with pytest.raises(RunError, match="damaged: it is not what was written"):
            read_sealed(path)


def test_other_facts_break_the_seal(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"step\\": 3', b'\\"step\\": 4'))
    assert path.read_bytes() != content
    with pytest.raises(RunError, match="damaged"):
        read_sealed(path)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(data=st.data())
def test_no_changed_byte_passes(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "a.safetensors"
    write_sealed(path, {"W": torch.arange(6.0)}, FACTS)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    cut = data.draw(st.booleans())
    if cut:
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        arrays, facts = read_sealed(path)
    except RunError:
        return
    # Only what means nothing may change: spaces that pad the header.
    assert facts == FACTS
    np.testing.assert_array_equal(arrays["W"], np.arange(6.0, dtype=np.float32))
