"""What differs between runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from saesweep.catalogue import METRICS
from saesweep.compare import Comparison, check_metrics, compare
from saesweep.compare_text import rendered, titles
from saesweep.config_file import dump_config, parse_config
from saesweep.errors import UsageError
from saesweep.files import to_json
from saesweep.run_folder import Run

CELLS = ["l1=0.01_dict=8", "l1=0.01_dict=16", "l1=0.1_dict=8", "l1=0.1_dict=16"]
OTHER = """
name: other
data: {activation_dim: 3, n_features: 4, mean_active: 1.5, correlation: batch}
grid: {l1: [0.1, 0.2], dict_ratio: [2, 4]}
train: {epochs: 20, batch_size: 128, lr: 3e-3}
snapshot_every: 5
eval: {n_samples: 1000}
"""
FORMS = ("table", "csv", "json", "md")

Altered = Callable[..., Run]


@pytest.fixture
def altered(finished: Run, tmp_path: Path) -> Altered:
    """Copies the finished run, with metrics and provenance of its own."""

    def make(
        name: str,
        metrics: dict[str, dict[str, float | None]] | None = None,
        provenance: dict[str, Any] | str | None = None,
    ) -> Run:
        path = tmp_path / name
        shutil.copytree(finished.path, path)
        for cell, values in (metrics or {}).items():
            result = path / "cells" / cell / "result.json"
            known = json.loads(result.read_text())
            known["metrics"] |= values
            del known["sha256"]  # of all that is above it
            digest = hashlib.sha256(to_json(known).encode()).hexdigest()
            result.write_text(to_json({**known, "sha256": digest}))
        if provenance is not None:
            text = provenance if isinstance(provenance, str) else json.dumps(provenance)
            (path / "provenance.json").write_text(text)
        return Run(path)

    return make


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with another config; two of its cells have the names of two of the small."""
    from saesweep.sweep import run_sweep

    out = tmp_path_factory.mktemp("other")
    return run_sweep(Run.create(parse_config(OTHER), out, "other")).run


def shown(comparison: Comparison, metrics: tuple[str, ...] = (), width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(rendered(comparison, "table", metrics))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def words(lines: list[str], first: str) -> list[str]:
    """The words of the one line that begins with ``first``."""
    [line] = [line for line in lines if line.split()[:1] == [first]]
    return line.split()


def by_metric(comparison: Comparison) -> dict[str, Any]:
    return {summary.metric: summary for summary in comparison.summary}


# Configs


def test_only_the_keys_that_differ_are_rows(finished: Run, other: Run) -> None:
    rows = {row.key: row.values for row in compare([finished, other]).config}
    assert rows == {
        "name": ["small", "other"],
        "data.mean_active": [1.0, 1.5],
        "grid.l1": [[0.01, 0.1], [0.1, 0.2]],
        "train.lr": [1e-3, 3e-3],
    }


def configured(tmp_path: Path, name: str, grid: str) -> Run:
    text = f"name: same\ndata: {{activation_dim: 3, n_features: 4, mean_active: 1}}\ngrid: {grid}"
    return Run.create(parse_config(text), tmp_path, name)


def test_an_axis_that_only_one_grid_has(tmp_path: Path) -> None:
    ratio = configured(tmp_path, "a", "{l1: [0.1], dict_ratio: [2], train.lr: [1e-3, 1e-2]}")
    size = configured(tmp_path, "b", "{l1: [0.1], dict_size: [8]}")
    comparison = compare([ratio, size])
    assert {row.key: row.values for row in comparison.config} == {
        "grid": [["l1", "dict_ratio", "train.lr"], ["l1", "dict_size"]],
        "grid.dict_ratio": [[2.0], None],
        "grid.train.lr": [[0.001, 0.01], None],
        "grid.dict_size": [None, [8]],
    }
    assert words(shown(comparison), "grid.dict_ratio") == ["grid.dict_ratio", "2.0", "-"]
    assert "config,,grid.dict_size,,[8]" in str(rendered(comparison, "csv")).splitlines()


def test_the_order_of_axes_is_a_difference_as_names_follow_it(tmp_path: Path) -> None:
    one = configured(tmp_path, "a", "{l1: [0.1], dict_size: [8]}")
    turned = configured(tmp_path, "b", "{dict_size: [8], l1: [0.1]}")
    comparison = compare([one, turned])
    assert [row.key for row in comparison.config] == ["grid"]
    assert [cell.states for cell in comparison.cells] == [["waiting", None], [None, "waiting"]]


def test_a_long_axis_is_shown_short_with_what_differs(tmp_path: Path) -> None:
    values = [i / 100 for i in range(1, 61)]
    one = configured(tmp_path, "a", f"{{l1: {values}, dict_size: [8]}}")
    values[40] = 0.415
    two = configured(tmp_path, "b", f"{{l1: {values}, dict_size: [8]}}")
    comparison = compare([one, two])
    [line] = [line for line in shown(comparison) if line.startswith("grid.l1")]
    texts = ["0.01, …, 0.41, …, 0.6 (60 values)", "0.01, …, 0.415, …, 0.6 (60 values)"]
    assert line.removeprefix("grid.l1").split("  ")[-2:] == texts
    exact = list(csv.DictReader(io.StringIO(str(rendered(comparison, "csv")))))
    [row] = [row for row in exact if row["key"] == "grid.l1"]
    assert json.loads(row["b"]) == values


# Provenance


def test_provenance_of_both_is_compared_and_resumed_ones_are_listed(altered: Altered) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    facts = {
        "saesweep": "1.0",
        "python": "3.12.1",
        "packages": {"torch": "2.7"},
        "device": {"kind": "cuda:0", "name": "H200", "threads": 8},
        "git": {"commit": commit, "dirty": True},
        "command": ["differs", "and is not compared"],
    }
    one = altered("one", provenance=facts)
    later = {**facts, "packages": {"torch": "2.8"}, "git": {"commit": commit, "dirty": False}}
    two = altered("two", provenance={**facts, "command": [], "resumed": [later]})
    comparison = compare([one, two])
    assert {row.key: row.values for row in comparison.provenance} == {
        "torch": ["2.7", ["2.7", "2.8"]],
        "git.dirty": [True, [True, False]],
    }
    assert words(shown(comparison), "git.dirty") == ["git.dirty", "true", "true,", "false"]
    three = altered("three", provenance={**facts, "git": {"commit": commit[::-1], "dirty": True}})
    comparison = compare([one, three])
    assert words(shown(comparison), "git.commit")[1:] == [commit[:12], commit[::-1][:12]]
    assert commit[::-1] in str(rendered(comparison, "csv"))


@pytest.mark.parametrize(
    "damage", ["", "{", "[1]", '{"device": "gpu", "git": 3, "packages": null, "resumed": {}}']
)
def test_what_a_damaged_provenance_does_not_tell_is_a_question_mark(
    altered: Altered, damage: str
) -> None:
    facts = {"saesweep": "1.0", "device": {"kind": "cpu", "name": "x86_64"}}
    comparison = compare([altered("good", provenance=facts), altered("bad", provenance=damage)])
    assert {row.key: row.values for row in comparison.provenance} == {
        "saesweep": ["1.0", None],
        "device.kind": ["cpu", None],
        "device.name": ["x86_64", None],
    }
    assert words(shown(comparison), "device.kind") == ["device.kind", "cpu", "?"]
    assert "provenance,,device.kind,cpu,?" in str(rendered(comparison, "csv"))
    assert json.loads(str(rendered(comparison, "json")))["provenance"][0]["values"] == ["1.0", None]


def test_a_missing_provenance_is_unknown_and_not_an_error(altered: Altered) -> None:
    run = altered("gone")
    (run.path / "provenance.json").unlink()
    comparison = compare([run, altered("there", provenance={"python": "3.12.1"})])
    assert [(row.key, row.values) for row in comparison.provenance] == [
        ("python", [None, "3.12.1"])
    ]
    assert not compare([run, run]).differs


# Metrics


def test_the_summary_is_over_the_cells_done_in_all(finished: Run, other: Run) -> None:
    comparison = compare([finished, other])
    names = ["l1=0.1_dict=8", "l1=0.1_dict=16"]
    assert [cell.cell for cell in comparison.shared] == names
    first, second = ({row["cell"]: row for row in run.metrics()} for run in (finished, other))
    for metric in ("mmcs", "recon_loss", "l0", "fvu"):
        a = np.array([first[name][metric] for name in names])
        b = np.array([second[name][metric] for name in names])
        found = by_metric(comparison)[metric]
        assert (found.cells, found.undefined) == (2, 0)
        assert found.mean == pytest.approx([a.mean(), b.mean()])
        assert found.mean_difference == pytest.approx([0, b.mean() - a.mean()])
        worst = int(np.abs(b - a).argmax())
        assert found.largest_difference == pytest.approx([0, (b - a)[worst]])
        assert found.largest_in == [None, names[worst]]
    assert [summary.metric for summary in comparison.summary] == list(METRICS)


def test_the_numbers_by_hand(altered: Altered) -> None:
    one = altered("one", {name: {"mmcs": 0.5, "l0": 2.0} for name in CELLS})
    two = altered(
        "two",
        {
            CELLS[0]: {"mmcs": 0.6, "l0": 2.0},
            CELLS[1]: {"mmcs": 0.1, "l0": 2.0},
            CELLS[2]: {"mmcs": 0.7, "l0": 2.0},
            CELLS[3]: {"mmcs": 0.5, "l0": 2.0},
        },
    )
    comparison = compare([one, two])
    found = by_metric(comparison)["mmcs"]
    assert found.mean == pytest.approx([0.5, 0.475])
    assert found.mean_difference == pytest.approx([0, -0.025])
    assert found.largest_difference == pytest.approx([0, -0.4])
    assert found.largest_in == [None, CELLS[1]]
    assert not by_metric(comparison)["l0"].differs
    lines = shown(comparison)
    assert ["mmcs", "0.5", "0.475", "-0.025"] in map(str.split, lines)
    assert ["l0", "2", "2", "0"] in map(str.split, lines)
    largest = lines.index(next(line for line in lines if "largest change" in line))
    assert lines[largest + 1].split() == ["mmcs", "-0.4", CELLS[1]]
    assert lines[largest + 2] == ""  # only metrics that differ
    start = lines.index(
        next(line for line in lines if line.split() == ["mmcs", "one", "two", "change"])
    )
    assert [line.split() for line in lines[start + 1 : start + 5]] == [
        [CELLS[0], "0.5", "0.6", "+0.1"],
        [CELLS[1], "0.5", "0.1", "-0.4"],
        [CELLS[2], "0.5", "0.7", "+0.2"],
        [CELLS[3], "0.5", "0.5", "0"],
    ]


def test_nan_in_both_is_equal_and_nan_in_one_is_left_out(altered: Altered) -> None:
    one = altered(
        "one",
        {
            CELLS[0]: {"mcc": None, "f1": None},
            CELLS[1]: {"mcc": None, "f1": None},
            CELLS[2]: {"mcc": 0.2, "f1": 0.5},
            CELLS[3]: {"mcc": 0.4, "f1": 0.5},
        },
    )
    two = altered(
        "two",
        {
            CELLS[0]: {"mcc": None, "f1": None},
            CELLS[1]: {"mcc": 0.9, "f1": None},
            CELLS[2]: {"mcc": 0.3, "f1": 0.5},
            CELLS[3]: {"mcc": 0.2, "f1": 0.5},
        },
    )
    comparison = compare([one, two])
    mcc, f1 = (by_metric(comparison)[metric] for metric in ("mcc", "f1"))
    assert (mcc.cells, mcc.undefined) == (2, 1)
    assert mcc.mean == pytest.approx([0.3, 0.25])
    assert mcc.largest_difference == pytest.approx([0, -0.2])
    assert mcc.largest_in == [None, CELLS[3]]
    assert (f1.cells, f1.undefined, f1.differs) == (2, 0, False)
    lines = shown(comparison, ("mcc", "f1"))
    cells = [line.split() for line in lines if line.startswith("l1=")]
    assert cells[:2] == [[CELLS[0], "n/a", "n/a", "0"], [CELLS[1], "n/a", "0.9", "n/a"]]
    assert "over 2 of them (n/a elsewhere, in 1 only in some runs): mcc" in " ".join(lines)
    assert "f1: the same in the 4 cells done in all runs" in lines


def test_a_metric_that_is_only_undefined_in_one_run_still_differs(altered: Altered) -> None:
    one = altered("one", {name: {"mcc": None} for name in CELLS})
    comparison = compare([one, altered("two", {name: {"mcc": 0.5} for name in CELLS})])
    mcc = by_metric(comparison)["mcc"]
    assert (mcc.cells, mcc.undefined, mcc.largest_in) == (0, 4, [None, None])
    assert all(math.isnan(value) for value in mcc.mean + mcc.mean_difference)
    assert mcc.differs
    assert comparison.differs
    lines = shown(comparison)
    assert ["mcc", "n/a", "n/a", "n/a"] in map(str.split, lines)
    assert not any(line.startswith(("nothing differs", "the metrics of")) for line in lines)


def test_cells_that_are_missing_or_not_done_are_listed(
    altered: Altered, finished: Run, other: Run
) -> None:
    broken = altered("broken")
    (broken.path / "cells" / CELLS[0] / "sae.safetensors").write_bytes(b"")
    (broken.path / "cells" / CELLS[2] / "result.json").unlink()
    (broken.path / "cells" / CELLS[2] / "error.txt").write_text("diverged")
    comparison = compare([finished, broken, other])
    assert {cell.cell: cell.states for cell in comparison.cells} == {
        CELLS[0]: ["done", "damaged", None],
        CELLS[1]: ["done", "done", None],
        CELLS[2]: ["done", "failed", "done"],
        CELLS[3]: ["done", "done", "done"],
        "l1=0.2_dict=8": [None, None, "done"],
        "l1=0.2_dict=16": [None, None, "done"],
    }
    assert comparison.runs[1]["states"] == {"damaged": 1, "done": 2, "failed": 1}
    assert by_metric(comparison)["mmcs"].cells == 1
    lines = shown(comparison)
    table = lines[lines.index(next(line for line in lines if line.startswith("not done"))) + 1 :]
    assert [line.split() for line in table] == [
        [CELLS[0], "done", "damaged", "-"],
        [CELLS[1], "done", "done", "-"],
        [CELLS[2], "done", "failed", "done"],
        ["l1=0.2_dict=8", "-", "-", "done"],
        ["l1=0.2_dict=16", "-", "-", "done"],
    ]


def test_runs_without_a_cell_in_common(tmp_path: Path) -> None:
    one = configured(tmp_path, "a", "{l1: [0.1], dict_size: [8]}")
    two = configured(tmp_path, "b", "{l1: [0.2], dict_size: [8]}")
    comparison = compare([one, two])
    assert all(summary.cells == 0 for summary in comparison.summary)
    assert "metrics: no cell is done in all runs" in shown(comparison)
    for form in FORMS:
        assert rendered(comparison, form)


# All together


def test_a_run_and_itself_do_not_differ(finished: Run) -> None:
    comparison = compare([finished, finished])
    assert not comparison.differs
    assert (comparison.config, comparison.provenance) == ([], [])
    assert shown(comparison)[-1] == "nothing differs in config, provenance or metrics"
    assert str(rendered(comparison, "md")).endswith(
        "nothing differs in config, provenance or metrics"
    )
    rows = list(csv.DictReader(io.StringIO(str(rendered(comparison, "csv")))))
    assert {row["kind"] for row in rows} == {"metric"}
    path = str(finished.path)
    assert all(row[path] == row[f"{path} (2)"] for row in rows)


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"metrics": {CELLS[3]: {"n_learned": 77}}}, "n_learned"),
        ({"provenance": {"saesweep": "0.0.0"}}, "saesweep"),
    ],
)
def test_one_difference_is_enough(finished: Run, altered: Altered, change: Any, about: str) -> None:
    run = altered("changed", **change)
    comparison = compare([finished, run])
    assert comparison.differs
    lines = "\n".join(shown(comparison))
    assert "nothing differs" not in lines
    assert "config: the same in all runs" in lines
    assert about in lines


