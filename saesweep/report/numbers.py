"""Numbers as the page has them: JSON holds none that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

SAFE = 2**53
"""The integers up to this are numbers of JavaScript."""
DIGITS = 5
"""Of a curve: more cannot be seen in a plot."""


def exact(value: Any) -> Any:
    """A number as it is; None if it is none, and the words ``inf`` and ``-inf``.

    What is no float stays what it is: a seed keeps its digits, in words where JavaScript would
    round it, and true is not 1.

    >>> exact(0.1 + 0.2), exact(float("nan")), exact(float("-inf")), exact(20240101), exact(True)
    (0.30000000000000004, None, '-inf', 20240101, True)
    """
    if isinstance(value, int) and abs(value) > SAFE:
        return str(value)
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def short(values: Iterable[float]) -> list[float | str | None]:
    """The same in `DIGITS` digits, for curves.

    >>> short([1.23456789, float("nan"), 3.0, float("inf")])
    [1.2346, None, 3, 'inf']
    """
    return [_short(float(value)) for value in values]


def whole(values: Iterable[float]) -> list[float | str | None]:
    """Counts, as integers where they are some.

    >>> whole([1234567.0, 0.5])
    [1234567, 0.5]
    """
    return [int(x) if (x := float(value)).is_integer() else exact(x) for value in values]


def _short(value: float) -> float | str | None:
    if not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded
