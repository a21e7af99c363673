"""`saesweep init`: configs that are commented, load, and run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import saesweep as package
from saesweep.config_file import load_config
from saesweep.errors import UsageError
from saesweep.starting import KINDS, write_start

Command = Callable[..., "CompletedProcess[str]"]
SHORT = ["train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=64", "eval.n_samples=500"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_under_the_name_of_its_file(tmp_path: Path, kind: str) -> None:
    path = write_start(tmp_path / "mine.yaml", kind)
    assert load_config(path).name == "mine"
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert sum("#" in line for line in lines) > 6
    assert all(len(line.replace(str(path), "mine.yaml")) <= 110 for line in lines)
    assert not any(mark in path.read_text() for mark in ("{file}", "{name}"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "activations"])
def test_every_kind_on_synthetic_data_runs(tmp_path: Path, kind: str) -> None:
    path = write_start(tmp_path / "mine.yaml", kind)
    run = package.run(path, out=tmp_path, changes=[*SHORT, "jobs.plot=false"])
    assert {row["state"] for row in run.metrics()} == {"done"}


def test_nothing_is_written_over(tmp_path: Path, saesweep: Command) -> None:
    done = saesweep("init", "mine.yaml", "--kind", "seeds")
    assert (done.returncode, done.stderr) == (0, "")
    assert "`saesweep run mine.yaml --dry-run`" in done.stdout
    before = (tmp_path / "mine.yaml").read_text()
    again = saesweep("init", "mine.yaml")
    assert again.returncode == 2
    assert again.stderr == "error: mine.yaml: exists already; choose another file\n"
    assert (tmp_path / "mine.yaml").read_text() == before


def test_what_is_wrong_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--kind big: should be one of toy, highdim, seeds"):
        write_start(tmp_path / "mine.yaml", "big")
    with pytest.raises(UsageError, match="is a folder"):
        write_start(tmp_path, "toy")
    write_start(tmp_path / "not a name!.yaml", "toy")
    assert load_config(tmp_path / "not a name!.yaml").name == "toy"


@pytest.mark.parametrize("stem", ["2026", "null", "true", "1e3", "no"])
def test_names_that_yaml_reads_otherwise(tmp_path: Path, stem: str) -> None:
    assert load_config(write_start(tmp_path / f"{stem}.yaml", "toy")).name == stem


def test_names_that_a_shell_would_split(tmp_path: Path, saesweep: Command) -> None:
    done = saesweep("init", "my sweep #1.yaml")
    assert "`saesweep run 'my sweep #1.yaml' --dry-run`" in done.stdout
    assert load_config(tmp_path / "my sweep #1.yaml").name == "toy"
    with pytest.raises(UsageError, match="without control characters"):
        write_start(tmp_path / "a\nb.yaml", "toy")