def test_of_three_runs_each_is_compared_with_the_first(altered: Altered) -> None:
    runs = [
        altered(name, {cell: {"mmcs": value} for cell in CELLS})
        for name, value in (("a", 0.5), ("b", 0.25), ("c[red]", 0.5))
    ]
    comparison = compare(runs)
    found = by_metric(comparison)["mmcs"]
    assert found.mean == pytest.approx([0.5, 0.25, 0.5])
    assert found.mean_difference == pytest.approx([0, -0.25, 0])
    assert found.largest_in == [None, CELLS[0], None]
    lines = shown(comparison)
    assert ["metric", "a", "b", "change"] in map(str.split, lines)
    assert "the metrics of c[red] are those of a" in lines
    assert [CELLS[0], "0.5", "0.25", "0.5"] in map(str.split, lines)


@pytest.mark.parametrize("count", [0, 1])
def test_one_run_is_not_enough(finished: Run, count: int) -> None:
    with pytest.raises(UsageError, match="at least two runs"):
        compare([finished] * count)


def test_a_metric_that_there_is_not(finished: Run) -> None:
    comparison = compare([finished, finished])
    for form in FORMS:
        with pytest.raises(UsageError) as caught:
            rendered(comparison, form, ["mmcs", "mcms"])
        assert str(caught.value).startswith("no metric 'mcms': did you mean mmcs? allowed: ")
        assert all(metric in str(caught.value) for metric in METRICS)
    with pytest.raises(UsageError, match="no metric 'zzzz': allowed"):
        check_metrics(["zzzz"])


