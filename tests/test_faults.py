"""What can happen to a sweep in the night: kills, full disks, damage. Nothing finished is lost.

With many more kills: ``pytest -m slow tests/test_faults.py``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saesweep.config_file import parse_config
from saesweep.files import sha256
from saesweep.run_folder import Run
from saesweep.sweep import run_sweep

Command = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIG = """
data: {activation_dim: 3, n_features: 4, mean_active: 1, correlation: batch}
grid: {l1: [0.01, 0.1], dict_ratio: [2, 4]}
train: {epochs: 6000, batch_size: 128}
snapshot_every: 100
eval: {n_samples: 1000, baselines: []}
jobs: {device: cpu, plot: false, checkpoint_every: 0.1}
"""


pytestmark = pytest.mark.usefixtures("undrawn")


def start(*words: str | Path) -> subprocess.Popen[str]:
    """The command line, in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "saesweep", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def results(run: Run) -> dict[str, str]:
    """The hashes of what training leaves, by path: the same wherever and however it went on."""
    kinds = ("cells/*/*.safetensors", "cells/*/history.csv", "data/*", "metrics/*.csv")
    paths = sorted(path for kind in kinds for path in run.path.glob(kind))
    return {str(path.relative_to(run.path)): sha256(path) for path in paths}


def no_half_files(run: Run) -> None:
    assert [path for path in run.path.rglob(".tmp-*") if path.is_file()] == []
    assert [*run.path.glob("jobs/*.claim"), *run.path.glob("cells/*/checkpoint*")] == []
    for cell in run.cells:
        assert run.folder(cell).state() == "done"


def kill_and_resume(run: Run, kills: int, seed: int, *flags: str) -> int:
    """Kill the sweep of ``run`` at random moments, resuming each time; how many kills there were.

    A moment is counted from when the process can be seen to train, or from its start.
    """
    dice, done = random.Random(seed), 0
    while done < kills:
        sweep = start("resume", run.path, "-q", *flags)
        if dice.random() < 0.8:
            while not run.running() and sweep.poll() is None:
                time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.8))
        sweep.send_signal(signal.SIGKILL)
        sweep.communicate()
        done += 1
        if all(run.folder(cell).state() == "done" for cell in run.cells):
            break
    settings = run.settings(["jobs.per_device=2"] if flags else [])
    assert run_sweep(run, settings=settings).done
    return done


def killed_often(tmp_path: Path, kills: int, epochs: int) -> None:
    config = parse_config(CONFIG.replace("6000", str(epochs)))
    whole = run_sweep(Run.create(config, tmp_path, "whole")).run
    run = Run.create(config, tmp_path, "killed")
    assert kill_and_resume(run, kills, seed=kills) == kills, "the sweep was over too soon"
    no_half_files(run)
    # On the same device, in the same stack: not a bit differs.
    assert results(run) == results(whole)
    ended = [event["cell"] for event in run.events() if event["event"] == "cell_done"]
    assert sorted(ended) == sorted(cell.name for cell in run.cells)  # each once


def test_a_sweep_that_is_killed_at_random_ends_as_if_it_were_not(tmp_path: Path) -> None:
    killed_often(tmp_path, kills=3, epochs=6000)


@pytest.mark.slow
def test_a_sweep_that_is_killed_twenty_four_times(tmp_path: Path) -> None:
    killed_often(tmp_path, kills=24, epochs=40_000)


@pytest.mark.slow
def test_with_two_slots_killed_twenty_times(tmp_path: Path) -> None:
    config = parse_config(CONFIG.replace("6000", "60000"))
    flags = ("--per-device", "2")
    whole, run = (Run.create(config, tmp_path, name) for name in ("whole", "killed"))
    assert run_sweep(whole, settings=whole.settings(["jobs.per_device=2"])).done
    assert kill_and_resume(run, 20, 0, *flags) == 20
    no_half_files(run)
    # When one stack is done, the cells of the other are spread over both slots: within rounding.
    for cell in run.cells:
        for key, value in run.folder(cell).result()["metrics"].items():
            expected = whole.folder(cell).result()["metrics"][key]
            assert value == pytest.approx(expected, rel=0.02, abs=0.02, nan_ok=True), key
    ended = [event["cell"] for event in run.events() if event["event"] == "cell_done"]
    assert sorted(ended) == sorted(cell.name for cell in run.cells)


