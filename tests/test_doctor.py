"""`saesweep doctor`: what would stop a run is found, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from saesweep import doctor
from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.doctor import Finding, examine

Command = Callable[..., "CompletedProcess[str]"]
Usage = namedtuple("Usage", "total used free")


def found(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


def test_a_machine_that_can_train_is_told_so(tmp_path: Path, saesweep: Command) -> None:
    done = saesweep("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("nothing would stop a run\n")
    assert torch.__version__ in done.stdout
    # A path is not broken.
    assert all(len(line) <= 80 or "/" in line for line in done.stdout.splitlines())
    assert list(tmp_path.iterdir()) == []
    data = json.loads(saesweep("doctor", "--json").stdout)
    assert data["stops"] == 0
    assert {"torch", "disk", "outputs"} <= {finding["what"] for finding in data["findings"]}


def test_a_config_is_looked_at_too(small: SweepConfig, tmp_path: Path) -> None:
    one, other = [finding for finding in examine(tmp_path, small) if finding.what == "small"]
    assert (one.state, other.state) == ("ok", "ok")
    assert one.words.startswith("4 cells, on cpu")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_stops_a_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert found(examine(tmp_path), "outputs").state == "stop"
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_outputs_stops_a_run(tmp_path: Path, saesweep: Command) -> None:
    (tmp_path / "outputs").write_text("")
    done = saesweep("doctor")
    assert done.returncode == 1
    assert "STOP  outputs" in done.stdout
    assert done.stdout.endswith("1 would stop a run: see STOP\n")


@pytest.mark.parametrize(
    ("free", "state"), [(1 << 20, "stop"), (200 << 20, "note"), (2 << 30, "ok")]
)
def test_little_disk_is_noted_and_too_little_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free, 0, free))
    assert found(examine(tmp_path), "disk").state == state


def test_a_torch_that_cannot_be_imported_stops_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert found(examine(tmp_path), "torch").state == "stop"


def test_a_driver_that_is_missing_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    finding = found(examine(tmp_path), "GPU")
    assert (finding.state, "nvidia-smi" in finding.words) == ("note", True)


def test_an_extra_that_is_missing_is_noted_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"fancy": (("no_such_module",), "fancy things")})
    finding = found(examine(tmp_path), "fancy")
    assert finding.state == "note"
    assert finding.words.endswith("pip install 'saesweep[fancy]'")


def test_what_a_config_lacks_stops_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = parse_config(
        "data: {source: activations, path: nowhere, activation_dim: 4}\n"
        "grid: {l1: [1], dict_ratio: [2]}\n"
    )
    finding = examine(tmp_path, nowhere)[-1]
    assert (finding.state, finding.words.partition(":")[0]) == ("stop", "nowhere")
    monkeypatch.setattr(doctor, "_free_memory", lambda: 1000)
    short = parse_config(
        "data: {activation_dim: 3, n_features: 4, mean_active: 1}\n"
        "grid: {l1: [1], dict_ratio: [2]}\n"
    )
    assert examine(tmp_path, short)[-2].state == "stop"


def test_a_wrong_config_is_a_finding(tmp_path: Path, saesweep: Command) -> None:
    (tmp_path / "wrong.yaml").write_text(
        "data: {activation_dim: 3, n_features: 4, mean_active: 1}\n"
        "grid: {l1: [much], dict_ratio: [2]}\ntrain: {lr: -1}\n"
    )
    done = saesweep("doctor", "wrong.yaml", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    data = json.loads(done.stdout)
    words = [one["words"] for one in data["findings"] if one["what"] == "config"]
    assert [one.partition(" ")[0] for one in words] == ["wrong.yaml:2:13:", "wrong.yaml:3:13:"]
    assert data["stops"] == 2


@pytest.mark.parametrize("place", ["file/sub", "file", "link/sub"])
def test_a_file_above_outputs_stops_a_run(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    finding = found(examine(tmp_path / place), "outputs")
    name = place.partition("/")[0]
    assert finding.state == "stop"
    assert finding.words == f"{tmp_path / name}: runs are kept in a folder, and this is none"


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    """Of the process's own group and of those above it, where they have one.

    What the kernel keeps of files that were read counts as free.
    """
    own, group = tmp_path / "own", tmp_path / "root" / "job_7" / "step"
    own.write_text("1:cpu:/elsewhere\n0::/job_7/step\n")
    group.mkdir(parents=True)
    for folder, limit in ((group, "max"), (group.parent, "5000")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("4000\n")
        (folder / "memory.stat").write_text("anon 500\ninactive_file 3000\nactive_file 9\n")
    assert [*doctor._left_of_limits(own, tmp_path / "root")] == [4000]
    (group / "memory.max").write_text("4100\n")
    assert [*doctor._left_of_limits(own, tmp_path / "root")] == [3100, 4000]
    assert [*doctor._left_of_limits(tmp_path / "nothing", tmp_path)] == []


def test_overrides_without_a_config_are_refused(saesweep: Command) -> None:
    done = saesweep("doctor", "--set", "train.lr=3")
    assert done.returncode == 2
    assert done.stderr == "error: --set is for a config: name its file, too\n"
