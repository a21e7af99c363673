"""What the sections of a config have in common: their rules, and the kinds of numbers they hold."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from saesweep.config_checks import MOST


def whole(given: Any) -> Any:
    """YAML reads ``1e4`` as a float; where a whole number is wanted, that is one."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


Count = Annotated[int, BeforeValidator(whole), Field(gt=0, le=MOST)]
Width = Annotated[int, BeforeValidator(whole), Field(gt=0, le=2**20)]
Seed = Annotated[int, BeforeValidator(whole), Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
LARGEST = 1e12
"""What anything in the data may measure: squares in float32 end at 1e38."""
Size = Annotated[float, Field(ge=0, le=LARGEST)]


class Section(BaseModel):
    """Common rules: no unknown keys, no NaN, no text where a number belongs, nothing changes."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


def _pair(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 2 and all(map(_number, given))


def _number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def _spread(given: Any) -> Any:
    if (_number(given) or _pair(given)) and all(0 <= end <= LARGEST for end in ends(given)):
        return given
    raise PydanticCustomError("allowed", "should be a number from 0 to 1e12, or [first, last]")


def _above_zero(given: Any) -> Any:
    if (_number(given) or _pair(given)) and all(0 < end <= LARGEST for end in ends(given)):
        return given
    raise PydanticCustomError("allowed", "should be a number above 0 up to 1e12, or [first, last]")


def _range(given: Any) -> Any:
    if given is None or (_pair(given) and 0 < given[0] <= given[1] <= 1):
        return given
    raise PydanticCustomError("allowed", "should be [least, most] with 0 < least ≤ most ≤ 1")


def ends(spread: float | list[float]) -> list[float]:
    """The values of the first and of the last feature."""
    return spread if isinstance(spread, list) else [spread, spread]


_PAIR_SCHEMA = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_Ends = WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _PAIR_SCHEMA]})
Spread = Annotated[float | list[float], BeforeValidator(_spread), _Ends]
"""One number for all features, or [first, last]: linear from feature 0 to the last."""
PositiveSpread = Annotated[float | list[float], BeforeValidator(_above_zero), _Ends]
"""The same, above 0."""
Range = Annotated[
    list[float] | None,
    BeforeValidator(_range),
    WithJsonSchema({"anyOf": [_PAIR_SCHEMA, {"type": "null"}]}),
]
