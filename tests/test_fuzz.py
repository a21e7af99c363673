"""Whatever is typed, and whatever happened to a run folder: an answer, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import terminal
from saesweep.cli import app
from saesweep.run_folder import Run

pytestmark = pytest.mark.usefixtures("undrawn")

SOME = settings(derandomize=True, database=None, deadline=None)

COMMANDS = ["run", "resume", "status", "logs", "results", "compare", "plot", "gif", "data", "_job"]
FLAGS = [
    *("--set", "--name", "--out", "--device", "--backend", "--per-device", "--stack", "--retries"),
    *("--fail-fast", "--retry-failed", "--ray-address", "--detach", "--dry-run", "--quiet", "-q"),
    *("--json", "--format", "--metric", "--fps", "--token", "--help", "--debugs", "--", "-", "-h"),
]
VALUES = [
    *("RUN", "small.yaml", "missing", "l1=0.01_dict=8", "l1=*", "mmcs", "csv", "json", "cpu"),
    *("cuda:9", "auto", "1", "0", "-1", "1e9", "nan", "local", "train.lr=1e-3", "jobs.stack=x"),
    *("jobs.retries=1", "grid.l1=[]", "=", "a=b=c", ""),
]
WORDS = st.sampled_from(FLAGS) | st.sampled_from(VALUES) | st.text(max_size=8)


def call(words: Sequence[str]) -> tuple[int, str, str]:
    """The command line in this process: its exit code, output and errors."""
    out, errors = io.StringIO(), io.StringIO()
    before = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["saesweep", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            terminal.start(app)
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGTERM, before[1])
    return code, out.getvalue(), errors.getvalue()


def assert_an_answer(words: Sequence[str]) -> None:
    code, out, errors = call(words)
    assert code in (0, 1, 2), (words, code, errors)
    for sign in ("Traceback", "fault in saesweep", "Error:"):
        assert sign not in errors + out, (words, errors)
    assert code != 2 or errors or out, words  # a mistake is never answered with nothing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, finished: Run) -> Path:
    """A folder with a finished run, and a config whose grid is empty of work."""
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(finished.path, folder / "RUN")
    (folder / "small.yaml").write_text(
        "data: {activation_dim: 2, n_features: 2, mean_active: 1}\n"
        "grid: {l1: [0.1], dict_size: [2], train.lr: [0]}\n"  # a mistake: nothing is ever trained
    )
    return folder


@settings(SOME, max_examples=300)
@given(command=st.sampled_from(COMMANDS), rest=st.lists(WORDS, max_size=6))
def test_any_command_line_is_answered(command: str, rest: list[str], folder: Path) -> None:
    if command in ("plot", "gif", "resume", "_job") and "RUN" in rest:
        rest = [word for word in rest if word != "RUN"]  # seconds of work, tested elsewhere
    with contextlib.chdir(folder):
        assert_an_answer([command, *rest])


@settings(SOME, max_examples=150)
@given(words=st.lists(WORDS | st.sampled_from(COMMANDS), max_size=5))
def test_any_words_are_answered(words: list[str], folder: Path) -> None:
    if {"plot", "gif", "resume", "_job"} & set(words):
        return
    with contextlib.chdir(folder):
        assert_an_answer(words)


FILES = [
    *("config.yaml", "provenance.json", "events.jsonl", "jobs/sweep.json", "jobs"),
    *("metrics/metrics.csv", "metrics/baselines.csv", "data/ground_truth.safetensors", "metrics"),
    *(
        f"cells/l1=0.01_dict=8/{name}"
        for name in (
            *("result.json", "cell.json", "history.csv", "snapshots.safetensors", "log.txt"),
            *("sae.safetensors", "checkpoint.safetensors", "error.txt", "."),
        )
    ),
]
DAMAGES = st.tuples(
    st.sampled_from(FILES),
    st.sampled_from(["delete", "empty", "cut", "bytes", "folder", "link", "json"]),
    st.binary(max_size=40),
)


def damage(path: Path, kind: str, content: bytes) -> None:
    """Do something bad to a file or folder of a run."""
    if not path.parent.is_dir():
        return  # an earlier damage took its folder
    before = path.read_bytes() if path.is_file() else b""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir(exist_ok=True)
    elif kind == "link":
        path.symlink_to(path.with_name("nowhere"))
    elif kind != "delete":
        new = {"empty": b"", "cut": before[: len(before) // 2], "json": b'{"a": [1, null]}'}
        path.write_bytes(new.get(kind, content))


@settings(SOME, max_examples=120)
@given(
    damages=st.lists(DAMAGES, min_size=1, max_size=3),
    words=st.sampled_from(
        [
            ["status", "RUN"],
            ["status", "RUN", "--json"],
            ["results", "RUN"],
            ["results", "RUN", "--format", "csv"],
            ["logs", "RUN", "l1=0.01_dict=8"],
            ["compare", "RUN", "whole"],
        ]
    ),
)
def test_a_damaged_run_is_answered(
    damages: list[tuple[str, str, bytes]],
    words: list[str],
    finished: Run,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(finished.path, folder / "RUN")
    os.symlink(finished.path, folder / "whole")
    for name, kind, content in damages:
        damage(folder / "RUN" / name, kind, content)
    with contextlib.chdir(folder):
        assert_an_answer(words)


@settings(SOME, max_examples=12)
@given(damages=st.lists(DAMAGES, min_size=1, max_size=2))
def test_a_damaged_run_is_resumed_or_refused(
    damages: list[tuple[str, str, bytes]], finished: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(finished.path, folder / "RUN")
    for name, kind, content in damages:
        damage(folder / "RUN" / name, kind, content)
    untouched = folder / "RUN" / "cells" / "l1=0.1_dict=16" / "result.json"
    before = untouched.read_bytes()
    with contextlib.chdir(folder):
        assert_an_answer(["resume", "RUN", "-q", "--retry-failed"])
    assert untouched.read_bytes() == before  # what was done stays done
