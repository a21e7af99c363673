"""saesweep: train grids of sparse autoencoders and see what each one learned.

>>> import saesweep
>>> config = saesweep.parse_config('''
... data: {activation_dim: 3, n_features: 6, mean_active: 1}
... grid: {l1: [0.01, 0.1], dict_ratio: [4]}
... train: {epochs: 20, batch_size: 256}
... ''')
>>> run = saesweep.run(config, out=tmp_path)
>>> [row["state"] for row in run.metrics()]
['done', 'done']
>>> run.sae("l1=0.1_dict=24").W_dec.shape
torch.Size([24, 3])
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saesweep.version import __version__

if TYPE_CHECKING:
    from saesweep.config import SweepConfig
    from saesweep.config_file import load_config, parse_config
    from saesweep.dictionaries.sae import SAE
    from saesweep.errors import (
        ConfigError,
        Interrupted,
        RunError,
        SaesweepError,
        StorageError,
        UsageError,
    )
    from saesweep.figures.gifs import draw_gifs
    from saesweep.figures.stills import draw_stills
    from saesweep.grid import Cell
    from saesweep.notebook import Animation, Run
    from saesweep.reporting import Reporter

_HOMES = {
    "Animation": "saesweep.notebook",
    "Cell": "saesweep.grid",
    "ConfigError": "saesweep.errors",
    "Interrupted": "saesweep.errors",
    "Reporter": "saesweep.reporting",
    "Run": "saesweep.notebook",
    "RunError": "saesweep.errors",
    "SAE": "saesweep.dictionaries.sae",
    "SaesweepError": "saesweep.errors",
    "StorageError": "saesweep.errors",
    "SweepConfig": "saesweep.config",
    "UsageError": "saesweep.errors",
    "draw_gifs": "saesweep.figures.gifs",
    "draw_stills": "saesweep.figures.stills",
    "load_config": "saesweep.config_file",
    "parse_config": "saesweep.config_file",
}

__all__ = [
    "SAE",
    "Animation",
    "Cell",
    "ConfigError",
    "Interrupted",
    "Reporter",
    "Run",
    "RunError",
    "SaesweepError",
    "StorageError",
    "SweepConfig",
    "UsageError",
    "__version__",
    "draw_gifs",
    "draw_stills",
    "load_config",
    "parse_config",
    "resume",
    "run",
]


def run(
    config: SweepConfig | str | Path,
    *,
    out: str | Path = "outputs",
    name: str | None = None,
    changes: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> Run:
    """Train the grid of ``config`` (a config, or the path of one) and return its run.

    ``changes`` are overrides, as ``["train.lr=3e-4", "jobs.fail_fast=true"]``, or a single one.
    Does what ``saesweep run`` does. A cell that fails does not raise: see the ``state`` column of
    ``Run.metrics()``.
    Raises ``ConfigError`` for a wrong config, ``RunError`` where ``out/name`` exists,
    ``StorageError`` where the disk refuses. An interrupt writes checkpoints first.
    """
    from saesweep.config import SweepConfig
    from saesweep.config_file import changed, load_config
    from saesweep.notebook import Run
    from saesweep.sweep import new_run, run_sweep

    changes = [changes] if isinstance(changes, str) else changes
    if isinstance(config, str | Path):
        loaded = load_config(config, changes)
    elif isinstance(config, SweepConfig):
        loaded = changed(config, changes) if changes else config
    else:
        raise TypeError(f"config should be a SweepConfig or a path, not {type(config).__name__}")
    return Run(run_sweep(new_run(loaded, out, name), reporter).run.path)


def resume(
    path: str | Path,
    *,
    changes: Sequence[str] = (),
    retry_failed: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Continue the run at ``path`` from its checkpoints, as ``saesweep resume`` does.

    ``changes`` are overrides of `jobs`, as ``["jobs.device=cuda:1", "jobs.stack=1"]``, or one.
    """
    from saesweep.notebook import Run
    from saesweep.sweep import run_sweep

    run = Run(path)
    settings = run.settings([changes] if isinstance(changes, str) else changes)
    run_sweep(run, reporter, settings=settings, retry_failed=retry_failed)
    return run


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # Imported on first use: `saesweep --help` should not wait for torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'saesweep' has no attribute {name!r}")
