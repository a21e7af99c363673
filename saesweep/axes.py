"""Axes of a grid: lists of values, or short ways to write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

MAX_VALUES = 10_000


def _ends_and_count(name: str, given: Any) -> tuple[float, float, int]:
    match given:
        case [int() | float() as first, int() | float() as last, int() as count] if (
            not any(isinstance(value, bool) for value in given)
            and 2 <= count <= MAX_VALUES
            and math.isfinite(first)
            and math.isfinite(last)
        ):
            return float(first), float(last), count
    raise PydanticCustomError(
        "axis",
        "{name} takes [first, last, count] with a count from 2 to {most}",
        {"name": name, "most": MAX_VALUES},
    )


def logspace(given: Any) -> list[float]:
    """``[first, last, count]`` -> values evenly spaced in their logarithm.

    Inner values are rounded to 10 digits, so that a power of ten comes out as one.

    >>> logspace([0.001, 1, 4])
    [0.001, 0.01, 0.1, 1.0]
    """
    first, last, count = _ends_and_count("logspace", given)
    if first <= 0 or last <= 0:
        raise PydanticCustomError("axis", "logspace needs ends above 0")
    low, step = math.log(first), (math.log(last) - math.log(first)) / (count - 1)
    inner = [float(f"{math.exp(low + step * i):.10g}") for i in range(1, count - 1)]
    return [first, *inner, last]


def linspace(given: Any) -> list[float]:
    """``[first, last, count]`` -> evenly spaced values.

    >>> linspace([0, 1, 5])
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    first, last, count = _ends_and_count("linspace", given)
    step = (last - first) / (count - 1)
    return [first, *(float(f"{first + step * i:.10g}") for i in range(1, count - 1)), last]


def pow2(given: Any) -> list[float]:
    """``[a, b]`` -> 2^a, 2^(a+1), … 2^b.

    >>> pow2([-2, 1])
    [0.25, 0.5, 1.0, 2.0]
    """
    match given:
        case [int() as low, int() as high] if (
            not any(isinstance(value, bool) for value in given) and -60 <= low <= high <= 60
        ):
            return [2.0**exponent for exponent in range(low, high + 1)]
    raise PydanticCustomError("axis", "pow2 takes [a, b], whole numbers with -60 ≤ a ≤ b ≤ 60")


SPACINGS: dict[str, Callable[[Any], list[float]]] = {
    "logspace": logspace,
    "linspace": linspace,
    "pow2": pow2,
}


def _write_out(given: Any) -> Any:
    if not isinstance(given, dict):
        return given if isinstance(given, list) else [given]
    if len(given) == 1 and (name := next(iter(given))) in SPACINGS:
        return SPACINGS[name](given[name])
    raise PydanticCustomError(
        "axis",
        "should be a list of values, one value, or one of {names}: […]",
        {"names": ", ".join(SPACINGS)},
    )


def distinct(values: list[Any]) -> list[Any]:
    """``values``, if none of them is repeated."""
    seen = set()
    for value in values:
        if value in seen:
            raise PydanticCustomError("axis", "the value {value} is repeated", {"value": value})
        seen.add(value)
    return values


_SPACING_SCHEMA = {  # for editors: what may stand in place of a list
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {
        name: {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}
        for name, count in (("logspace", 3), ("linspace", 3), ("pow2", 2))
    },
}
_Spacing = Annotated[Any, WithJsonSchema(_SPACING_SCHEMA)]


def axis_of(kind: Any) -> Any:
    """The pydantic type of an axis whose values are of ``kind``."""
    return Annotated[
        list[kind],
        Field(min_length=1, max_length=MAX_VALUES),
        BeforeValidator(_write_out, json_schema_input_type=kind | list[kind] | _Spacing),
        AfterValidator(distinct),
    ]


_RULES = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def grid_model(kinds: dict[str, Any]) -> type[BaseModel]:
    """A pydantic model with one axis for each key of ``kinds``; none of them need be there."""
    fields: dict[str, Any] = {key: (axis_of(kind) | None, None) for key, kind in kinds.items()}
    return create_model("Grid", __config__=_RULES, **fields)