# Formats


def test_csv_is_the_long_form_of_everything(finished: Run, other: Run) -> None:
    comparison = compare([finished, other])
    rows = list(csv.DictReader(io.StringIO(str(rendered(comparison, "csv")))))
    assert list(rows[0]) == ["kind", "cell", "key", finished.name, "other"]
    lr = next(row for row in rows if row["key"] == "train.lr")
    assert list(lr.values()) == ["config", "", "train.lr", "0.001", "0.003"]
    expected = {row["cell"]: row for row in finished.metrics()}
    metric = {(row["cell"], row["key"]): row for row in rows if row["kind"] == "metric"}
    assert len(metric) == 6 * len(METRICS)
    for cell in CELLS:
        for key in METRICS:
            text, value = metric[cell, key][finished.name], expected[cell][key]
            assert text == "nan" if math.isnan(value) else float(text) == value
    assert metric[CELLS[0], "mmcs"]["other"] == ""
    states = [list(row.values())[1:] for row in rows if row["kind"] == "state"]
    assert states == [
        [CELLS[0], "state", "done", ""],
        [CELLS[1], "state", "done", ""],
        ["l1=0.2_dict=8", "state", "", "done"],
        ["l1=0.2_dict=16", "state", "", "done"],
    ]
    only = csv.DictReader(io.StringIO(str(rendered(comparison, "csv", ["l0"]))))
    assert {row["key"] for row in only if row["kind"] == "metric"} == {"l0"}


