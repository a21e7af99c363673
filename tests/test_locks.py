"""Claims: two jobs never have one cell, and a job of an earlier sweep does nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saesweep import locks
from saesweep.errors import RunError, StorageError

HOLD = """
import sys
from pathlib import Path
from saesweep import locks
with locks.claim(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another process that claims cells."""
    started = []

    def start(*cells: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), *cells],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_claim_tells_who_has_which_cells(
    tmp_path: Path, job: Callable[..., subprocess.Popen[str]]
) -> None:
    one, other = job("a", "b"), job("c")
    found = {claim.pid: claim for claim in locks.claims(tmp_path)}
    assert {pid: set(claim.cells) for pid, claim in found.items()} == {
        one.pid: {"a", "b"},
        other.pid: {"c"},
    }
    assert locks.is_held(tmp_path)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_claim_ends_with_its_process(
    tmp_path: Path, job: Callable[..., subprocess.Popen[str]], end: signal.Signals | None
) -> None:
    process = job("a")
    if end is not None:
        process.send_signal(end)
    process.communicate()
    assert locks.claims(tmp_path) == []
    assert list((tmp_path / "jobs").iterdir()) == []
    assert not locks.is_held(tmp_path)


def test_one_cell_has_one_job_and_others_are_free(
    tmp_path: Path, job: Callable[..., subprocess.Popen[str]]
) -> None:
    process = job("a", "b")
    with pytest.raises(RunError, match=rf"in use by process {process.pid} on \S+; wait"):
        with locks.claim(tmp_path, ["b", "c"], patience=0):
            raise AssertionError("two have b")
    with locks.claim(tmp_path, ["c"], patience=0):
        assert len(locks.claims(tmp_path)) == 2
    assert len(locks.claims(tmp_path)) == 1


def test_a_job_waits_for_one_that_is_about_to_end(
    tmp_path: Path, job: Callable[..., subprocess.Popen[str]]
) -> None:
    process = job("a")
    threading.Timer(0.5, process.kill).start()
    with locks.claim(tmp_path, ["a"], patience=30):
        assert process.wait(timeout=10) == -signal.SIGKILL


def test_of_jobs_that_begin_together_each_gets_its_turn(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        with locks.claim(tmp_path, ["a"], patience=60):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.05)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert locks.claims(tmp_path) == []


def test_a_job_of_an_earlier_sweep_does_nothing(tmp_path: Path) -> None:
    with locks.sweep_lock(tmp_path, {}) as first:
        pass
    with locks.claim(tmp_path, ["a"], first):
        pass  # of the last sweep, though that is gone: it was submitted and left alone
    with locks.sweep_lock(tmp_path, {}) as second:
        assert second != first
        with (
            pytest.raises(RunError, match="another sweep has taken over"),
            locks.claim(tmp_path, ["a"], first),
        ):
            raise AssertionError
        with locks.claim(tmp_path, ["a"], second):
            pass


def test_a_sweep_waits_for_the_jobs_of_one_that_was_killed(
    tmp_path: Path, job: Callable[..., subprocess.Popen[str]]
) -> None:
    process = job("a")
    with pytest.raises(
        RunError, match=rf"in use by process {process.pid} on \S+, a job of an earlier"
    ):
        with locks.sweep_lock(tmp_path, {}, patience=0.2):
            raise AssertionError
    threading.Timer(0.5, process.kill).start()
    with locks.sweep_lock(tmp_path, {}, patience=30):
        assert locks.claims(tmp_path) == []


def test_the_holder_tells_what_its_jobs_should_know(tmp_path: Path) -> None:
    assert locks.holder(tmp_path) == {}
    with locks.sweep_lock(tmp_path, {"jobs": {"stack": 1}}) as token:
        about = locks.holder(tmp_path)
    assert (about["token"], about["pid"], about["jobs"]) == (token, os.getpid(), {"stack": 1})


@pytest.mark.parametrize("garbage", ["", "{", "[]", "null", '{"cells": 3}', "\0"])
def test_a_claim_that_cannot_be_read_is_still_held(tmp_path: Path, garbage: str) -> None:
    with locks.claim(tmp_path, ["a"]):
        (path,) = (tmp_path / "jobs").glob("*.claim")
        path.write_text(garbage)
        (claim,) = locks.claims(tmp_path)
        assert (claim.pid, set(claim.cells)) == ("?", set())
    path.write_text(json.dumps({"cells": ["a"]}))  # left by a process that was killed
    assert locks.claims(tmp_path) == []
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    with (
        pytest.raises(StorageError, match=r"claim: cannot be written"),
        locks.claim(tmp_path, ["a"]),
    ):
        raise AssertionError