class Killed(BaseException):
    """Ends a sweep where it stands."""


def test_a_sweep_that_ends_at_any_file_it_writes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its renames in turn: between any two files there is a moment to be killed."""
    text = CONFIG.replace("6000", "6").replace("100", "3").replace("0.1}", "1e-9}")
    config = parse_config(text.replace("[2, 4]", "[2]"))
    assert config.jobs.checkpoint_every < 1e-6  # a checkpoint at every step
    whole = run_sweep(Run.create(config, tmp_path, "whole")).run
    expected, replace, calls = results(whole), os.replace, [0]

    def replace_until(last: int) -> Callable[..., None]:
        def counted(old: Path, new: Path) -> None:
            calls[0] += 1
            if calls[0] == last:
                raise Killed
            replace(old, new)

        return counted

    moments, killed = 0, True
    while killed:
        moments, calls[0], killed = moments + 1, 0, False
        run = Run.create(config, tmp_path, f"killed{moments}")
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_until(moments))
            try:
                run_sweep(run)
            except Killed:
                killed = True
        done = {
            cell.name: (run.folder(cell).path / "result.json").stat().st_mtime_ns
            for cell in run.cells
            if run.folder(cell).state() == "done"
        }
        assert run_sweep(run).done
        no_half_files(run)
        for name, when in done.items():
            assert (run.folder(name).path / "result.json").stat().st_mtime_ns == when
        # Cells that were left by those that were done go on in a smaller stack.
        assert set(results(run)) == set(expected)
        if not done:
            assert results(run) == expected, f"killed at rename {moments}"
        shutil.rmtree(run.path)
    assert moments > 60


# The disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("needs to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_nothing(
    small_disk: Path, tmp_path: Path, saesweep: Command
) -> None:
    config = parse_config(CONFIG.replace("6000", "400").replace("plot: false", "plot: true"))
    whole = run_sweep(Run.create(config, tmp_path, "whole")).run
    run = Run.create(config, small_disk)
    ballast = small_disk / "ballast"
    for left in (60_000, 150_000, 250_000):  # full at different moments
        with ballast.open("wb") as file:
            size = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            file.write(bytes(max(0, size - left)))
        before = {
            cell.name: run.folder(cell).result()
            for cell in run.cells
            if run.folder(cell).state() == "done"
        }
        ran = saesweep("resume", run.path, "-q")
        assert ran.returncode == 1
        assert "No space left on device" in ran.stderr
        assert f"make room, then `saesweep resume {run.path}` goes on" in ran.stderr
        assert len(ran.stderr.splitlines()) <= 3
        assert {name: run.folder(name).result() for name in before} == before
        ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert run_sweep(run).done
    no_half_files(run)
    # Cells that were done when the disk was full were not trained with the others again.
    assert set(results(run)) == set(results(whole))


def test_a_disk_that_cannot_be_written_is_said(small_disk: Path, saesweep: Command) -> None:
    run = Run.create(parse_config(CONFIG), small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ran = saesweep("resume", run.path, "-q")
    assert ran.returncode == 1
    assert "cannot be locked: Read-only file system" in ran.stderr
    assert len(ran.stderr.splitlines()) == 2
    assert saesweep("status", run.path).returncode == 0
    new = saesweep("run", run.path / "config.yaml", "--out", small_disk / "other")
    assert (new.returncode, "Read-only file system" in new.stderr) == (1, True)


# Damage


@pytest.fixture
def cut(tmp_path: Path) -> Run:
    """A run that was stopped in the middle, with checkpoints."""
    run = Run.create(parse_config(CONFIG), tmp_path)
    sweep = start("resume", run.path, "-q")
    first = run.folder(run.cells[0]).path / "checkpoint.safetensors"
    wait_for(first.exists, sweep)
    sweep.send_signal(signal.SIGTERM)
    sweep.communicate()
    assert all(run.folder(cell).checkpoints() for cell in run.cells)
    return run


@pytest.mark.parametrize("damage", ["cut short", "other bytes", "of another cell"])
def test_a_damaged_checkpoint_is_said_and_moved_aside(
    cut: Run, damage: str, saesweep: Command
) -> None:
    path = cut.folder(cut.cells[0]).path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "other bytes":
        content[-1000] ^= 1
        path.write_bytes(content)
    else:
        shutil.copy(cut.folder(cut.cells[1]).path / "checkpoint.safetensors", path)
    kept = sha256(path)
    ran = saesweep("resume", cut.path)
    assert ran.returncode == 0, ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if "checkpoint.safetensors" in line]
    assert "it moved to" in line
    (aside,) = cut.folder(cut.cells[0]).path.glob("earlier/*/checkpoint.safetensors")
    assert sha256(aside) == kept  # nothing is deleted
    assert "from step" not in cut.folder(cut.cells[0]).logs()
    assert "from step" in cut.folder(cut.cells[1]).logs()


def test_a_deleted_cell_folder_is_trained_again(cut: Run, saesweep: Command) -> None:
    shutil.rmtree(cut.folder(cut.cells[2]).path)
    assert "1 waiting" in saesweep("status", cut.path).stdout
    assert run_sweep(cut).done
    no_half_files(cut)


def test_a_cell_folder_deleted_while_it_trains_is_made_again(
    tmp_path: Path, saesweep: Command
) -> None:
    run = Run.create(parse_config(CONFIG.replace("6000", "20000")), tmp_path)
    sweep = start("resume", run.path, "-q")
    path = run.folder(run.cells[0]).path
    wait_for((path / "checkpoint.safetensors").exists, sweep)
    shutil.rmtree(path, ignore_errors=True)
    _, errors = sweep.communicate(timeout=120)
    assert "Traceback" not in errors
    assert sweep.returncode in (0, 1)
    for cell in run.cells[1:]:  # its neighbours take no harm
        assert run.folder(cell).state() == "done", run.folder(cell).logs()
    assert run_sweep(run, retry_failed=True).done
    no_half_files(run)


@pytest.mark.parametrize("left", [0, 7, -5])
def test_truncated_events_do_no_harm(cut: Run, left: int, saesweep: Command) -> None:
    path = cut.path / "events.jsonl"
    path.write_bytes(path.read_bytes()[:left])
    assert saesweep("status", cut.path).returncode == 0
    assert run_sweep(cut).done
    assert [event["event"] for event in cut.events()][-1] == "end"


def test_a_damaged_result_is_trained_again_only_when_asked(cut: Run, saesweep: Command) -> None:
    assert run_sweep(cut).done
    result = cut.folder(cut.cells[0]).path / "result.json"
    result.write_text(result.read_text()[:40])
    assert "1 damaged" in saesweep("status", cut.path).stdout
    assert saesweep("resume", cut.path, "-q").returncode == 1
    assert cut.folder(cut.cells[0]).state() == "damaged"
    assert run_sweep(cut, retry_failed=True).done
    (aside,) = result.parent.glob("earlier/*/result.json")
    assert len(aside.read_text()) == 40


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path, saesweep: Command) -> None:
    slow = CONFIG.replace("batch_size: 128", "batch_size: 400000")  # a step takes a while
    run = Run.create(parse_config(slow), tmp_path)
    sweep = start("resume", run.path)
    wait_for(lambda: bool(run.running()), sweep)
    time.sleep(0.5)
    sweep.send_signal(signal.SIGINT)
    time.sleep(0.05)
    sweep.send_signal(signal.SIGINT)
    _, errors = sweep.communicate(timeout=180)  # all its steps would take hours
    assert sweep.returncode == 130
    assert f"continue with `saesweep resume {run.path}`" in errors
    assert "Traceback" not in errors


def test_sigusr1_writes_checkpoints_and_goes_on(tmp_path: Path) -> None:
    config = CONFIG.replace("checkpoint_every: 0.1", "checkpoint_every: 1e6")
    run = Run.create(parse_config(config.replace("6000", "10000")), tmp_path)
    sweep = start("resume", run.path, "-q")
    history = run.folder(run.cells[0]).path / "cell.json"
    wait_for(history.exists, sweep)
    time.sleep(0.5)
    assert not run.folder(run.cells[0]).checkpoints()
    sweep.send_signal(signal.SIGUSR1)
    wait_for(lambda: all(run.folder(cell).checkpoints() for cell in run.cells), sweep)
    sweep.communicate(timeout=200)
    assert sweep.returncode == 0
    no_half_files(run)