def test_json_has_everything(finished: Run, other: Run) -> None:
    comparison = compare([finished, other])
    data = json.loads(str(rendered(comparison, "json")))
    assert list(data) == ["runs", "config", "provenance", "summary", "cells"]
    assert data["runs"][1] == {"label": "other", "path": str(other.path), "states": {"done": 4}}
    assert {"key": "train.lr", "values": [0.001, 0.003]} in data["config"]
    assert [row["metric"] for row in data["summary"]] == list(METRICS)
    cell = data["cells"][0]
    assert (cell["cell"], cell["states"]) == (CELLS[0], ["done", None])
    assert cell["metrics"]["mmcs"] == [finished.metrics()[0]["mmcs"], None]
    assert list(cell["metrics"]) == list(METRICS)
    chosen = json.loads(str(rendered(comparison, "json", ["fvu"])))
    assert all(list(cell["metrics"]) == ["fvu"] for cell in chosen["cells"])


def test_markdown_is_tables_whatever_a_folder_is_called(altered: Altered) -> None:
    one, two = altered("a|b"), altered("c", {CELLS[0]: {"mmcs": 0.125}})
    text = str(rendered(compare([one, two]), "md"))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for lines in tables:
        assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
        assert set(lines[1]) <= set("|- :")
    assert len(tables[1]) == 2 + len(METRICS)
    assert any(line.startswith(rf"| {CELLS[0]} | ") and "| 0.125 | " in line for line in tables[3])


