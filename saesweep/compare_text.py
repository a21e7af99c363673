"""What differs between runs as text: for a terminal, a spreadsheet, a program, or a README."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from saesweep.catalogue import METRICS
from saesweep.compare import CSV_COLUMNS, Comparison, Difference, check_metrics
from saesweep.files import to_json
from saesweep.tables import number

DEFAULT_METRICS = ("mmcs",)
"""The metrics that tables show cell by cell, where none are asked for."""
LONGEST_HEAD = 20
"""Where a label is longer, the columns of tables are headed with numbers."""
WRITTEN_OUT = 4
"""A list of at most so many values is shown whole."""
MOST_TOLD = 3
"""Keys of the config that a title tells."""
UNTOLD = ("name", "grid", "jobs")
"""Keys, and sections, that say nothing of what was trained, or that a figure shows anyway."""


def rendered(
    comparison: Comparison, form: str, metrics: Sequence[str] = ()
) -> str | RenderableType:
    """``comparison`` in one of `tables.FORMATS`, with ``metrics`` cell by cell.

    Without ``metrics``, csv and json have all of them, table and md the `DEFAULT_METRICS`.
    """
    chosen = check_metrics(metrics)
    if form == "json":
        return _json(comparison, chosen or list(METRICS))
    if form == "csv":
        return _csv(comparison, chosen or list(METRICS))
    blocks = list(_blocks(comparison, chosen or list(DEFAULT_METRICS)))
    if form == "md":
        return "\n\n".join(_markdown(block) for block in blocks)
    parts = [part for block in blocks for part in (Text(), _for_terminal(block))]
    return Group(*parts[1:])


def titles(comparison: Comparison) -> list[str]:
    """For each run what it is called in a figure: its label, and what its config has of its own.

    As ``run1: correlation: none`` beside ``run2: correlation: batch``. A long label is cut; where
    two would then be the same, all begin with a number, as ``#1``.
    """
    rows = [row for row in comparison.config if row.key.partition(".")[0] not in UNTOLD]
    short = [_short(row.values, "-") for row in rows[:MOST_TOLD]]
    names = [row.key.rpartition(".")[2] for row in rows[:MOST_TOLD]]
    made = []
    for i, called in enumerate(_cut(comparison.labels)):
        words = [f"{name}: {values[i]}" for name, values in zip(names, short, strict=True)]
        words += ["…"] * (len(rows) > MOST_TOLD)
        made.append(": ".join(filter(None, (called, ", ".join(words)))))
    return made


def _cut(labels: Sequence[str]) -> list[str]:
    cut = [one if len(one) <= LONGEST_HEAD else f"…{one[1 - LONGEST_HEAD :]}" for one in labels]
    if len(set(cut)) == len(cut):
        return cut
    return [f"#{i} {one}" for i, one in enumerate(cut, start=1)]


# What is compared


def _json(comparison: Comparison, metrics: Sequence[str]) -> str:
    cells = [
        {
            "cell": cell.cell,
            "states": cell.states,
            "metrics": {metric: cell.metrics[metric] for metric in metrics},
        }
        for cell in comparison.cells
    ]
    return to_json(
        {
            "runs": comparison.runs,
            "config": [vars(row) for row in comparison.config],
            "provenance": [vars(row) for row in comparison.provenance],
            "summary": [vars(row) for row in comparison.summary],
            "cells": cells,
        }
    )


def _csv(comparison: Comparison, metrics: Sequence[str]) -> str:
    """The long form. Kind ``state`` has the cells that are not done in all runs."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *comparison.labels])
    for kind, rows, missing in _kinds(comparison):
        for row in rows:
            writer.writerow([kind, "", row.key, *(_plain(v, missing) for v in row.values)])
    for cell in comparison.cells:
        if not cell.all_done:
            writer.writerow(["state", cell.cell, "state", *(s or "" for s in cell.states)])
    for cell in comparison.cells:
        for metric in metrics:
            pairs = zip(cell.metrics[metric], cell.states, strict=True)
            values = ["" if state is None else value for value, state in pairs]
            writer.writerow(["metric", cell.cell, metric, *values])
    return file.getvalue().rstrip("\n")


