"""When snapshots are taken: every so many epochs, evenly over their logarithm, or as listed."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

from pydantic_core import PydanticCustomError

Schedule: TypeAlias = int | dict[Literal["log"], int] | list[int]
"""``10``: every 10 epochs. ``{"log": 50}``: up to 50 times. ``[1, 10]``: after these epochs."""
MOST = 10_000
"""Snapshots that a logarithmic schedule may ask for."""


def check_schedule(given: Any) -> Any:
    """``given`` as a `Schedule`; whole numbers may be written as ``1e4``."""
    match given:
        case int() | float() if _is_count(given):
            return int(given)
        case {"log": count, **others} if not others and _is_count(count) and 1 < count <= MOST:
            return {"log": int(count)}
        case [_, *_] if all(map(_is_count, given)) and len(set(given)) == len(given):
            return sorted(map(int, given))
    raise PydanticCustomError(
        "allowed",
        "should be a number of epochs, {form} with N from 2 to {most}, or a list of epochs, from 1 "
        "on and none of them twice",
        {"form": "{log: N}", "most": MOST},
    )


def _is_count(given: Any) -> bool:
    return (
        isinstance(given, int | float)
        and not isinstance(given, bool)
        and 0 < given <= 2**31
        and float(given).is_integer()
    )


def snapshot_epochs(schedule: Schedule, epochs: int) -> list[int]:
    """After which of ``epochs`` a snapshot is taken; 0 is before the first, the last always is.

    >>> snapshot_epochs(4, 10)
    [0, 4, 8, 10]
    >>> snapshot_epochs({"log": 4}, 1000)
    [0, 1, 10, 100, 1000]
    >>> snapshot_epochs([2, 3, 50], 10)
    [0, 2, 3, 10]
    """
    match schedule:
        case int():
            chosen = [*range(0, epochs, schedule)]
        case {"log": count}:
            chosen = [round(epochs ** (i / (count - 1))) for i in range(count)]
        case _:
            chosen = [*schedule]
    return sorted({0, *(epoch for epoch in chosen if epoch < epochs), epochs})


def snapshot_count(schedule: Schedule, epochs: int) -> int:
    """How many snapshots that makes.

    >>> snapshot_count(4, 10)
    4
    """
    if isinstance(schedule, int):
        return 1 + math.ceil(epochs / schedule)
    return len(snapshot_epochs(schedule, epochs))