def test_folders_of_one_name_are_told_apart_by_their_paths(altered: Altered) -> None:
    (one, two) = (altered("x/same"), altered("y/same"))
    kind = altered("kind")
    labels = compare([one, two, kind]).labels
    assert labels == [str(one.path), str(two.path), str(kind.path)]
    assert len(set(compare([one, one, one]).labels)) == 3


def test_a_long_label_does_not_push_the_numbers_out(altered: Altered) -> None:
    long = "a-run-with-a-name-that-is-longer-than-all-of-the-numbers"
    comparison = compare([altered("one"), altered(long, {CELLS[0]: {"mmcs": 0.125}})])
    lines = shown(comparison, width=100)
    assert ["metric", "#1", "#2", "change"] in map(str.split, lines)
    assert long in "".join("".join(lines).split())


def test_a_table_fits_80_columns_and_loses_nothing(tmp_path: Path) -> None:
    name = "l1=0.01234_dict=1024_seed=1234"
    rng = np.random.default_rng(0)

    def run(label: str) -> Any:
        values = dict(zip(METRICS, rng.uniform(0, 1, len(METRICS)).tolist(), strict=True))
        config = configured(tmp_path, label, "{l1: [0.1], dict_size: [8]}").config
        row = {"cell": name, "state": "done", **values}
        return SimpleNamespace(
            name=label, path=tmp_path / label, config=config, metrics=lambda: [row]
        )

    comparison = compare([run("baseline_1"), run("baseline_2")])
    lines = shown(comparison, tuple(METRICS))
    assert max(map(len, lines)) <= 80
    assert "…" not in "\n".join(lines)
    for found in comparison.summary:
        change = found.largest_difference[1]
        rows = [line.split() for line in lines if line.split()[:1] == [found.metric]]
        means, largest = rows[0], rows[1]
        assert [float(word) for word in means[1:3]] == pytest.approx(found.mean, rel=1e-3)
        assert float(means[3]) == float(largest[1]) == pytest.approx(change, rel=5e-3)
        assert largest[2:] == [name]
    cells = [line.split() for line in lines if line.startswith(name)]
    assert [float(words[3]) for words in cells] == pytest.approx(
        [found.mean_difference[1] for found in comparison.summary], rel=5e-3
    )


def test_a_name_that_does_not_fit_is_broken_where_its_parts_end(altered: Altered) -> None:
    comparison = compare([altered("one"), altered("two", {CELLS[1]: {"mmcs": 0.125}})])
    lines = shown(comparison, width=36)
    start = [i for i, line in enumerate(lines) if line.startswith("mmcs")][-1]
    assert [line.split()[0] for line in lines[start + 3 : start + 5]] == ["l1=0.01_", "dict=16"]
    assert lines[start + 3].split()[2] == "0.125"


def test_nothing_that_upsets_a_terminal_is_printed(altered: Altered) -> None:
    one = altered("one", provenance={"device": {"name": "\x1b[31mred [bold]x"}})
    comparison = compare([one, altered("two", provenance={})])
    text = "\n".join(shown(comparison))
    assert "\x1b" not in text
    assert "[bold]x" in text
    assert "\x1b" not in str(rendered(comparison, "md"))


