"""When snapshots are taken."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from saesweep.config_file import load_config
from saesweep.schedule import Schedule, check_schedule, snapshot_count, snapshot_epochs

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=60)
SCHEDULES = st.one_of(
    st.integers(1, 400),
    st.builds(lambda count: {"log": count}, st.integers(2, 100)),
    st.lists(st.integers(1, 400), min_size=1, unique=True),
)


@SOME
@given(SCHEDULES, st.integers(1, 300))
def test_first_last_and_in_between(schedule: Schedule, epochs: int) -> None:
    taken = snapshot_epochs(schedule, epochs)
    assert (taken[0], taken[-1]) == (0, epochs)
    assert taken == sorted(set(taken))
    assert snapshot_count(schedule, epochs) == len(taken)


@SOME
@given(st.integers(1, 300), st.integers(1, 400))
def test_every_so_many(epochs: int, every: int) -> None:
    assert {*snapshot_epochs(every, epochs)} == {0, epochs, *range(0, epochs + 1, every)}


def test_evenly_over_the_logarithm() -> None:
    taken = snapshot_epochs({"log": 31}, 30_000)[1:]
    ratios = [after / before for before, after in pairwise(taken)]
    # Whole epochs, so only the later ones can be even: 30000^(1/30) = 1.41.
    assert all(1.38 < ratio < 1.44 for ratio in ratios[12:])


@pytest.mark.parametrize(
    ("given", "kept"),
    [(10, 10), (1e2, 100), ({"log": 5.0}, {"log": 5}), ([3, 1.0], [1, 3])],
)
def test_what_may_be_given(given: Any, kept: Schedule) -> None:
    assert check_schedule(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        *(0, -1, 1.5, True, "10", float("inf"), float("nan"), None),
        *({}, {"log": 1}, {"log": True}, {"log": 5, "x": 1}, [], [0, 1], [1, 1], [1.5], ["1"]),
    ],
)
def test_what_may_not(given: Any) -> None:
    with pytest.raises(PydanticCustomError, match=r"\{log: N\} with N from 2 to 10000, or a list"):
        check_schedule(given)


def test_on_the_command_line() -> None:
    config = load_config("configs/toy.yaml", ["snapshot_every={log: 20}"])
    assert config.snapshot_every == {"log": 20}
    assert load_config("configs/toy.yaml", ["snapshot_every=[5, 50]"]).snapshot_every == [5, 50]
