"""Completion in a shell: commands, run folders and cells, without waiting for torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from saesweep import starting, tables
from saesweep.config import JobsConfig
from saesweep.exchange import formats
from saesweep.figures.animations import encoding
from saesweep.run_folder import Run

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(saesweep: Callable[..., subprocess.CompletedProcess[str]]) -> Complete:
    """What bash would offer behind the words of a line, which it parts at ``=``, too."""

    def call(line: str, parted: bool = True) -> list[str]:
        words = line.replace("=", " = ").split(" ") if parted else line.split(" ")
        environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        done = saesweep(**environment, _SAESWEEP_COMPLETE="complete_bash")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

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


def test_a_path_with_a_space_is_one_word(complete: Complete, outputs: Path) -> None:
    (outputs / "run1").rename(outputs / "my run")
    assert complete("saesweep status outputs/m") == [r"outputs/my\ run"]


def test_cells_are_completed(complete: Complete, outputs: Path, finished: Run) -> None:
    names = sorted(cell.name for cell in finished.cells)
    assert complete("saesweep logs outputs/run1 l1") == names
    # Bash puts what it is told in the place of what stands behind the last =.
    of_one = [name for name in names if name.startswith("l1=0.1_")]
    assert len(of_one) == 2
    assert complete("saesweep export outputs/run1 l1=0.1_") == [
        name.removeprefix("l1=") for name in of_one
    ]
    assert complete("saesweep export outputs/run1 l1=0.1_dict=") == [
        name.removeprefix("l1=0.1_dict=") for name in of_one
    ]
    assert complete(f"saesweep gif outputs/run1 {names[0]} l1=0.1_dict=16") == ["16"]
    assert complete("saesweep gif outputs/notes l") == []


def test_words_that_bash_has_not_parted_stay_whole(complete: Complete, outputs: Path) -> None:
    """In quotes, and where COMP_WORDBREAKS has no =."""
    (outputs / "run1").rename(outputs / "my run")
    found = complete("saesweep logs outputs/other l1=0.1_dict=1", parted=False)
    assert found == ["l1=0.1_dict=16"]
    found = complete("saesweep logs outputs/other 'l1=0.1_dict=1", parted=False)
    assert found == ["l1=0.1_dict=16"]
    assert complete("saesweep status 'outputs/m", parted=False) == ["outputs/my run"]


def test_what_is_offered_is_what_is_allowed(complete: Complete) -> None:
    assert complete("saesweep results x --format ") == [*tables.FORMATS]
    assert complete("saesweep gif x --format ") == [*encoding.FORMATS]
    assert complete("saesweep export x --to ") == [*formats.FORMATS]
    assert complete("saesweep init --kind ") == [*starting.KINDS]
    backends = get_args(JobsConfig.model_fields["backend"].annotation)
    assert complete("saesweep run x --backend ") == [*backends]


def test_options_are_completed(complete: Complete) -> None:
    assert complete("saesweep results x --format ") == ["table", "csv", "json", "md"]
    assert complete("saesweep run x --backend s") == ["slurm"]
    assert complete("saesweep compare x --metric mmcs_") == ["mmcs_larger", "mmcs_next_larger"]
    assert complete("saesweep baselines x --method km") == ["kmeans", "kmedoids"]
    assert complete("saesweep init --kind to") == ["toy"]


def test_bash_takes_what_is_offered(outputs: Path) -> None:
    """By the script that is installed, with the words that bash makes of the line."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    program = f'"{sys.executable}" -m saesweep'
    script = """
eval "$(_SAESWEEP_COMPLETE=source_bash saesweep)"
COMP_WORDS=(saesweep logs outputs/run1 l1 = 0.1_dict = 1) COMP_CWORD=7
_saesweep_completion saesweep
printf '%s\\n' "${COMPREPLY[@]}"
"""
    # The script calls it through env, which knows no functions.
    (outputs.parent / "bin").mkdir()
    (outputs.parent / "bin/saesweep").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (outputs.parent / "bin/saesweep").chmod(0o755)
    path = f"{outputs.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=outputs.parent,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "16\n"


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys; from saesweep.cli import app, completing; completing.runs('o'); "
        "print([m for m in ('torch', 'numpy', 'matplotlib', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
