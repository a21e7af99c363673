"""Codes without zeros, against the same as dense tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep.data.sparse_codes import SparseCodes

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=50)


def codes(samples: int, n: int, seed: int, share: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(samples, n, generator=generator) + 0.01
    return values * (torch.rand(samples, n, generator=generator) < share)


@SOME
@given(st.integers(0, 12), st.integers(1, 6), st.integers(0, 99), st.integers(0, 13))
def test_it_says_the_same_as_a_dense_tensor(samples: int, n: int, seed: int, cut: int):
    dense = codes(samples, n, seed)
    sparse = SparseCodes.of(dense)
    assert len(sparse) == samples
    assert torch.equal(sparse.dense(), dense)
    assert torch.equal(sparse.counts(), (dense > 0).sum(dim=0))
    for place in (slice(cut), slice(cut, None), slice(cut // 2, cut), slice(-2, None)):
        assert torch.equal(sparse[place].dense(), dense[place])
    assert torch.equal(SparseCodes.join([sparse[:cut], sparse[cut:]]).dense(), dense)
    some = torch.randint(n, (7,), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(sparse.fires(some), dense[:, some] > 0)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_sums_of_directions_are_the_matrix_product(share: float):
    dense = codes(40, 30, 1, share)
    directions = torch.randn(30, 5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(SparseCodes.of(dense).times(directions), dense @ directions)


def test_memory_is_of_the_order_of_what_fires():
    shape = (100_000, 1_000_000)  # 400 GB, were it dense
    samples, features = torch.tensor([5, 99_999]), torch.tensor([7, 999_999])
    sparse = SparseCodes.collect(samples, features, torch.ones(2), shape)
    assert len(sparse) == 100_000
    assert sparse.fires(torch.tensor([999_999, 3]))[-1].tolist() == [True, False]
    assert sparse[5:6].features.tolist() == [7]
    assert sparse.counts()[999_999] == 1
