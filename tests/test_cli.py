"""The command line as a user has it: in a subprocess, on real folders, with real signals."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import pytest

from saesweep.config_file import json_schema, load_config
from saesweep.run_folder import Run
from saesweep.version import __version__

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parent.parent


def test_run_status_results_plot_gif(saesweep: Command, small_file: Path, tmp_path: Path) -> None:
    ran = saesweep("run", small_file, "--set", "jobs.plot=true")
    assert ran.returncode == 0, ran.stderr
    assert "outputs/run1: 4 done" in ran.stdout
    assert "l1=0.1_dict=16" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "4 cells, 4 to train in 1 job" in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr

    status = json.loads(saesweep("status", "outputs/run1", "--json").stdout)
    assert [cell["state"] for cell in status["cells"]] == ["done"] * 4
    assert "4 done" in saesweep("status", "outputs/run1").stdout

    rows = json.loads(saesweep("results", "outputs/run1", "--format", "json").stdout)
    table = csv.DictReader(
        io.StringIO(saesweep("results", "outputs/run1", "--format", "csv").stdout)
    )
    assert [float(row["mmcs"]) for row in table] == [row["mmcs"] for row in rows]
    assert saesweep("results", "outputs/run1", "--format", "md").stdout.startswith(
        "| cell | l1_pen"
    )

    (tmp_path / "outputs/run1/figures/mmcs_matrix.png").unlink()
    assert saesweep("plot", "outputs/run1").returncode == 0
    assert iio.imread(tmp_path / "outputs/run1/figures/mmcs_matrix.png").ndim == 3

    drawn = json.loads(saesweep("gif", "outputs/run1", "l1=0.1_*", "--json").stdout)
    assert [Path(file).name for file in drawn["files"]] == [
        "l1=0.1_dict=8.gif",
        "l1=0.1_dict=16.gif",
    ]
    assert len(iio.imread(tmp_path / drawn["files"][0])) >= 5

    assert "done" in saesweep("logs", "outputs/run1", "l1=0.1_dict=8").stdout
    assert saesweep("resume", "outputs/run1").returncode == 0
    assert saesweep("run", small_file, "-q").stdout == ""
    assert (tmp_path / "outputs/run2/config.yaml").exists()


def test_run_with_json_prints_json_alone(
    saesweep: Command, small_file: Path, tmp_path: Path
) -> None:
    ran = saesweep("run", small_file, "--json", "--set", "train.epochs=5", "--name", "mine")
    assert not (tmp_path / "outputs/mine/figures").exists()  # with jobs.plot: false
    result = json.loads(ran.stdout)
    assert result["done"] is True
    assert result["run"] == "outputs/mine"
    assert len(result["cells"]) == 4


def test_a_wrong_config_leaves_no_folder(saesweep: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "data: {activation_dim: 3}\ngrid: {l1: [-1], dict_size: [4]}\n"
    )
    ran = saesweep("run", "bad.yaml")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.splitlines() == [
        "error: bad.yaml:1:7: data.n_features is missing",
        "bad.yaml:1:7: data.mean_active is missing",
        "bad.yaml:2:13: grid.l1[0]: given -1: should be greater than or equal to 0",
    ]
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "none.yaml"], "none.yaml: cannot be read: No such file"),
        (["run", "small.yaml", "--set", "train.lr"], "should be key.path=value"),
        (["run", "small.yaml", "--device", "gpu"], "should be auto, cpu, cuda or cuda:N"),
        (["run", "small.yaml", "--device", "cuda:77"], "cuda:77"),
        (["run", "small.yaml", "--name", "../up"], "--name ../up: should be up to 100 letters"),
        (["status", "outputs/none"], "outputs/none: there is no such run"),
        (["resume", "."], "it has no config.yaml"),
        (["results", "outputs/none", "--format", "xml"], "should be one of table, csv, json, md"),
        (["gif", "outputs/none"], "there is no such run"),
        (["sae", "outputs/none", "l1=0.1_dict=8"], "there is no such run"),
        (["plot", "small.yaml"], "there is no such run"),
    ],
)
def test_mistakes_are_answered_in_a_line_or_two(
    saesweep: Command, small_file: Path, words: list[str], expected: str
) -> None:
    ran = saesweep(*words)
    assert ran.returncode == 2
    assert expected in ran.stderr
    assert len(ran.stderr.splitlines()) <= 2
    assert "Traceback" not in ran.stderr
    assert [path.name for path in small_file.parent.iterdir()] == ["small.yaml"]


def test_an_existing_name_is_refused(saesweep: Command, small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs/taken").mkdir(parents=True)
    ran = saesweep("run", small_file, "--name", "taken")
    assert ran.returncode == 2
    assert ran.stderr.endswith("outputs/taken: exists already; choose another --name\n")
    (tmp_path / "outputs/taken/config.yaml").write_text("a run")
    ran = saesweep("run", small_file, "--name", "taken")
    assert ran.returncode == 2
    assert "saesweep resume outputs/taken" in ran.stderr
    assert [path.name for path in (tmp_path / "outputs/taken").iterdir()] == ["config.yaml"]


def test_a_dry_run_writes_nothing(saesweep: Command, small_file: Path, tmp_path: Path) -> None:
    ran = saesweep("run", small_file, "--dry-run")
    assert "4 cells in 1 job" in ran.stdout
    assert re.search(
        r"^about [\dhms ]+ in all, from a few measured steps;", ran.stdout, re.MULTILINE
    )
    plan = json.loads(saesweep("run", small_file, "--dry-run", "--json").stdout)
    assert plan["jobs"][0]["steps"] == 20
    assert plan["jobs"][0]["snapshots"] == 5
    assert plan["jobs"][0]["seconds"] > 0
    # Five snapshots of 2 · 1000 + 4 products with the weights; 20 steps of 5 · 128.
    assert plan["jobs"][0]["evaluation_share"] == pytest.approx(5 * 2004 / (20 * 640))
    assert not (tmp_path / "outputs").exists()


def test_ctrl_c_ends_any_command_with_a_word(finished: Run) -> None:
    """One that would go on for ever: it watches a run that this process holds."""
    words = [sys.executable, "-m", "saesweep", "status", str(finished.path), "--watch"]
    with finished.lock():
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        process.stdout.readline()  # it watches
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "interrupted\n")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_is_resumed(
    saesweep: Command, small_file: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    words = ["run", "small.yaml", "--set", "train.epochs=500", "--set", "jobs.stack=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "saesweep", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    first = tmp_path / "outputs/run1/cells/l1=0.01_dict=8/result.json"
    second = tmp_path / "outputs/run1/cells/l1=0.1_dict=8/cell.json"
    _wait_for(second.exists, process)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    if stop == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert errors.splitlines()[-1].endswith("continue with `saesweep resume outputs/run1`")
    assert "Traceback" not in errors
    before = first.read_bytes(), first.stat().st_mtime_ns
    assert "interrupted" in saesweep("status", "outputs/run1").stdout

    assert saesweep("resume", "outputs/run1").returncode == 0
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert saesweep("run", *words[1:], "--name", "whole").returncode == 0
    whole, resumed = (Run(tmp_path / "outputs" / name) for name in ("whole", "run1"))
    for cell in whole.cells:
        assert resumed.folder(cell).result()["metrics"] == whole.folder(cell).result()["metrics"]
    assert not list(resumed.path.rglob(".tmp-*"))


def test_a_run_in_use_is_refused(saesweep: Command, small_file: Path, tmp_path: Path) -> None:
    words = ["run", "small.yaml", "--set", "train.epochs=100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "saesweep", *words], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for((tmp_path / "outputs/run1/cells/l1=0.01_dict=8/cell.json").exists, process)
        second = saesweep("resume", "outputs/run1")
        assert second.returncode == 2
        assert f"in use by process {process.pid}" in second.stderr
        assert "running" in saesweep("status", "outputs/run1").stdout
    finally:
        process.kill()
        process.wait()


def test_one_sae_is_described(saesweep: Command, finished: Run) -> None:
    cell = "l1=0.01_dict=16"
    shown = saesweep("sae", finished.path, cell, "--top", "2")
    assert shown.returncode == 0, shown.stderr
    assert "most used atoms" in shown.stdout
    assert "\x1b" not in shown.stdout
    found = json.loads(saesweep("sae", finished.path, cell, "--top", "2", "--json").stdout)
    assert found["cell"] == cell
    assert len(found["best_recovered"]) == len(found["worst_recovered"]) == 2

    wrong = saesweep("sae", finished.path, "l1=0.01_dict=17")
    assert wrong.returncode == 2
    assert "no cell 'l1=0.01_dict=17'; did you mean l1=0.01_dict=16?" in wrong.stderr
    assert saesweep("sae", finished.path, cell, "--top", "0").returncode == 2


def test_an_sae_that_is_not_trained_yet_is_answered_in_a_line(
    saesweep: Command, small_file: Path, tmp_path: Path
) -> None:
    run = Run.create(load_config(small_file), tmp_path / "outputs", "new")
    ran = saesweep("sae", "outputs/new", run.cells[0].name)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.splitlines() == [
        f"error: outputs/new: cell {run.cells[0].name} is waiting; "
        "`saesweep resume outputs/new` trains it"
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(saesweep: Command, finished: Run) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "saesweep", "results", str(finished.path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert "No space left" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_closed_pipe_is_no_error(finished: Run) -> None:
    command = f"{sys.executable} -m saesweep results {finished.path} --format csv | true"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert ran.stderr == ""


def test_a_narrow_terminal_cuts_no_line(saesweep: Command, finished: Run) -> None:
    out = saesweep("status", finished.path, COLUMNS="40").stdout
    assert "l1=0.01_dict=8" in out


def test_help_imports_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    for words in (["--help"], ["run", "--help"], ["schema"]):
        ran = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "saesweep", *words],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
        assert not imported & {"torch", "matplotlib", "sklearn", "scipy"}


def test_the_schema_beside_the_configs_is_the_current_one() -> None:
    assert json.loads((ROOT / "configs/schema.json").read_text()) == json.loads(json_schema())


def test_data_is_drawn_alone(saesweep: Command, small_file: Path, tmp_path: Path) -> None:
    ran = saesweep("data", small_file, "--out", "here")
    assert ran.returncode == 0, ran.stderr
    names = {path.name for path in (tmp_path / "here").iterdir()}
    assert names == {"gaussians.png", "samples.png", "correlation.png", "feature_frequency.png"}


def _wait_for(condition: object, process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the sweep ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_version_is_printed(saesweep: Command) -> None:
    ran = saesweep("--version")
    assert (ran.returncode, ran.stdout) == (0, f"saesweep {__version__}\n")


def test_an_ascii_terminal_gets_every_line(saesweep: Command, finished: Run) -> None:
    ran = saesweep("run", "none.yaml", "--name", "ü", PYTHONIOENCODING="ascii")
    assert ran.returncode == 2
    assert "Error" not in ran.stderr
    assert saesweep("results", finished.path, PYTHONIOENCODING="ascii").returncode == 0


def test_quietly_a_sweep_that_failed_still_says_so(saesweep: Command, small_file: Path) -> None:
    failed = saesweep("run", small_file, "--quiet", "--set", "train.lr=1e38")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr == "outputs/run1: 4 failed; `saesweep status outputs/run1` says why\n"
