"""What differs between runs: their configs, where they come from, and their metrics."""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saesweep import provenance
from saesweep.catalogue import METRICS
from saesweep.config_checks import flat
from saesweep.errors import UsageError
from saesweep.files import Row
from saesweep.run_folder import Run

PROVENANCE = {
    "saesweep": ("saesweep",),
    "python": ("python",),
    "torch": ("packages", "torch"),
    "device.kind": ("device", "kind"),
    "device.name": ("device", "name"),
    "git.commit": ("git", "commit"),
    "git.dirty": ("git", "dirty"),
}
"""What is compared of ``provenance.json``, and where it stands there."""
CSV_COLUMNS = ("kind", "cell", "key")
"""The columns of the long form before those of the runs."""


@dataclass(frozen=True)
class Difference:
    """A key of the config or the provenance that is not the same in all runs."""

    key: str
    values: list[Any]
    """Its value in each run; None where a config lacks it or a provenance does not tell."""


@dataclass(frozen=True)
class Namesakes:
    """The cells of one name, one a run."""

    cell: str
    states: list[str | None]
    """In each run; None where it has no such cell."""
    metrics: dict[str, list[float]]
    """For each metric its value in each run, NaN where it is not known."""

    @property
    def all_done(self) -> bool:
        """Whether the cell is done in every run."""
        return all(state == "done" for state in self.states)


