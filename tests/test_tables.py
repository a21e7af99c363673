"""Results as text."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from rich.console import Console

from saesweep.catalogue import METRICS
from saesweep.run_folder import Run
from saesweep.tables import left_out, number, results, results_table, status_rows


def row(cell: str, state: str = "done", **values: float) -> dict[str, Any]:
    return {"cell": cell, "state": state, **dict.fromkeys(METRICS, math.nan), **values}


def printed(rows: list[dict[str, Any]], most: int | None = None) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=80)
    console.print(results_table(rows, most))
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_the_star_follows_the_direction_of_each_metric() -> None:
    lines = printed([row("a", mmcs=0.5, fvu=0.1, l0=3), row("b", mmcs=0.9, fvu=0.2, l0=4)])
    assert lines[0] == ["cell", "recon", "mmcs", "larger", "dead", "l0", "fvu"]
    assert lines[1] == ["a", "n/a", "0.5", "n/a", "n/a", "3", "0.1*"]
    assert lines[2] == ["b", "n/a", "0.9*", "n/a", "n/a", "4", "0.2"]


def test_long_names_leave_the_numbers_whole() -> None:
    name = "variant=jumprelu_l0_coefficient=0.001_dict=1024_train.lr=0.001"
    values = {"recon_loss": 1.234e-5, "mmcs": 0.9876, "mmcs_larger": 0.9876, "fvu": 0.01234}
    lines = printed([row(name, dead_neurons=37, l0=11.25, **values), row("b")])
    assert lines[1][1:] == ["1.234e-05", "0.9876", "0.9876", "37", "11.25", "0.01234"]
    folded = [line[0] for line in lines[1:-1]]
    assert "".join(folded) == name


def test_equal_values_have_no_best() -> None:
    assert all(
        "*" not in word for line in printed([row("a", mmcs=1), row("b", mmcs=1)]) for word in line
    )


def test_of_many_the_best_are_shown_and_failed_ones_last() -> None:
    rows = [row("bad", "failed"), row("low", mmcs=0.1), row("high", mmcs=0.8)]
    assert [line[0] for line in printed(rows, most=2)[1:]] == ["high", "low"]
    assert printed(rows)[1] == ["bad", "failed"]


def test_every_format_has_every_metric(finished: Run) -> None:
    rows = finished.metrics()
    as_json = json.loads(str(results(rows, "json")))
    as_csv = list(csv.DictReader(io.StringIO(str(results(rows, "csv")))))
    for i, expected in enumerate(rows):
        assert set(METRICS) <= set(as_json[i]) == set(as_csv[i])
        for key in METRICS:
            nan = math.isnan(expected[key])
            assert as_json[i][key] is None if nan else as_json[i][key] == expected[key]
            assert as_csv[i][key] == "nan" if nan else float(as_csv[i][key]) == expected[key]
    lines = str(results(rows, "md")).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(rows)


def test_status_of_a_finished_run(finished: Run) -> None:
    rows = status_rows(finished)
    assert [(r["state"], r["epoch"], r["epochs"]) for r in rows] == [("done", 20, 20)] * 4
    assert rows[0]["mmcs"] == pytest.approx(finished.metrics()[0]["mmcs"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-9, "1e-09"), (123456.0, "123456"), (-0.5, "-0.5"), ("sum", "sum"), (2.5e7, "2.5e+07")],
)
def test_numbers_are_short(value: float | str, text: str) -> None:
    assert number(value) == text


def test_with_seeds_a_line_is_of_means() -> None:
    rows = [
        row(f"l1={l1}_dict=1024_seed={seed}", seed=seed, mmcs=l1 + seed / 10, fvu=0.5 * l1)
        for l1 in (0.1, 0.5)
        for seed in (0, 1, 2)
    ]
    rows[-1] = row("l1=0.5_dict=1024_seed=2", "failed", seed=2)
    rows.append(row("l1=0.9_dict=1024_seed=0", "failed", seed=0))
    heads, *lines = printed(rows)
    assert heads == ["mean", "recon", "mmcs", "±", "larger", "dead", "l0", "fvu", "seeds"]
    assert lines[0] == ["l1=0.1_dict=1024", "n/a", "0.2", "0.1", *["n/a"] * 3, "0.05*", "3/3"]
    assert lines[1] == ["l1=0.5_dict=1024", "n/a", "0.55*", "0.071", *["n/a"] * 3, "0.25", "2/3"]
    assert lines[2] == ["l1=0.9_dict=1024", "failed"]
    assert [line[0] for line in printed(rows, most=1)[1:]] == ["l1=0.5_dict=1024"]
    assert left_out(rows, 1) == "… the 1 of 3 points of the grid with the highest mmcs"
    assert left_out(rows, 3) == ""
    assert left_out([row("a"), row("b")], 1) == "… the 1 of 2 cells with the highest mmcs"


def test_lines_of_means_fit_80_columns() -> None:
    values = {"recon_loss": 1.234e-5, "mmcs": 0.98765, "mmcs_larger": 0.98765, "fvu": 0.012345}
    rows = [
        row(f"l1=0.01778_dict=8192_seed={seed}", seed=seed, dead_neurons=37 + seed, l0=11.2, **{
            key: value * (1 + seed / 100) for key, value in values.items()
        })
        for seed in (0, 1)
    ]  # fmt: skip
    assert printed(rows)[1][0] == "l1=0.01778_dict=8192"
    assert len(printed(rows)[1]) == 9
