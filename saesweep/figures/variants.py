"""What cells differ in beyond L1, dictionary size and seed, as figures tell them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saesweep.grid import Cell

MOST_VARIANTS = 8
"""Combinations of values of other axes that are drawn, a figure each."""


@dataclass(frozen=True)
class Variant:
    """The cells that share all values of axes other than L1, dictionary size and seed."""

    name: str
    """As ``train.lr=0.001``; empty where there is no such axis."""
    cells: dict[tuple[int, float], list[Cell]]
    """By dictionary size and L1 penalty: one cell a seed."""

    def stem(self, figure: str) -> str:
        """The name of the file of ``figure`` for these cells, without its ending."""
        return f"{figure}_{re.sub(r'[^A-Za-z0-9_.=+-]+', '_', self.name)}" if self.name else figure


def variants(cells: Sequence[Cell]) -> list[Variant]:
    """The ``cells`` of a run, sorted into variants in grid order."""
    found: dict[str, Variant] = {}
    for cell in cells:
        name = variant_name({axis: x for axis, x in cell.extra.items() if axis != "seed"})
        variant = found.setdefault(name, Variant(name, {}))
        variant.cells.setdefault((cell.dict_size, cell.l1), []).append(cell)
    return list(found.values())


def variant_name(values: Mapping[str, object]) -> str:
    """The values of axes in words, floats in ten digits: values that a grid tells apart stay so.

    >>> variant_name({"train.lr": 1e-3, "train.loss": "sum"})
    'train.lr=0.001, train.loss=sum'
    """
    return ", ".join(
        f"{axis}={value:.10g}" if isinstance(value, float) else f"{axis}={value}"
        for axis, value in values.items()
    )
