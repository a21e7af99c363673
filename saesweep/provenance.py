"""Where a run's numbers come from: ``provenance.json``."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from saesweep.errors import RunError
from saesweep.files import read_json, sha256, write_json
from saesweep.run_folder import Run
from saesweep.version import __version__

PACKAGES = ("torch", "numpy", "scikit-learn", "scipy", "safetensors", "pydantic")


def write(run: Run, device: str) -> None:
    """Write the versions, machine, code and command that ``run`` is being trained with.

    What it was trained with before stays: a resumed run keeps its first entry, and a list of the
    later ones under ``resumed``.
    """
    path = run.path / "provenance.json"
    now = _facts(run, device)
    try:
        first = read_json(path)
        write_json(path, first | {"resumed": [*first.get("resumed", []), now]})
    except RunError:  # none there yet, or not readable
        write_json(path, now)


def device_kind(run: Run) -> str | None:
    """What ``run`` was first trained on: ``cpu`` or ``cuda``; None if that is not known."""
    try:
        kind = read_json(run.path / "provenance.json")["device"]["kind"]
        return str(kind).partition(":")[0]
    except (RunError, LookupError, TypeError):
        return None


def is_edited(run: Run) -> bool:
    """Whether ``config.yaml`` is another than the one that ``run`` began with."""
    try:
        began_with = read_json(run.path / "provenance.json")["config_sha256"]
    except (RunError, LookupError):
        return False
    return bool(began_with != sha256(run.path / "config.yaml"))


def _facts(run: Run, device: str) -> dict[str, Any]:
    return {
        "saesweep": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": _device_name(device),
        "git": _git(),
        "command": sys.argv,
        "seed": run.config.seed,
        "config_sha256": sha256(run.path / "config.yaml"),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: str) -> dict[str, Any]:
    import torch

    if device.startswith("cuda"):
        return {"kind": device, "name": torch.cuda.get_device_name(device)}
    return {
        "kind": device,
        "name": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _git() -> dict[str, Any] | None:
    """The commit of the code and whether it was changed since; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        if git("ls-files", "--", __file__).strip():
            return {
                "commit": git("rev-parse", "HEAD").strip(),
                "dirty": bool(git("status", "--porcelain")),
            }
    except (OSError, subprocess.SubprocessError):
        pass
    return None