def _calls(work: Callable[[], object]) -> int:
    """How many Python functions it calls: its cost, on a machine of any speed and load."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def _wide(finished: Run, cells: int) -> list[Any]:
    """Two runs of so many cells, 0.125 apart in MMCS."""
    row = finished.metrics()[0]

    def run(label: str, shift: float) -> Any:
        rows = [
            {**row, "cell": f"l1={i}_dict=1024_seed=0", "mmcs": shift + i / 2000}
            for i in range(cells)
        ]
        return SimpleNamespace(
            name=label, path=Path(label), config=finished.config, metrics=lambda: rows
        )

    return [run("one", 0.0), run("two", 0.125)]


def test_two_thousand_cells_are_all_there(finished: Run) -> None:
    comparison = compare(_wide(finished, 2000))
    assert len(shown(comparison)) > 2000
    for form in ("csv", "md", "json"):
        assert str(rendered(comparison, form)).count("_seed=0") >= 2000
    assert by_metric(comparison)["mmcs"].mean_difference == pytest.approx([0, 0.125])


@pytest.mark.parametrize("form", FORMS)
def test_the_work_grows_with_the_cells_and_no_faster(finished: Run, form: str) -> None:
    def work(cells: int) -> Callable[[], object]:
        runs = _wide(finished, cells)
        if form == "table":
            return lambda: shown(compare(runs))
        return lambda: rendered(compare(runs), form)

    work(8)()  # imports, and what is made once
    assert _calls(work(400)) < 2.2 * _calls(work(200))


def test_neither_torch_nor_matplotlib_is_needed(finished: Run) -> None:
    code = (
        "import sys; from saesweep.run_folder import Run; from saesweep.compare import *; "
        "from saesweep.compare_text import *; "
        f"run = Run({str(finished.path)!r}); rendered(compare([run, run]), 'json'); "
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_is_written(finished: Run, other: Run) -> None:
    def files() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns
            for run in (finished, other)
            for path in run.path.rglob("*")
        }

    before = files()
    for form in FORMS:
        rendered(compare([finished, other]), form)
    assert files() == before


def test_an_equal_config_of_another_spelling_is_the_same(tmp_path: Path) -> None:
    spelled = configured(tmp_path, "a", "{l1: {logspace: [0.01, 1, 3]}, dict_size: [8]}")
    listed = configured(tmp_path, "b", "{l1: [0.01, 0.1, 1], dict_size: 8}")
    assert dump_config(spelled.config) == dump_config(listed.config)
    assert compare([spelled, listed]).config == []


# Figures


def test_a_title_says_what_a_run_has_of_its_own(
    finished: Run, other: Run, altered: Altered
) -> None:
    first, second = titles(compare([finished, other]))
    assert first == f"{finished.name}: mean_active: 1.0, lr: 0.001"  # neither name nor grid
    assert second == "other: mean_active: 1.5, lr: 0.003"
    assert titles(compare([altered("one"), altered("two")])) == ["one", "two"]
    long, _ = titles(compare([altered("x/" + 30 * "long"), altered("y")]))
    assert long == "…" + (30 * "long")[-19:]


@pytest.mark.parametrize("long", ["/experiments/toy/run1", "run1"])
def test_titles_are_told_apart_whatever_is_cut_off(altered: Altered, long: str) -> None:
    ends = [f"{'x' * 20}/{name}/{long}" for name in ("alice", "bobby")]
    found = titles(compare([altered(end) for end in ends]))
    if long == "run1":
        assert found == [f"…{end[-19:]}" for end in ends]
    else:
        assert found == [f"#{i} …{long[-19:]}" for i in (1, 2)]


def test_the_title_of_runs_that_differ_in_much_is_cut_short(finished: Run, tmp_path: Path) -> None:
    one = configured(tmp_path, "one", "{l1: [0.1], dict_size: [8]}")
    first, second = titles(compare([one, finished]))
    assert first.endswith(", …")
    assert first.count(": ") == second.count(": ") == 4


def test_the_runs_are_drawn_side_by_side(
    finished: Run, other: Run, tmp_path: Path, saesweep: Callable[..., Any]
) -> None:
    words = ["compare", finished.path, other.path, "--figures", tmp_path / "drawn"]
    done = saesweep(*words, "--metric", "fvu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{tmp_path / 'drawn'}: 1 file\n")
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["fvu.png"]
    done = saesweep(*words, "--metric", "mmcs", "--format", "json")
    assert json.loads(done.stdout)["runs"]  # nothing but JSON
    assert len(list((tmp_path / "drawn").iterdir())) == 2
