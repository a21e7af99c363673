"""What of Python, torch, GPUs, extras, disk and permissions would stop a run, or slow it."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from saesweep import files
from saesweep.activations_config import ActivationsConfig
from saesweep.config import SweepConfig
from saesweep.errors import SaesweepError, UsageError
from saesweep.extras import is_installed
from saesweep.grid import expand, plan, snapshot_bytes
from saesweep.jobs.local import cores
from saesweep.jobs.slurm_queue import refuse_if_silent
from saesweep.reporting import counted
from saesweep.version import __version__

EXTRAS = {
    "report": (("plotly", "jinja2"), "saesweep report"),
    "notebook": (("pandas",), "Run.frame in notebooks"),
    "lm": (("transformers", "gguf", "accelerate"), "saesweep harvest"),
    "slurm": (("submitit",), "--backend slurm"),
    "ray": (("ray",), "--backend ray"),
    "tensorboard": (("tensorboard",), "jobs.loggers: [tensorboard]"),
    "wandb": (("wandb",), "jobs.loggers: [wandb]"),
}
"""By extra: the modules that it brings, and what they are for."""
LITTLE, TOO_LITTLE = 1 << 30, 50 << 20
"""Bytes of disk: a run of some hundred cells with its figures takes less than the first."""

OWN_CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "note", "stop"]
    """``stop``: no run can be trained like this."""
    words: str


def examine(out: Path, config: SweepConfig | None = None) -> list[Finding]:
    """Look at this machine for runs that are kept in ``out``; with a config, for that run."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _torch,
        lambda: _disk(out),
        lambda: _permissions(out),
        _memory,
        _extras,
    ]
    if config is not None:
        checks.append(lambda: _config(config, out))
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("saesweep", "ok", f"{__version__}, Python {words}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "stop", f"cannot be imported: {_first_line(error)}")
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    built = torch.version.cuda
    if built is None:
        yield Finding("GPU", "note", "this torch is for the CPU alone; sweeps run on the CPU")
    elif not torch.cuda.is_available():
        words = f"torch is built for CUDA {built}, but finds no GPU or driver; see nvidia-smi"
        yield Finding("GPU", "note", words)
    else:
        for index in range(torch.cuda.device_count()):
            yield _gpu(index)


def _gpu(index: int) -> Finding:
    """Whether the GPU works, which takes a product to know: drivers and kernels may not fit."""
    import torch

    name = torch.cuda.get_device_name(index)
    try:
        free, total = torch.cuda.mem_get_info(index)
        square = torch.ones(8, 8, device=f"cuda:{index}")
        works = bool((square @ square == 8).all())
    except RuntimeError as error:
        return Finding(f"cuda:{index}", "stop", f"{name}: {_first_line(error)}")
    state: Literal["ok", "stop"] = "ok" if works else "stop"
    words = f"{name}, {_size(free)} of {_size(total)} free"
    return Finding(f"cuda:{index}", state, words if works else f"{name}: computes wrong products")


def _disk(out: Path) -> Iterator[Finding]:
    where = _existing(out)
    if not where.is_dir():
        return  # `_permissions` says so
    free = shutil.disk_usage(where).free
    state: Literal["ok", "note", "stop"] = "ok"
    if free < LITTLE:
        state = "stop" if free < TOO_LITTLE else "note"
    yield Finding("disk", state, f"{_size(free)} free at {where}")


def _permissions(out: Path) -> Iterator[Finding]:
    """Do once what a run does all the time: write, flush, rename and lock files in ``out``."""
    from filelock import FileLock, Timeout

    where = _existing(out)
    if not where.is_dir():
        yield Finding("outputs", "stop", f"{where}: runs are kept in a folder, and this is none")
        return
    try:
        with tempfile.TemporaryDirectory(dir=where, prefix=files.TEMPORARY) as folder:
            files.write_text(Path(folder) / "file", "whole")
            with FileLock(Path(folder) / "lock", timeout=5):
                pass
    except (OSError, Timeout, SaesweepError, NotImplementedError) as error:
        why = error.strerror if isinstance(error, OSError) else _first_line(error)
        yield Finding("outputs", "stop", f"{where}: {why}; choose another --out")
    else:
        yield Finding("outputs", "ok", f"{where}: files can be written, renamed and locked")


def _memory() -> Iterator[Finding]:
    free = _free_memory()
    if free is not None:
        state: Literal["ok", "note"] = "ok" if free > 2 << 30 else "note"
        yield Finding("memory", state, f"{_size(free)} free, {counted(cores(), 'core')}")


def _extras() -> Iterator[Finding]:
    for extra, (modules, use) in EXTRAS.items():
        missing = [name for name in modules if not is_installed(name)]
        if missing:
            words = f"not installed, for {use}: pip install 'saesweep[{extra}]'"
            yield Finding(extra, "note", words)
        elif extra == "slurm" and (why := _no_cluster()):
            yield Finding(extra, "note", f"{_versions(modules)}, but {why}")
        else:
            yield Finding(extra, "ok", f"{_versions(modules)}, for {use}")


def _no_cluster() -> str:
    """Why SLURM takes no jobs of this machine; empty if it does."""
    if shutil.which("sbatch") is None:
        return "no sbatch on this machine"
    try:
        refuse_if_silent()
    except UsageError as error:
        return str(error).removeprefix("backend slurm: ")
    return ""


def _config(config: SweepConfig, out: Path) -> Iterator[Finding]:
    """Whether the run of ``config`` finds what it needs: device, extras, data, memory, disk."""
    from saesweep.data.sources import rows_of
    from saesweep.jobs.backends import backend
    from saesweep.training.loggers import refuse_missing

    try:
        place = backend(config.jobs)
        slots = place.slots
        refuse_missing(config.jobs)
        if isinstance(config.data, ActivationsConfig):
            rows_of(config.data)
    except SaesweepError as error:
        yield Finding(config.name, "stop", _first_line(error))
        return
    cells = expand(config)
    needed = max(job.bytes for job in plan(config, cells, config.jobs.stack, slots))
    room, here = _free_memory(), place.device == "cpu" and config.jobs.backend == "local"
    short = here and room is not None and needed > room
    words = f"{len(cells)} cells, {place.describe()}; a job takes about {_size(needed)} of memory"
    yield Finding(config.name, "stop" if short else "ok", words)
    kept = sum(snapshot_bytes(config, cell) + _weights(config, cell.dict_size) for cell in cells)
    where = _existing(out)
    full = where.is_dir() and kept > shutil.disk_usage(where).free
    words = f"its snapshots and weights take about {_size(kept)} of disk"
    yield Finding(config.name, "stop" if full else "ok", words)


def _weights(config: SweepConfig, dict_size: int) -> int:
    """Bytes of an autoencoder, and of a checkpoint with two moments while it trains."""
    return 4 * 4 * 2 * dict_size * config.data.activation_dim


def _existing(path: Path) -> Path:
    """``path``, or the nearest above it that is there: a folder, if runs can be kept in it."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


def _free_memory() -> int | None:
    """Bytes that a new process may take; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next(line for line in lines if line.startswith("MemAvailable"))
        return min([int(found.split()[1]) * 1024, *_left_of_limits()])
    except (OSError, StopIteration, ValueError):
        return None


def _left_of_limits(own: Path = OWN_CGROUP, root: Path = CGROUPS) -> Iterator[int]:
    """Bytes left of the limits that a container or SLURM sets: of the process's cgroups (v2)."""
    with contextlib.suppress(OSError):
        for line in own.read_text("ascii").splitlines():
            group = root / line.partition("::/")[2]
            for one in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # "max": it has no limit
                    limit = int((one / "memory.max").read_text("ascii"))
                    used = int((one / "memory.current").read_text("ascii"))
                    yield max(0, limit - used + _cached(one))


def _cached(group: Path) -> int:
    """Bytes of files that the kernel keeps as long as nobody wants the room."""
    lines = (group / "memory.stat").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _versions(modules: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in modules)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(of unknown version)"


def _size(count: float) -> str:
    """Bytes in words.

    >>> _size(512), _size(3 << 30)
    ('512 B', '3.0 GiB')
    """
    if count < 1024:
        return f"{count:.0f} B"
    power = min(4, int(math.log2(count) // 10))
    return f"{count / 1024**power:.1f} {' KMGT'[power]}iB"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
