"""The study of classical methods as text: for a terminal, a spreadsheet, a program, or a README."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from saesweep.dictionaries.classical.methods import METHODS
from saesweep.files import Row, to_json

RECOVERY = ("mmcs", "mcc", "n_learned")
CODES = ("fvu", "l0", "f1")
"""The metrics of the two blocks of a table; both fit into 80 columns."""
ALL = (*RECOVERY, "uniqueness", *CODES)
"""The metrics of a table in Markdown."""
HEADS = {"n_learned": "learned"}
DECIMALS = {"n_learned": 1, "l0": 2}
"""Three where nothing is said."""
SPREAD = "± the sample standard deviation over seeds"


def rendered(rows: Sequence[Row], form: str) -> str | RenderableType:
    """``rows`` of `baseline_study.summary` in one of `tables.FORMATS`; csv and json have them all.

    In tables, metrics are mean ± spread.
    """
    if form == "json":
        return to_json(rows)
    if form == "csv":
        file = io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().rstrip("\n")
    if form == "md":
        lines = [_heads(ALL), ["---"] * 3 + ["---:"] * len(ALL)]
        lines += [_line(row, ALL) for row in rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    blocks: list[RenderableType] = [_table(rows, RECOVERY), Text()]
    if with_codes := [row for row in rows if not math.isnan(row["l0"])]:
        blocks += [_table(with_codes, CODES), Text()]
    return Group(*blocks, _seeds(rows))


def with_spread(mean: float, spread: float, decimals: int = 3) -> str:
    """A mean and its spread, with the same decimals.

    >>> with_spread(0.41234, 0.0023), with_spread(4.8, float("nan"), decimals=1)
    ('0.412 ± 0.002', '4.8')
    """
    if math.isnan(mean):
        return "n/a"
    text = f"{mean:.{decimals}f}"
    return text if math.isnan(spread) else f"{text} ± {spread:.{decimals}f}"


def _heads(keys: Sequence[str]) -> list[str]:
    return ["baseline", "atoms", "samples", *(HEADS.get(key, key) for key in keys)]


def _line(row: Row, keys: Sequence[str]) -> list[str]:
    samples = f"{row['samples']:,}" if row["samples"] else ""
    values = [with_spread(row[key], row[f"{key}_spread"], DECIMALS.get(key, 3)) for key in keys]
    return [METHODS[row["baseline"]].title, str(row["dict_size"]), samples, *values]


def _table(rows: Sequence[Row], keys: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, head in enumerate(_heads(keys)):
        table.add_column(head, no_wrap=True, justify="right" if index else "left")
    for row in rows:
        table.add_row(*_line(row, keys))
    return table


def _seeds(rows: Sequence[Row]) -> Text:
    """What the numbers are means of."""
    counts = sorted({row["fits"] for row in rows if row["baseline"] != "truth"})
    seeds = " to ".join(str(count) for count in dict.fromkeys([*counts[:1], *counts[-1:]]))
    plural = "seed" if counts == [1] else "seeds"
    return Text(f"mean over {seeds} {plural}, {SPREAD}" if counts else "")
