"""Where a run's numbers come from: ``provenance.json``."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from saesweep.errors import RunError
from saesweep.files import read_json, write_json
from saesweep.run_folder import Run
from saesweep.version import FORMAT, __version__

PACKAGES = ("torch", "numpy", "scikit-learn", "scipy", "safetensors", "pydantic")


MOST_DIFF = 1 << 20
"""Characters of uncommitted changes that are kept."""


def write(run: Run, device: str) -> None:
    """Write the versions, machine, code and command that ``run`` is being trained with.

    What it was trained with before stays: a resumed run keeps its first entry, and a list of the
    later ones under ``resumed``.
    """
    path = run.path / "provenance.json"
    now = _facts(run, device)
    before = first(run)
    if before is not None:
        earlier = before.get("resumed")
        write_json(
            path, before | {"resumed": [*(earlier if isinstance(earlier, list) else []), now]}
        )
    else:
        if os.path.lexists(path):  # it cannot be read, but perhaps by a person
            path.replace(path.with_name("provenance.damaged.json"))
        write_json(path, now)


def first(run: Run) -> dict[str, Any] | None:
    """What ``run`` was first trained with; None if that is not known."""
    try:
        return read_json(run.path / "provenance.json")
    except RunError:
        return None


def device_kind(facts: Mapping[str, Any]) -> str | None:
    """The kind of device in ``facts``: ``cpu`` or ``cuda``; None if they do not say."""
    device = facts.get("device")
    kind = device.get("kind") if isinstance(device, dict) else None
    return kind.partition(":")[0] if isinstance(kind, str) else None


def _facts(run: Run, device: str) -> dict[str, Any]:
    return {
        "saesweep": __version__,
        "format": FORMAT,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "device": _device(device),
        "git": _git(),
        "command": sys.argv,
        "seed": run.config.seed,
        "cell_seeds": sorted({cell.seed for cell in run.cells}),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": run.config.model_dump(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(device: str) -> dict[str, Any]:
    """What cells are trained on. On a cluster this machine need not have it; results name it."""
    import torch

    if device == "cpu":
        processor = platform.processor() or platform.machine()
        return {"kind": device, "name": processor, "threads": torch.get_num_threads()}
    count = torch.cuda.device_count()
    chosen = [int(device.partition(":")[2])] if ":" in device else range(count)
    names = [torch.cuda.get_device_name(i) for i in chosen if i < count]
    return {"kind": device, "name": ", ".join(dict.fromkeys(names)), "count": len(names)}


def _git() -> dict[str, Any] | None:
    """The commit of the code and how it was changed since; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, timeout=10
        ).stdout

    try:
        if git("ls-files", "--", __file__).strip():
            return {
                "commit": git("rev-parse", "HEAD").strip(),
                "dirty": bool(git("status", "--porcelain")),
                "diff": git("diff", "HEAD")[:MOST_DIFF],
            }
    except (OSError, subprocess.SubprocessError):
        pass
    return None
