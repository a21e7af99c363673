"""What cells differ in beyond sparsity, dictionary size and seed, as figures tell them apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from saesweep.figures.style import LOSSES, OTHER_LOSSES
from saesweep.grid import Cell
from saesweep.metrics.seeds import variant_name
from saesweep.model_config import ReluOptions
from saesweep.sparsity import SparsityAxis

MOST_VARIANTS = 8
"""Combinations of values of other axes that are drawn, a figure each."""


@dataclass(frozen=True)
class Variant:
    """The cells that share all values of axes other than sparsity, dictionary size and seed."""

    name: str
    """As ``train.lr=0.001``; empty where there is no such axis."""
    cells: dict[tuple[int, float], list[Cell]]
    """By dictionary size and sparsity: one cell a seed."""
    axis: SparsityAxis
    """What makes them sparse."""

    def stem(self, figure: str) -> str:
        """The name of the file of ``figure`` for these cells, without its ending."""
        return f"{figure}_{re.sub(r'[^A-Za-z0-9_.=+-]+', '_', self.name)}" if self.name else figure


def variants(cells: Sequence[Cell]) -> list[Variant]:
    """The ``cells`` of a run, sorted into variants in grid order."""
    found: dict[str, Variant] = {}
    for cell in cells:
        name = variant_name({axis: x for axis, x in cell.extra.items() if axis != "seed"})
        variant = found.setdefault(name, Variant(name, {}, cell.axis))
        variant.cells.setdefault((cell.dict_size, cell.sparsity), []).append(cell)
    return list(found.values())


def ending(axes: Sequence[SparsityAxis], axis: SparsityAxis) -> str:
    """What names of files end in where a figure is drawn for each of ``axes``: ``_k``."""
    return f"_{axis.key}" if len(axes) > 1 else ""


def loss_words(cells: Iterable[Cell]) -> list[str]:
    """What is trained, for captions: a line a `train.loss`."""
    cells = list(cells)
    l1 = all(isinstance(cell.model, ReluOptions) and _is_plain(cell) for cell in cells)
    words = LOSSES if l1 else OTHER_LOSSES
    return [words[loss] for loss in sorted({cell.train.loss for cell in cells})]


def _is_plain(cell: Cell) -> bool:
    """Whether its penalty is the L1 norm of its latents, all through training."""
    model = cell.model.model_dump()
    plain = (model["penalty"], model["lp"], model["unit_norm"]) == ("lp", 1, True)
    return plain and not cell.train.lp_end
