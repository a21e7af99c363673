"""The short ways to write an axis, and what an axis may not be."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from saesweep.axes import MAX_VALUES, axis_of, linspace, logspace, pow2

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=150)
POSITIVE = st.floats(1e-300, 1e300)
COUNT = st.integers(2, 200)


@SOME
@given(POSITIVE, POSITIVE, COUNT)
def test_logspace_has_its_ends_and_one_ratio(first: float, last: float, count: int) -> None:
    values = logspace([first, last, count])
    assert len(values) == count
    assert (values[0], values[-1]) == (first, last)
    step = (math.log(last) - math.log(first)) / (count - 1)
    ratios = [math.log(after) - math.log(before) for before, after in pairwise(values)]
    assert ratios == pytest.approx([step] * (count - 1), abs=1e-8)


@SOME
@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100), COUNT)
def test_linspace_has_its_ends_and_one_step(first: float, last: float, count: int) -> None:
    values = linspace([first, last, count])
    assert len(values) == count
    assert (values[0], values[-1]) == (first, last)
    step = (last - first) / (count - 1)
    size = max(abs(first), abs(last))
    assert values == pytest.approx(
        [first + i * step for i in range(count)], abs=1e-8 * size + 1e-300
    )


@SOME
@given(st.integers(-60, 60), st.integers(0, 20))
def test_pow2_doubles(low: int, more: int) -> None:
    high = min(60, low + more)
    values = pow2([low, high])
    assert len(values) == high - low + 1
    assert math.log2(values[0]) == low
    assert all(after == 2 * before for before, after in pairwise(values))


def test_powers_of_ten_come_out_as_such() -> None:
    assert logspace([1e-5, 1e4, 10]) == [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4]
    assert logspace([1, 0.01, 3]) == [1.0, 0.1, 0.01]
    assert linspace([0, 0.3, 4]) == [0.0, 0.1, 0.2, 0.3]


def test_the_ends_may_be_far_apart() -> None:
    assert logspace([1e-300, 1e300, 3]) == [1e-300, 1.0, 1e300]  # their quotient is no float


@pytest.mark.parametrize(
    ("spacing", "given"),
    [
        *[
            (spacing, given)
            for spacing in (logspace, linspace)
            for given in (
                *([], [1], [1, 2], [1, 2, 3, 4], 3, None, "1, 2, 3", {"first": 1}),
                *([1, 2, 1], [1, 2, 0], [1, 2, -3], [1, 2, 3.0], [1, 2, "3"], [1, 2, None]),
                *([1, 2, MAX_VALUES + 1], [math.nan, 2, 3], [1, math.inf, 3], ["1", 2, 3]),
                *([True, 2, 3], [1, 2, True], [[1], 2, 3]),
            )
        ],
        (logspace, [0, 1, 3]),
        (logspace, [1, 0, 3]),
        (logspace, [-1, 1, 3]),
        *[
            (pow2, given)
            for given in ([], [1], [1, 2, 3], [2, 1], [-61, 0], [0, 61], [1.0, 2], [True, 2], "12")
        ],
    ],
)
def test_anything_else_is_refused_with_what_it_takes(spacing: Any, given: Any) -> None:
    with pytest.raises(PydanticCustomError, match=f"^{spacing.__name__} (takes|needs)"):
        spacing(given)


FLOATS: TypeAdapter[list[float]] = TypeAdapter(axis_of(float))


def test_an_axis_is_a_list_a_value_or_a_spacing() -> None:
    assert FLOATS.validate_python([1, 2.5]) == [1.0, 2.5]
    assert FLOATS.validate_python(3) == [3.0]
    assert FLOATS.validate_python({"pow2": [0, 2]}) == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "at least 1"),
        ([1, 2, 1.0], "the value 1.0 is repeated"),
        ([0.0, -0.0], "is repeated"),
        ({}, "one of logspace, linspace, pow2"),
        ({"geomspace": [1, 2, 3]}, "one of logspace, linspace, pow2"),
        ({"pow2": [1, 2], "linspace": [1, 2, 3]}, "one of logspace, linspace, pow2"),
        ({"logspace": [1, 1, 3]}, "is repeated"),
        (["a"], "valid number"),
        ([[1]], "valid number"),
        (list(range(MAX_VALUES + 1)), f"at most {MAX_VALUES}"),
    ],
)
def test_other_axes_are_refused(given: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FLOATS.validate_python(given)


def test_an_axis_may_be_long() -> None:
    values = list(range(MAX_VALUES))
    assert TypeAdapter(axis_of(int)).validate_python(values) == values