@dataclass(frozen=True)
class MetricSummary:
    """A metric over the cells that are done in all runs. Lists have one value a run."""

    metric: str
    cells: int
    """How many have a number in every run. All but `undefined` is over these."""
    undefined: int
    """How many have a number in some runs and none in others."""
    mean: list[float]
    mean_difference: list[float]
    """Mean of the differences to the first run."""
    largest_difference: list[float]
    """The difference to the first run that is farthest from 0, with its sign."""
    largest_in: list[str | None]
    """The cell where it is; None where nothing differs."""

    @property
    def differs(self) -> bool:
        """Whether any cell has another value in one run than in another."""
        return self.undefined > 0 or any(cell is not None for cell in self.largest_in)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. Lists of values are in the order of ``runs``."""

    runs: list[Row]
    """For each run its ``label``, its ``path``, and ``states``: how many cells are in each."""
    config: list[Difference]
    provenance: list[Difference]
    summary: list[MetricSummary]
    """One for each metric."""
    cells: list[Namesakes]
    """All cells of all runs, in grid order."""

    @property
    def labels(self) -> list[str]:
        """What the runs are called, each in its own way."""
        return [run["label"] for run in self.runs]

    @property
    def shared(self) -> list[Namesakes]:
        """The cells that are done in all runs."""
        return [cell for cell in self.cells if cell.all_done]

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        states = any(len(set(cell.states)) > 1 for cell in self.cells)
        metrics = any(summary.differs for summary in self.summary)
        return bool(self.config or self.provenance or states or metrics)


def compare(runs: Sequence[Run]) -> Comparison:
    """Find what differs between ``runs``; the first is what others are compared with.

    Cells are matched by name. Nothing is written.
    """
    if len(runs) < 2:
        raise UsageError("compare needs at least two runs, as outputs/run1 outputs/run2")
    tables = [run.metrics() for run in runs]
    cells = _cells(tables)
    shared = [cell for cell in cells if cell.all_done]
    return Comparison(
        runs=[
            {
                "label": label,
                "path": str(run.path),
                "states": dict(Counter(row["state"] for row in table)),
            }
            for label, run, table in zip(labels(runs), runs, tables, strict=True)
        ],
        config=differences([settings(run) for run in runs]),
        provenance=differences([origin(run) for run in runs]),
        summary=[_summary(metric, shared, len(runs)) for metric in METRICS],
        cells=cells,
    )


def check_metrics(names: Iterable[str]) -> list[str]:
    """``names`` without repetitions; ``UsageError`` if one is not a metric.

    >>> check_metrics(["fvu", "mmcs", "fvu"])
    ['fvu', 'mmcs']
    """
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in METRICS:
            close = difflib.get_close_matches(str(name), METRICS, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"no metric {name!r}: {hint}allowed: {', '.join(METRICS)}")
    return chosen


def labels(runs: Sequence[Run]) -> list[str]:
    """The folder names of the runs, or their paths where two names are equal."""
    names = [run.name for run in runs]
    uses = Counter([*names, *CSV_COLUMNS])  # a run may be called "cell"
    made: list[str] = []
    for run, name in zip(runs, names, strict=True):
        plain = name if uses[name] == 1 else str(run.path)
        label, copy = plain, 2
        while label in (*made, *CSV_COLUMNS):
            label, copy = f"{plain} ({copy})", copy + 1
        made.append(label)
    return made


def settings(run: Run) -> Row:
    """Every key of the config; ``grid`` is the order of the axes, which names of cells follow."""
    return {"grid": list(run.config.grid), **flat(run.config.model_dump())}


def origin(run: Run) -> Row:
    """What the provenance tells: a list where the run was resumed with something else."""
    # Missing or damaged, it tells nothing, and the rest can still be compared.
    first = provenance.first(run) or {}
    resumed = first.get("resumed")
    entries = [first, *(resumed if isinstance(resumed, list) else [])]
    found: Row = {}
    for key, path in PROVENANCE.items():
        values: list[Any] = []
        for entry in entries:
            value = _at(entry, path)
            # Lists in lists in lists, as only damage has, would be too deep to show.
            if isinstance(value, str | int | float) and value not in values:
                values.append(value)
        found[key] = values if len(values) > 1 else next(iter(values), None)
    return found


def _at(data: Any, path: Sequence[str]) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def differences(sides: Sequence[Row]) -> list[Difference]:
    """The keys whose values are not the same in all ``sides``.

    >>> differences([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}])
    [Difference(key='b', values=[2, 3]), Difference(key='c', values=[None, 4])]
    """
    rows = [
        Difference(key, [side.get(key) for side in sides])
        for key in dict.fromkeys(key for side in sides for key in side)
    ]
    # As text: a damaged provenance may hold NaN, which is not equal to itself.
    return [row for row in rows if len({json.dumps(value) for value in row.values}) > 1]


def _cells(tables: Sequence[Sequence[Row]]) -> list[Namesakes]:
    """The rows of all runs, matched by the name of the cell."""
    by_name = [{row["cell"]: row for row in table} for table in tables]
    nothing: Row = {"state": None, **dict.fromkeys(METRICS, math.nan)}
    cells = []
    for name in dict.fromkeys(name for rows in by_name for name in rows):
        rows = [known.get(name, nothing) for known in by_name]
        values = {metric: [row[metric] for row in rows] for metric in METRICS}
        cells.append(Namesakes(name, [row["state"] for row in rows], values))
    return cells


def _summary(metric: str, shared: Sequence[Namesakes], runs: int) -> MetricSummary:
    values = np.array([cell.metrics[metric] for cell in shared], float).reshape(-1, runs)
    known = np.isfinite(values)
    everywhere = known.all(axis=1)
    numbers = values[everywhere]  # [cells, runs]
    names = [cell.cell for cell, use in zip(shared, everywhere, strict=True) if use]
    undefined = int((known.any(axis=1) & ~everywhere).sum())
    if not names:
        unknown = [math.nan] * runs
        return MetricSummary(metric, 0, undefined, unknown, unknown, unknown, [None] * runs)
    changes = numbers - numbers[:, :1]
    worst = np.abs(changes).argmax(axis=0)
    largest = changes[worst, np.arange(runs)].tolist()
    return MetricSummary(
        metric,
        cells=len(names),
        undefined=undefined,
        mean=numbers.mean(axis=0).tolist(),
        mean_difference=changes.mean(axis=0).tolist(),
        largest_difference=largest,
        largest_in=[names[i] if far else None for i, far in zip(worst, largest, strict=True)],
    )
