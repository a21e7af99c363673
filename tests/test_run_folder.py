"""The run folder: claimed by one, locked by one, and readable whatever happened to it."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import files
from saesweep.catalogue import METRICS
from saesweep.config import SweepConfig
from saesweep.config_file import load_config, parse_config
from saesweep.errors import RunError, SaesweepError, StorageError, UsageError
from saesweep.locks import this_process
from saesweep.run_folder import Run

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=60)
CONFIG = parse_config(
    "data: {activation_dim: 3, n_features: 4, mean_active: 1}\n"
    "grid: {l1: [0.01, 0.1], dict_ratio: [2, 4], seed: [7, 8]}"
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(CONFIG, tmp_path)


def finish(run: Run, name: str, **metrics: float) -> None:
    """Makes a cell done, without training."""
    folder = run.folder(name)
    folder.begin("training")
    folder.write_history([{"epoch": 0, "mmcs": 0.5}])
    size = folder.cell.dict_size
    sae = {"W_enc": (3, size), "b_enc": (size,), "W_dec": (size, 3), "b_dec": (3,)}
    folder.finish(
        {key: torch.rand(shape) for key, shape in sae.items()},
        {"epoch": torch.tensor([0])},
        {"mmcs": 0.5, **metrics},
    )


# Making and opening


def test_a_new_run_has_its_config_and_takes_the_first_free_name(tmp_path: Path) -> None:
    out = tmp_path / "new" / "outputs"
    made = [Run.create(CONFIG, out) for _ in range(3)]
    assert [run.name for run in made] == ["run1", "run2", "run3"]
    assert [path.name for path in made[0].path.iterdir()] == ["config.yaml"]
    assert load_config(made[0].path / "config.yaml") == CONFIG
    (out / "run2" / "config.yaml").unlink()
    (out / "run2").rmdir()
    (out / "run4").write_text("a file")
    assert [Run.create(CONFIG, out).name for _ in range(2)] == ["run2", "run5"]


def test_a_run_is_opened_as_it_was_made(run: Run) -> None:
    again = Run(str(run.path))
    assert again.config == CONFIG
    assert again.cells == run.cells
    assert again.name == run.name == "run1"


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    path = Run.create(CONFIG, tmp_path, "mine").path
    before = (path / "config.yaml").read_bytes()
    with pytest.raises(RunError) as caught:
        Run.create(CONFIG, tmp_path, "mine")
    assert str(caught.value) == (
        f"{path}: exists already; choose another --name, "
        f"or continue it with `saesweep resume {path}`"
    )
    assert caught.value.exit_code == 2
    assert (path / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/tmp/x", "a/b", ".hidden", "-x", "a b", "a\n", "é", "a" * 101]
)
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    out = tmp_path / "outputs"
    with pytest.raises(UsageError) as caught:
        Run.create(CONFIG, out, name)
    assert str(caught.value).startswith(f"--name {name}: should be up to 100 letters, digits,")
    assert list(tmp_path.iterdir()) == []


def test_runs_are_kept_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="file: runs are kept in a folder, and this is none"):
        Run.create(CONFIG, tmp_path / "file")
    with pytest.raises(StorageError, match="below: cannot be made: Not a directory"):
        Run.create(CONFIG, tmp_path / "file" / "below")


def test_a_full_disk_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot be written: No space left on device"):
        Run.create(CONFIG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_start_at_once_get_runs_of_their_own(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from saesweep.config_file import parse_config\n"
        "from saesweep.run_folder import Run\n"
        "config = parse_config(sys.argv[2])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for _ in range(5): print(Run.create(config, sys.argv[1]).name)\n"
    )
    text = "data: {activation_dim: 3, n_features: 4, mean_active: 1}\ngrid: {l1: 1, dict_size: 2}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert sorted(names) == sorted(f"run{i}" for i in range(1, 21))


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gone: there is no such run"):
        Run(tmp_path / "gone")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="file: there is no such run"):
        Run(tmp_path / "file")
    with pytest.raises(RunError, match=r"stopped before it began: it has no config\.yaml"):
        Run(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "config.yaml: the config: given nothing: should be a mapping"),
        (b"\xff\xfe", "config.yaml: not text in UTF-8"),
        (b"name: [", "config.yaml:1:8: not YAML"),
        (b"name: a\nsede: 1\n", "config.yaml:2:1: unknown key sede"),
    ],
)
def test_a_damaged_config_is_said_with_its_place(content: bytes, words: str, run: Run) -> None:
    (run.path / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match=re.escape(words)) as caught:
        Run(run.path)
    assert f"\n{run.path}: its config was damaged or edited, or" in str(caught.value)


def test_a_config_that_is_a_folder_is_said(run: Run) -> None:
    (run.path / "config.yaml").unlink()
    (run.path / "config.yaml").mkdir()
    with pytest.raises(RunError, match=r"config\.yaml: cannot be read: not a regular file"):
        Run(run.path)


# Cells


def test_cells_are_found_by_name(run: Run) -> None:
    cell = run.cells[3]
    assert run.cell(cell.name) is cell
    assert run.folder(cell.name).path == run.path / "cells" / cell.name
    assert run.folder(cell).cell is cell


def test_an_unknown_cell_is_answered_with_those_there_are(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        run.cell("l1=0.1_dict=8_seed=9")
    assert "no cell 'l1=0.1_dict=8_seed=9'; did you mean l1=0.1_dict=8_seed=8?" in str(caught.value)
    with pytest.raises(RunError) as caught:
        run.folder("x")
    assert str(caught.value).endswith(
        "no cell 'x'; its cells are l1=0.01_dict=8_seed=7, l1=0.01_dict=8_seed=8, "
        "l1=0.01_dict=16_seed=7, l1=0.01_dict=16_seed=8, …"
    )
    one = CONFIG.model_copy(update={"grid": {"l1": [0.5], "dict_size": [2]}})
    with pytest.raises(RunError, match=r"its cells are l1=0\.5_dict=2$"):
        Run.create(one, tmp_path).cell("../../etc")


def test_patterns_choose_cells_in_grid_order(run: Run) -> None:
    names = [cell.name for cell in run.matching(["*_seed=8", "l1=0.01_dict=8_seed=7"])]
    assert names == [
        "l1=0.01_dict=8_seed=7",
        "l1=0.01_dict=8_seed=8",
        "l1=0.01_dict=16_seed=8",
        "l1=0.1_dict=8_seed=8",
        "l1=0.1_dict=16_seed=8",
    ]
    assert run.matching([]) == []
    with pytest.raises(RunError, match=r"no cell 'l1=9\*'"):
        run.matching(["*", "l1=9*"])


# Tables


def test_a_run_with_nothing_done_has_a_row_for_every_cell(run: Run) -> None:
    rows = run.metrics()
    assert [row["cell"] for row in rows] == [cell.name for cell in run.cells]
    assert {row["state"] for row in rows} == {"waiting"}
    assert all(math.isnan(row[key]) for row in rows for key in METRICS)
    assert list(rows[0])[:7] == [
        *("cell", "l1_penalty", "dict_size", "dict_ratio", "seed", "loss", "state")
    ]
    assert (rows[1]["l1_penalty"], rows[1]["dict_size"], rows[1]["seed"]) == (0.01, 8, 8)
    assert rows[1]["dict_ratio"] == 2.0
    assert run.baselines() == []
    assert run.events() == []


def test_metrics_are_those_of_cells_that_are_done_and_whole(run: Run) -> None:
    first, second, third, fourth, *_ = [cell.name for cell in run.cells]
    for name in (first, second):
        finish(run, name, mcc=0.25, l0=math.nan)
    (run.folder(second).path / "sae.safetensors").write_bytes(b"damage")
    run.folder(third).fail("diverged")
    run.folder(fourth).begin("training")
    rows = {row["cell"]: row for row in run.metrics()}
    states = ["done", "damaged", "failed", "interrupted"]
    assert [rows[name]["state"] for name in (first, second, third, fourth)] == states
    assert (rows[first]["mmcs"], rows[first]["mcc"]) == (0.5, 0.25)
    for name in (second, third, fourth):
        assert all(math.isnan(rows[name][key]) for key in METRICS)
    assert all(type(value) is float for value in (rows[first][key] for key in METRICS))


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ("cell,mmcs_larger,mmcs_next_larger\n{name},0.5,0.25\n", 0.5),
        ("cell,mmcs_larger,mmcs_next_larger\n{name},nan,0.25\n", math.nan),
        ("cell,mmcs_larger,mmcs_next_larger\n{name},high,0.25\n", math.nan),
        ("cell,mmcs_larger,mmcs_next_larger\n{name},0.5\n", math.nan),
        ("cell,mmcs_larger\n{name},0.5\n", math.nan),
        ("", math.nan),
        ("\0\xff", math.nan),
    ],
)
def test_a_damaged_table_is_not_believed(table: str, value: float, run: Run) -> None:
    name = run.cells[0].name
    finish(run, name)
    run.metrics_dir.mkdir()
    (run.metrics_dir / "metrics.csv").write_text(table.format(name=name), encoding="latin-1")
    found = run.metrics()[0]["mmcs_larger"]
    assert found == value or (math.isnan(found) and math.isnan(value))
    assert run.metrics()[0]["mmcs"] == 0.5


def test_the_autoencoder_of_a_cell_is_read(run: Run) -> None:
    name = run.cells[0].name
    with pytest.raises(RunError, match=r"sae\.safetensors: cannot be read: No such file"):
        run.sae(name)
    finish(run, name)
    sae = run.sae(name)
    assert sae.W_dec.shape == (8, 3)
    assert sae.decode(sae.encode(torch.zeros(5, 3))).shape == (5, 3)
    files.write_tensors(run.folder(name).path / "sae.safetensors", {"other": torch.zeros(1)})
    with pytest.raises(RunError, match=r"sae\.safetensors: damaged: not the weights"):
        run.sae(name)


def test_the_truth_is_read(run: Run) -> None:
    path = run.path / "data" / "ground_truth.safetensors"
    for read in (run.ground_truth, run.features):
        with pytest.raises(RunError, match="cannot be read: No such file"):
            read()
    files.write_tensors(path, {"features": torch.eye(3)})
    np.testing.assert_array_equal(run.features().numpy(), np.eye(3))
    files.write_tensors(path, {"other": torch.eye(3)})
    with pytest.raises(RunError, match="its ground truth is damaged: it has no features"):
        run.features()


# Events


def test_events_are_read_in_order(run: Run) -> None:
    run.record("start", **this_process())
    run.record("cell_failed", cell="a", reason="two\nlines\u2028 and é")
    first, second = run.events()
    assert (first["event"], first["pid"]) == ("start", os.getpid())
    assert second["reason"] == "two\nlines\u2028 and é"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", first["time"])
    assert len((run.path / "events.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "garbage", [b'{"event": "sta', b"\xff\xfe\0", b"[1, 2]", b"[" * 100_000, b"null", b"", b"\r"]
)
def test_damaged_lines_are_left_out_and_no_other(garbage: bytes, run: Run) -> None:
    path = run.path / "events.jsonl"
    path.write_bytes(b'{"event": "one"}\n' + garbage + b'\n{"event": "two"}\n')
    run.record("three")
    assert [event["event"] for event in run.events()] == ["one", "two", "three"]
    path.write_bytes(b'{"event": "one"}\n' + garbage)  # killed while it wrote
    assert [event["event"] for event in run.events()] == ["one"]
    run.record("two")
    assert [event["event"] for event in run.events()] == ["one", "two"]


@SOME
@given(content=st.binary(max_size=60))
def test_any_bytes_are_events_or_none(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.getbasetemp() / "events"
    run = Run(out / "shared") if out.exists() else Run.create(CONFIG, out, "shared")
    (run.path / "events.jsonl").write_bytes(content)
    assert all(isinstance(event, dict) for event in run.events())
    run.record("last")
    assert run.events()[-1]["event"] == "last"


# The lock

HOLDER = """
import sys
from saesweep.run_folder import Run
run = Run(sys.argv[1])
with run.lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(run: Run) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_run_that_another_process_holds_is_refused(
    run: Run, holder: subprocess.Popen[str]
) -> None:
    assert run.is_locked()
    with pytest.raises(RunError) as caught, run.lock(timeout=0):
        raise AssertionError("two hold it")
    assert re.fullmatch(
        rf"\S+run1: in use by process {holder.pid} on \S+; wait for it, or stop it",
        str(caught.value),
    )
    assert caught.value.exit_code == 2
    assert run.metrics()  # reading is free


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_lock_ends_with_its_holder(
    end: int | None, run: Run, holder: subprocess.Popen[str]
) -> None:
    if end is None:
        holder.communicate()
    else:
        holder.send_signal(end)
        holder.wait()
    assert not run.is_locked()
    with run.lock(timeout=0):
        assert run.is_locked()


