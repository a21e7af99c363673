"""Values of a config that are right in themselves but do not go together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

MISFIT = "misfit"
"""The type of a misfit among pydantic's errors."""

MOST = 2**31
"""How many of anything there may be."""


UNITS = {"n_features": "features", "activation_dim": "dimensions"}
"""What a dictionary's ratio counts, by its key in `data`."""


@dataclass(frozen=True)
class Misfit:
    """One thing that does not fit."""

    loc: tuple[str | int, ...]
    """Where it is reported."""
    text: str
    about: Sequence[str]
    """The keys and sections it follows from, dotted."""


def refuse(title: str, misfits: Iterable[Misfit]) -> None:
    """Raise one ``ValidationError`` for all ``misfits``, if there are any."""
    errors = [
        InitErrorDetails(
            type=PydanticCustomError(MISFIT, "{text}", {"text": one.text, "about": one.about}),
            loc=one.loc,
            input=None,
        )
        for one in misfits
    ]
    if errors:
        raise ValidationError.from_exception_data(title, errors)


def size_misfits(grid: Mapping[str, Sequence[Any]], unit: int, of: str) -> Iterator[Misfit]:
    """What is wrong with the dictionary sizes of ``grid``; a ratio is times ``unit``, `data.of`."""
    about = ("grid.dict_ratio", "grid.dict_size")
    if "dict_ratio" in grid and "dict_size" in grid:
        text = "dict_ratio is given too; keep one of them (the other may be null)"
        yield Misfit(("grid", "dict_size"), text, about)
    elif "dict_ratio" not in grid and "dict_size" not in grid:
        yield Misfit(("grid",), "has neither dict_ratio nor dict_size; give one of them", about)
    seen = set()
    for i, ratio in enumerate(grid.get("dict_ratio", [])):
        size = latents(ratio, unit)
        if size is None or size in seen:
            reason = f"; it should be a whole number from 1 to {MOST}"
            text = (
                f"{ratio:.10g} times {unit} {UNITS[of]} makes {ratio * unit:.10g} latents"
                f"{', as a ratio before it does' if size else reason}"
            )
            yield Misfit(("grid", "dict_ratio", i), text, ("grid.dict_ratio", f"data.{of}"))
        seen.add(size)


def latents(ratio: float, unit: int) -> int | None:
    """``ratio * unit`` if it is a whole number, but for float rounding (1.15 times 100)."""
    product = ratio * unit
    if 0.5 < product < MOST + 0.5 and math.isclose(product, round(product), rel_tol=1e-9):
        return round(product)
    return None


def largest_mean(value: float) -> str:
    """``value`` in six digits, rounded down: what is advised must itself be allowed.

    >>> largest_mean(5 / 3)
    '1.66666'
    """
    digits = 5 - math.floor(math.log10(value))
    return f"{math.floor(value * 10**digits) / 10**digits:.6g}"


def flat(data: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys; the axes of a grid have dots of their own.

    >>> flat({"seed": 0, "train": {"lr": 0.1}, "grid": {"train.loss": ["sum"]}})
    {'seed': 0, 'train.lr': 0.1, 'grid.train.loss': ['sum']}
    """
    pairs: dict[str, Any] = {}
    for key, value in data.items():
        inner = (
            flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
        )
        pairs |= inner
    return pairs
