"""Where a run's numbers come from."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import torch

import saesweep
from saesweep import provenance
from saesweep.config import SweepConfig
from saesweep.continuing import refuse_to_mix
from saesweep.errors import UsageError
from saesweep.run_folder import Run


def written(config: SweepConfig, folder: Path) -> dict[str, object]:
    run = Run.create(config, folder / "outputs")
    provenance.write(run, "cpu")
    read: dict[str, object] = json.loads((run.path / "provenance.json").read_text())
    return read


def test_it_says_what_made_the_run(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["saesweep", "run", "a.yaml"])
    found = written(small.model_copy(update={"seed": 12}), tmp_path)
    assert found["saesweep"] == saesweep.__version__
    assert found["python"] == platform.python_version()
    assert found["command"] == ["saesweep", "run", "a.yaml"]
    assert found["seed"] == 12
    packages, device = found["packages"], found["device"]
    assert isinstance(packages, dict)
    assert packages["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(packages) == set(provenance.PACKAGES)
    assert None not in packages.values()
    assert isinstance(device, dict)
    assert (device["kind"], device["threads"]) == ("cpu", torch.get_num_threads())
    assert datetime.strptime(str(found["time"]), "%Y-%m-%dT%H:%M:%S%z").tzinfo


def test_a_package_that_is_not_installed_is_null(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    packages = written(small, tmp_path)["packages"]
    assert isinstance(packages, dict)
    assert packages["no-such-package"] is None


def git(folder: Path, *words: str) -> str:
    settings = ["user.name=a", "user.email=a@b", "commit.gpgsign=false"]
    given = [word for setting in settings for word in ("-c", setting)]
    command = ["git", "-C", str(folder), *given, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout in which the code is taken to be."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where a hook runs the tests
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    monkeypatch.setattr(provenance, "__file__", str(folder / "code.py"))
    return folder


def test_it_names_the_commit_and_whether_it_was_changed(
    checkout: Path, small: SweepConfig, tmp_path: Path
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert written(small, tmp_path)["git"] == {"commit": commit, "dirty": False, "diff": ""}
    (checkout / "code.py").write_text("x = 2\n")
    now = written(small, tmp_path)["git"]
    assert (now["commit"], now["dirty"]) == (commit, True)
    assert "+x = 2" in now["diff"]


def test_a_repository_that_the_code_is_not_part_of_is_not_named(
    checkout: Path, small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package is installed in a virtual environment inside a project.
    (checkout / "installed.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(checkout / "installed.py"))
    assert written(small, tmp_path)["git"] is None


def test_a_repository_without_a_commit_is_not_named(
    checkout: Path, small: SweepConfig, tmp_path: Path
) -> None:
    shutil.rmtree(checkout / ".git")
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    assert written(small, tmp_path)["git"] is None


def test_without_git_there_is_no_commit(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert written(small, tmp_path)["git"] is None


# Runs of earlier versions


def begun(config: SweepConfig, folder: Path) -> Path:
    """A run that began before there were other variants than relu, and other keys of training."""
    run = Run.create(config, folder)
    provenance.write(run, "cpu")
    path = run.path / "provenance.json"
    read = json.loads(path.read_text())
    kept = {
        "train": ("epochs", "steps_per_epoch", "batch_size", "lr", "loss"),
        "model": ("variant", "decoder_bias"),
    }
    for section, keys in kept.items():
        given = read["config"][section]
        read["config"][section] = {key: given[key] for key in keys}
    path.write_text(json.dumps(read))
    return run.path


def edited(path: Path, section: str, line: str) -> Run:
    """The run with a ``line`` more in a section of its config."""
    config = path / "config.yaml"
    key = line.partition(":")[0]
    lines = [old for old in config.read_text().splitlines() if old.strip().partition(":")[0] != key]
    lines.insert(lines.index(f"{section}:") + 1, f"  {line}")
    config.write_text("\n".join(lines) + "\n")
    return Run(path)


def test_a_run_from_before_there_were_other_keys_goes_on(
    small: SweepConfig, tmp_path: Path
) -> None:
    refuse_to_mix(Run(begun(small, tmp_path)), "cpu")


@pytest.mark.parametrize(
    ("section", "line", "said"),
    [
        ("model", "tied: true", "model.tied was False and is True"),
        ("model", "variant: gated", "model.variant was relu and is gated"),
        ("train", "revive: auxk", "train.revive was none and is auxk"),
        ("train", "lr: 0.5", "train.lr was 0.001 and is 0.5"),
    ],
)
def test_an_older_run_whose_config_was_edited_does_not_go_on(
    section: str, line: str, said: str, small: SweepConfig, tmp_path: Path
) -> None:
    path = begun(small, tmp_path)
    with pytest.raises(UsageError, match=f"was edited after the run began.*{said}"):
        refuse_to_mix(edited(path, section, line), "cpu")