def _kinds(comparison: Comparison) -> list[tuple[str, list[Difference], str]]:
    """Kinds of differences outside cells, and what stands where a value is missing."""
    return [("config", comparison.config, ""), ("provenance", comparison.provenance, "?")]


def _plain(value: Any, missing: str) -> str:
    if value is None:
        return missing
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# For readers


@dataclass(frozen=True)
class _Lines:
    """A table."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: range = range(0)
    """The columns of numbers, which stand on the right."""


_Block = _Lines | str
"""A table, or a sentence."""


def _blocks(comparison: Comparison, metrics: Sequence[str]) -> Iterator[_Block]:
    heads = _heads(comparison)
    runs = [
        [head, _in_words(run["states"]), run["path"]]
        for head, run in zip(heads, comparison.runs, strict=True)
    ]
    yield _Lines(["run", "cells", "path"], runs)
    if not comparison.differs:
        yield "nothing differs in config, provenance or metrics"
        return
    for kind, rows, missing in _kinds(comparison):
        if rows:
            shown = [[row.key, *_short(row.values, missing or "-")] for row in rows]
            yield _Lines([kind, *heads], shown)
        else:
            yield f"{kind}: the same in all runs"
    yield from _metric_blocks(comparison, metrics)
    undone = [
        [cell.cell, *(state or "-" for state in cell.states)]
        for cell in comparison.cells
        if not cell.all_done
    ]
    if undone:
        yield _Lines(["not done in all", *heads], undone)


def _heads(comparison: Comparison) -> list[str]:
    """What heads the columns of the runs: their labels, or numbers where one is long."""
    labels = comparison.labels
    if max(map(len, labels)) <= LONGEST_HEAD:
        return labels
    return [f"#{i}" for i in range(1, 1 + len(labels))]


def _in_words(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _metric_blocks(comparison: Comparison, metrics: Sequence[str]) -> Iterator[_Block]:
    if not comparison.shared:
        yield "metrics: no cell is done in all runs"
        return
    count = len(comparison.shared)
    done = f"{count} cell{'s' * (count != 1)} done in all runs"
    if not any(summary.differs for summary in comparison.summary):
        yield f"metrics: the same in the {done}"
        return
    yield f"metrics: means over the {done}{_left_out(comparison)}"
    heads = _heads(comparison)
    for other in range(1, len(heads)):
        largest = _largest(comparison, other)
        if largest.rows or any(row.undefined for row in comparison.summary):
            yield _means(comparison, other)
        else:
            yield f"the metrics of {heads[other]} are those of {heads[0]}"
        if largest.rows:
            yield largest
    by_metric = {summary.metric: summary for summary in comparison.summary}
    for metric in metrics:
        if by_metric[metric].differs:
            yield _cell_by_cell(comparison, metric)
        else:
            yield f"{metric}: the same in the {done}"


def _left_out(comparison: Comparison) -> str:
    """Which means are over fewer cells, as the metric is not defined in the others."""
    fewer: dict[str, list[str]] = {}
    for row in comparison.summary:
        if row.cells < len(comparison.shared):
            mixed = f", in {row.undefined} only in some runs" if row.undefined else ""
            how = f"; over {row.cells} of them (n/a elsewhere{mixed}): "
            fewer.setdefault(how, []).append(row.metric)
    return "".join(f"{how}{', '.join(metrics)}" for how, metrics in fewer.items())


def _means(comparison: Comparison, other: int) -> _Lines:
    """The mean of each metric in the first run and in another one."""
    heads = _heads(comparison)
    rows = [
        [
            row.metric,
            number(row.mean[0]),
            number(row.mean[other]),
            _signed(row.mean_difference[other]),
        ]
        for row in comparison.summary
    ]
    return _Lines(["metric", heads[0], heads[other], "change"], rows, range(1, 4))


def _largest(comparison: Comparison, other: int) -> _Lines:
    """Where each metric that differs does so most. A table of its own, as names are long."""
    rows = [
        [row.metric, _signed(row.largest_difference[other]), cell]
        for row in comparison.summary
        if (cell := row.largest_in[other]) is not None
    ]
    return _Lines(["metric", "largest change", "in cell"], rows, range(1, 2))


def _cell_by_cell(comparison: Comparison, metric: str) -> _Lines:
    """A metric in each cell that is done in all runs; of two runs also the difference."""
    heads = [metric, *_heads(comparison)]
    rows = []
    for cell in comparison.shared:
        values = cell.metrics[metric]
        rows.append([cell.cell, *map(number, values)])
        if len(values) == 2:
            both_unknown = all(map(math.isnan, values))
            rows[-1].append("0" if both_unknown else _signed(values[1] - values[0]))
    if len(comparison.runs) == 2:
        heads.append("change")
    return _Lines(heads, rows, range(1, len(heads)))


def _signed(value: float) -> str:
    """A difference in three digits.

    >>> _signed(0.25), _signed(-3.0), _signed(0.0), _signed(float("nan"))
    ('+0.25', '-3', '0', 'n/a')
    """
    if math.isnan(value) or value == 0:
        return number(value)
    return f"{value:+.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:+.3g}"


def _short(values: Sequence[Any], missing: str) -> list[str]:
    """The values of a key in as few words as show that they differ.

    >>> _short([[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 5, 6], None], "-")
    ['1, …, 4, …, 6 (6 values)', '1, …, 9, …, 6 (6 values)', '-']
    """
    lists = [value for value in values if isinstance(value, list)]
    shown = {_first_difference(lists[0], other) for other in lists[1:]} - {None}
    return [
        _short_list(value, shown, missing)
        if isinstance(value, list)
        else _short_commit(_printable(_plain(value, missing)))
        for value in values
    ]


def _first_difference(one: Sequence[Any], other: Sequence[Any]) -> int | None:
    pairs = enumerate(zip_longest(one, other))
    return next((i for i, (a, b) in pairs if a != b), None)


def _short_list(values: Sequence[Any], shown: set[int | None], missing: str) -> str:
    """The first value, those at ``shown``, and the last."""
    words = [_short_commit(_printable(_plain(value, missing))) for value in values]
    if len(words) <= WRITTEN_OUT:
        return ", ".join(words)
    kept: list[str] = []
    for i, word in enumerate(words):
        if i in shown or i in (0, len(words) - 1):
            kept.append(word)
        elif kept[-1] != "…":
            kept.append("…")
    return f"{', '.join(kept)} ({len(words)} values)"


def _short_commit(text: str) -> str:
    return text[:12] if re.fullmatch("[0-9a-f]{40}", text) else text


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)  # what would upset a terminal


def _markdown(block: _Block) -> str:
    if isinstance(block, str):
        return _printable(block)
    rule = ["---:" if i in block.numbers else "---" for i in range(len(block.heads))]
    head, *rows = (
        [_printable(text).replace("|", r"\|") for text in row] for row in (block.heads, *block.rows)
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _for_terminal(block: _Block) -> RenderableType:
    if isinstance(block, str):
        return Text(_printable(block))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(block.heads):
        justify: Any = "right" if i in block.numbers else "left"
        table.add_column(_Name(_printable(head)), justify=justify)
    for row in block.rows:
        table.add_row(*(_Name(_printable(text)) for text in row))
    return table


class _Name:
    """A text that, where it is too long for its column, breaks after ``_``, ``/`` or a space."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = re.split(r"(?<=[_/ ])", text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(cell_len, self.parts)), cell_len(self.text))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        lines = [""]
        for part in self.parts:
            if lines[-1] and cell_len(f"{lines[-1]}{part.rstrip()}") > options.max_width:
                lines.append("")
            lines[-1] += part
        yield Text("\n".join(line.rstrip() for line in lines), overflow="fold")