def test_a_lock_is_freed_after_an_error_and_taken_again(run: Run) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="mine"), run.lock():
            raise ValueError("mine")
    assert not run.is_locked()


def test_a_lock_whose_holder_cannot_be_read_names_no_process(run: Run) -> None:
    with run.lock(), pytest.raises(RunError, match=r"in use by process \? on \?; wait"):
        (run.path / "jobs" / "sweep.json").write_text("{")
        with Run(run.path).lock(timeout=0):
            raise AssertionError("two hold it")


@pytest.fixture
def read_only() -> Iterator[Run]:
    """A run in a folder that this user, who is not root, may not write."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(CONFIG, Path(folder) / "out")
        run.record("start", **this_process())
        for path in (Path(folder), Path(folder) / "out"):
            path.chmod(0o755)
        if root:
            os.seteuid(65534)
        else:
            (run.path / "events.jsonl").chmod(0o444)
            run.path.chmod(0o555)
        try:
            yield run
        finally:
            os.seteuid(0) if root else run.path.chmod(0o755)


def test_a_run_that_cannot_be_written_can_be_read(read_only: Run) -> None:
    run = Run(read_only.path)
    assert [event["event"] for event in run.events()] == ["start"]
    assert {row["state"] for row in run.metrics()} == {"waiting"}
    assert not run.is_locked()
    with pytest.raises(StorageError, match="cannot be locked: Permission denied"), run.lock():
        raise AssertionError
    with pytest.raises(StorageError, match=r"events\.jsonl: cannot be written: Permission denied"):
        run.record("end")
    with pytest.raises(StorageError, match=r"cell\.json: cannot be written: Permission denied"):
        run.folder(run.cells[0]).begin("training")
    with pytest.raises(StorageError, match=r"run\d: cannot be made: Permission denied"):
        Run.create(CONFIG, run.path)
    run.sweep_up()


# Cleaning


def test_unfinished_files_are_swept_up_and_no_others(run: Run) -> None:
    cell = run.folder(run.cells[0]).path
    finish(run, run.cells[0].name)
    before = {path for path in run.path.rglob("*") if path.is_file()}
    for folder in (run.path, cell, run.path / "data"):
        folder.mkdir(exist_ok=True)
        files.temporary_name(folder / "a.csv", 2**22 + 1).write_text("half")
    (cell / f"{files.TEMPORARY}folder").mkdir()
    run.sweep_up()
    assert {path for path in run.path.rglob("*") if path.is_file()} == before
    assert run.folder(run.cells[0]).state() == "done"


# Any damage


@pytest.mark.parametrize(
    "text",
    ["baseline,dict_size,mmcs\npca,3,much\n", "name,dict_size\npca,3\n", "baseline,mmcs\npca,1\n"],
)
def test_baselines_that_are_none_are_said(run: Run, text: str) -> None:
    run.metrics_dir.mkdir()
    (run.metrics_dir / "baselines.csv").write_text(text)
    with pytest.raises(RunError, match=r"baselines\.csv: damaged: not rows of baselines"):
        run.baselines()


def test_a_pipe_in_the_place_of_the_config_is_said(run: Run) -> None:
    (run.path / "config.yaml").unlink()
    os.mkfifo(run.path / "config.yaml")
    with pytest.raises(RunError, match=r"config\.yaml: cannot be read: not a regular file"):
        Run(run.path)


def test_a_cell_that_was_begun_and_has_no_job_is_interrupted(run: Run) -> None:
    begun, trained, waits = (cell.name for cell in run.cells[:3])
    for name in (begun, trained):
        run.folder(name).begin("training")
    with run.claim([run.cell(trained)]):
        states = {row["cell"]: row["state"] for row in run.metrics()}
    assert [states[name] for name in (begun, trained, waits)] == [
        "interrupted",
        "running",
        "waiting",
    ]
    states = {row["cell"]: row["state"] for row in run.metrics()}
    assert [states[name] for name in (begun, trained)] == ["interrupted", "interrupted"]


def test_no_damage_to_any_file_of_a_run_makes_a_traceback(tmp_path: Path) -> None:
    run = Run.create(CONFIG, tmp_path)
    name = run.cells[0].name
    finish(run, name, mcc=0.5)
    run.record("start", **this_process())
    files.write_tensors(run.path / "data" / "ground_truth.safetensors", {"features": torch.eye(3)})
    files.write_rows(run.metrics_dir / "metrics.csv", run.metrics(), list(run.metrics()[0]))
    files.write_rows(run.metrics_dir / "baselines.csv", [{"baseline": "pca"}], ["baseline"])
    whole = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert len(whole) == 11
    for path, content in whole.items():
        half = len(content) // 2
        for damaged in (
            None,
            b"",
            content[:half],
            content[:half] + b"\xff\0",
            b"[" * 10_000,
            b"{}",
        ):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            _read_all(run.path, name)
            path.write_bytes(content)
    assert run.folder(name).state() == "done"


def _read_all(path: Path, name: str) -> None:
    """Everything that can be read of a run: an answer, or an error of ours."""
    try:
        run = Run(path)
    except SaesweepError:
        return
    folder = run.folder(name)
    assert len(run.metrics()) == 8
    run.events()
    folder.state()
    folder.error()
    folder.progress()
    for read in (run.baselines, run.features, folder.result, folder.history, folder.snapshots):
        try:
            read()
        except SaesweepError as error:
            assert "\n" not in str(error)
    try:
        run.sae(name)
    except SaesweepError as error:
        assert "\n" not in str(error)


def test_a_config_survives_its_run(tmp_path: Path, small: SweepConfig) -> None:
    run = Run.create(small, tmp_path)
    assert Run(run.path).config == small
    assert json.loads(json.dumps(run.metrics()[0]["cell"])) == run.cells[0].name


# What others trained


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({}, "it has no metrics"),
        ({"metrics": [], "dict_size": 4}, "it has no metrics"),
        ({"metrics": {}, "dict_size": "4"}, "it has no metrics"),
        ({"metrics": {"mmcs": "abc"}, "dict_size": 4}, "a metric is no number"),
        ({"metrics": {"mmcs": [0.5]}, "dict_size": 4}, "a metric is no number"),
        ({"metrics": {"mmcs": 10**400}, "dict_size": 4}, "a metric is no number"),
        ({"metrics": {"mmcs": 0.5}, "dict_size": 10**400}, "a metric is no number"),
    ],
)
def test_a_damaged_import_is_said(result: dict[str, Any], why: str, run: Run) -> None:
    path = run.path / "imported" / "theirs" / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result))
    with pytest.raises(RunError, match=rf"result\.json: damaged: {why}; import it again$"):
        run.imported()
    path.write_text(json.dumps({"metrics": {"mmcs": 1, "fvu": None}, "dict_size": 6}))
    (row,) = run.imported()
    assert (row["cell"], row["dict_size"], row["dict_ratio"]) == ("imported/theirs", 6, 1.5)
    assert (row["mmcs"], type(row["mmcs"])) == (1.0, float)
    assert math.isnan(row["fvu"])


def test_a_baseline_too_large_for_a_float_is_damage(run: Run) -> None:
    table = run.metrics_dir / "baselines.csv"
    table.parent.mkdir()
    for value, whole in (("1" * 400, False), ("inf", True), ("nan", True), ("7", True)):
        table.write_text(f"baseline,dict_size,mmcs\npca,3,{value}\n")
        if whole:
            assert len(run.baselines()) == 1
        else:
            with pytest.raises(RunError, match="damaged: not rows of baselines"):
                run.baselines()
