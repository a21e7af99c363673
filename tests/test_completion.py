"""Completion in a shell: commands, run folders and cells, without waiting for torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saesweep.run_folder import Run

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(saesweep: Callable[..., subprocess.CompletedProcess[str]]) -> Complete:
    """What a shell would offer behind the words of a line."""

    def call(line: str) -> list[str]:
        last = len(line.split(" ")) - 1
        words = {"COMP_WORDS": line, "COMP_CWORD": str(last)}
        done = saesweep(**words, _SAESWEEP_COMPLETE="complete_bash")
        return done.stdout.split()

    return call


@pytest.fixture
def outputs(finished: Run, tmp_path: Path) -> Path:
    shutil.copytree(finished.path, tmp_path / "outputs/run1")
    shutil.copytree(finished.path, tmp_path / "outputs/other")
    (tmp_path / "outputs/notes").mkdir()
    return tmp_path / "outputs"


def test_commands_are_completed(complete: Complete) -> None:
    assert sorted(complete("saesweep res")) == ["results", "resume"]


@pytest.mark.usefixtures("outputs")
def test_runs_are_completed_and_other_folders_are_not(complete: Complete) -> None:
    assert complete("saesweep status o") == ["outputs/other", "outputs/run1"]
    assert complete("saesweep report outputs/run1 outputs/r") == ["outputs/run1"]
    assert complete("saesweep status nowhere/x") == []


def test_cells_are_completed(complete: Complete, outputs: Path, finished: Run) -> None:
    names = sorted(cell.name for cell in finished.cells)
    assert complete("saesweep logs outputs/run1 l1") == names
    assert complete("saesweep export outputs/run1 l1=0.1_") == [
        name for name in names if name.startswith("l1=0.1_")
    ]
    assert complete("saesweep gif outputs/notes l") == []


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys; from saesweep.cli import app, options; options._runs('o'); "
        "print([m for m in ('torch', 'numpy', 'matplotlib', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
