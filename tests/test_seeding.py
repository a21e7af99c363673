"""Streams are found by name: the same on every call, unrelated to one another."""

from __future__ import annotations

import pytest
import torch

from saesweep.seeding import stream, stream_seed


def test_known_seeds_do_not_change_between_releases():
    # Written down once: a run must be reproducible by a later release and on another machine.
    assert [stream_seed(0, "data", 0), stream_seed(7, "init", 3, 24)] == [
        1040829170027334690,
        2239580330458819751,
    ]


def test_every_part_of_the_name_counts():
    names = [
        (seed, *name)
        for seed in (0, 1, 12)
        for name in [
            (),
            ("data",),
            ("data", 0),
            ("data", 1),
            ("data", 1, 1),
            ("eval", 1),
            ("data", "1"),
        ]
    ]
    seeds = {stream_seed(*name) for name in names}
    assert len(seeds) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_joined_names_stay_apart():
    assert stream_seed(1, "a", "b") != stream_seed(1, "ab")
    assert stream_seed(1, 12) != stream_seed(11, 2)
    assert stream_seed(1, 1, 2) != stream_seed(1, 12)


def test_a_stream_starts_afresh_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first = torch.rand(8, generator=stream(3, "data", 5))
    again = torch.rand(8, generator=stream(3, "data", 5))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbouring_streams_are_uncorrelated():
    # Correlations of n independent uniforms have standard deviation n**-0.5; the largest of the
    # 190 pairs stays below 5 of them but for about one seed in 10,000.
    n = 4096
    draws = torch.stack([torch.rand(n, generator=stream(0, "data", step)) for step in range(20)])
    correlations = torch.corrcoef(draws) - torch.eye(20)
    assert correlations.abs().max() < 5 * n**-0.5


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_many_steps_have_many_seeds(seed):
    # A generator on the CPU keeps 32 bits of its seed: they, too, should differ. Among 2,000 random
    # numbers of 32 bits two are equal with probability 2,000² / 2**33 = 0.0005.
    low = {stream_seed(seed, "data", step) % 2**32 for step in range(2000)}
    assert len(low) == 2000
