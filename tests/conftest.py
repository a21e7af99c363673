"""A sweep small enough to train in every test, and the command line as a user has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.run_folder import Run

SMALL = """
name: small
data: {activation_dim: 3, n_features: 4, mean_active: 1, correlation: batch}
grid: {l1: [0.01, 0.1], dict_ratio: [2, 4]}
train: {epochs: 20, batch_size: 128}
snapshot_every: 5
eval: {n_samples: 1000}
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def small() -> SweepConfig:
    """Four cells, twenty steps."""
    return parse_config(SMALL)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """The same in a file, without figures, which would take most of the time."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL + "jobs: {plot: false}\n")
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the small sweep. Tests only read it."""
    from saesweep.sweep import run_sweep

    out = tmp_path_factory.mktemp("finished")
    return run_sweep(Run.create(parse_config(SMALL), out)).run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of this process draw no figures, which take most of the time of small ones."""
    monkeypatch.setattr("saesweep.sweep.draw_stills", lambda run, report: [])


@pytest.fixture
def saesweep(tmp_path: Path) -> Command:
    """Runs the command line in a subprocess, in an empty folder, without a terminal."""

    def call(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "saesweep", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "80", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call
