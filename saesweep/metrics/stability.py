"""Stability: whether another seed finds the same dictionary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, combinations
from statistics import fmean

from saesweep.errors import RunError
from saesweep.files import Row, read_rows, write_rows
from saesweep.metrics.recovery import cosines, mcc
from saesweep.metrics.seeds import points
from saesweep.run_folder import Run

MOST_ATOMS = 4096
"""Larger dictionaries are not compared. Measured on one core, random atoms in 256 dimensions: a
pair takes 0.01 s at 512 atoms, 0.06 at 1,024, 0.24 at 2,048, 2.0 at 4,096 and 7 at 8,192."""

PAIRS = "seed_pairs.csv"
"""In the run's metrics: the pairs that were compared, and the hashes of their weights."""
COLUMNS = ["cell", "other", "mcc", "weights", "other_weights"]

Pairs = dict[tuple[str, str], Row]


def fill_in_stability(run: Run, rows: Sequence[Row], check: Callable[[], None]) -> None:
    """Set ``stability`` in each of ``rows``: the mean over the other seeds of the pair's mcc.

    NaN where no other seed is done, or the dictionary has more than `MOST_ATOMS`. Pairs whose
    weights were compared before are read from ``metrics/seed_pairs.csv``. ``check`` is called
    before each other one, and may raise.
    """
    for row in rows:
        row["stability"] = math.nan
    families = [_comparable(point.rows) for point in points(rows)]
    families = [family for family in families if len(family) > 1]
    if not families:
        return
    pairs = _compare(run, families, check)
    for family in families:
        for row in family:
            row["stability"] = _average(row, family, pairs)


def _comparable(family: Sequence[Row]) -> list[Row]:
    return [row for row in family if row["state"] == "done" and row["dict_size"] <= MOST_ATOMS]


def _average(row: Row, family: Sequence[Row], pairs: Pairs) -> float:
    own = row["cell"]
    found = (pairs.get((own, other["cell"])) or pairs.get((other["cell"], own)) for other in family)
    known = [pair["mcc"] for pair in found if pair and not math.isnan(pair["mcc"])]
    return fmean(known) if known else math.nan


def _compare(run: Run, families: Sequence[Sequence[Row]], check: Callable[[], None]) -> Pairs:
    """All pairs of each family."""
    weights = {
        row["cell"]: str(run.folder(row["cell"]).result()["files"]["sae.safetensors"])
        for family in families
        for row in family
    }
    pairs = _compared(run, weights)
    try:
        for family in families:
            names = [row["cell"] for row in family]
            missing = [pair for pair in combinations(names, 2) if pair not in pairs]
            atoms = {name: run.sae(name).W_dec for name in {*chain(*missing)}}
            for cell, other in missing:
                check()
                value = mcc(cosines(atoms[cell], atoms[other]))
                found = (cell, other, value, weights[cell], weights[other])
                pairs[cell, other] = dict(zip(COLUMNS, found, strict=True))
    finally:  # a sweep that is stopped here goes on from here
        write_rows(run.metrics_dir / PAIRS, list(pairs.values()), COLUMNS)
    return pairs


def _compared(run: Run, weights: Mapping[str, str]) -> Pairs:
    """The pairs that an earlier call compared, as far as their cells have these ``weights``."""
    try:
        rows = read_rows(run.metrics_dir / PAIRS)
        return {
            (row["cell"], row["other"]): {**row, "mcc": float(row["mcc"])}
            for row in rows
            if weights.get(row["cell"]) == row["weights"]
            and weights.get(row["other"]) == row["other_weights"]
        }
    except (RunError, LookupError, ValueError, TypeError):
        return {}  # missing or damaged: all are compared again
