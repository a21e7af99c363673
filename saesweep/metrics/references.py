"""The baselines that stand beside a metric: chance, classical methods, the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan

from saesweep.files import Row

PER_SIZE = {"random": "chance", "kmeans": "k-means"}
"""Baselines that exist once for each dictionary size, and what they are called."""
SINGLE = {"pca": "PCA", "ica": "ICA", "truth": "truth"}
"""Those that exist once."""


@dataclass(frozen=True)
class References:
    """Values to compare cells with: `rows` name -> one value a row, `marks` name -> one value."""

    rows: Mapping[str, Sequence[float]] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)


def references(baselines: Sequence[Row], key: str, sizes: Sequence[int]) -> References:
    """What rows of `Run.baselines` know of a metric, for rows of a grid with these ``sizes``.

    None where it is the same for all of several: such a metric says nothing of baselines.

    >>> rows = [{"baseline": "random", "dict_size": 24, "mmcs": 0.9}]
    >>> references(rows, "mmcs", [24, 48]).rows
    {'chance': [0.9, nan]}
    """
    known = [row for row in baselines if isfinite(row.get(key, nan))]
    if len(known) > 1 and len({row[key] for row in known}) == 1:
        return References()
    rows = {}
    for name, words in PER_SIZE.items():
        found = {row["dict_size"]: row[key] for row in known if row["baseline"] == name}
        if found:
            rows[words] = [found.get(size, nan) for size in sizes]
    marks = {SINGLE[row["baseline"]]: row[key] for row in known if row["baseline"] in SINGLE}
    return References(rows, marks)
