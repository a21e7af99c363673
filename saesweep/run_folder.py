"""A run on disk: every path and record under ``outputs/<run>``."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import json
import math
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saesweep import config_file, files, locks
from saesweep.catalogue import METRICS, OF_LANGUAGE_MODELS
from saesweep.cell_folder import CellFolder
from saesweep.config import NAME, NAME_RULE, JobsConfig, SweepConfig
from saesweep.errors import ConfigError, RunError, StorageError, UsageError
from saesweep.files import Arrays, Row
from saesweep.grid import Cell, expand
from saesweep.sparsity import SparsityAxis

if TYPE_CHECKING:
    from torch import Tensor

    from saesweep.data.activations import Normalization
    from saesweep.dictionaries.sae import SAE


class Run:
    """A run folder. ``Run("outputs/run1")`` opens one that exists; `Run.create` makes one.

    Raises ``RunError`` where a folder is not a run or a record of it cannot be read, and
    ``StorageError`` where the disk refuses a write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        config = self.path / "config.yaml"
        if not os.path.isdir(self.path):
            raise RunError(f"{self.path}: there is no such run; `saesweep run CONFIG` makes one")
        if not os.path.lexists(config):
            raise RunError(
                f"{self.path}: not a run, or one that was stopped before it began: "
                "it has no config.yaml; start again with `saesweep run CONFIG`"
            )
        if os.path.exists(config) and not os.path.isfile(config):
            raise RunError(f"{config}: cannot be read: not a regular file")
        try:
            self.config: SweepConfig = config_file.load_config(config)
        except ConfigError as error:
            raise RunError(
                f"{error}\n{self.path}: its config was damaged or edited, or needs a package "
                "(of a variant) that is not installed here"
            ) from None
        self.cells: list[Cell] = expand(self.config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @classmethod
    def create(
        cls, config: SweepConfig, out: str | Path = "outputs", name: str | None = None
    ) -> Run:
        """Make the folder ``out/name`` for ``config``; without a name the first free ``runN``."""
        if name is not None and not re.fullmatch(NAME, name):
            raise UsageError(f"--name {name}: should be {NAME_RULE}")
        if os.path.lexists(out) and not os.path.isdir(out):
            raise UsageError(f"{out}: runs are kept in a folder, and this is none")
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
            path = _claim(Path(out), name)
        except FileExistsError as error:
            is_run = os.path.exists(os.path.join(error.filename, "config.yaml"))
            how = f", or continue it with `saesweep resume {error.filename}`" if is_run else ""
            raise RunError(
                f"{error.filename}: exists already; choose another --name{how}"
            ) from None
        except OSError as error:
            raise StorageError(f"{error.filename}: cannot be made: {error.strerror}") from None
        try:
            files.write_text(path / "config.yaml", config_file.dump_config(config))
        except StorageError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path)

    def settings(self, overrides: Sequence[str]) -> JobsConfig:
        """Its `jobs`, with ``overrides`` like ``jobs.device=cpu``: nothing else may change."""
        for override in overrides:
            if not override.startswith("jobs."):
                raise UsageError(
                    f"--set {override}: a run goes on with the config that it began with; "
                    "only keys of jobs may change, as jobs.device=cpu"
                )
        return config_file.load_config(self.path / "config.yaml", overrides).jobs

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.resolve().name

    @property
    def figures_dir(self) -> Path:
        """Where its still figures are."""
        return self.path / "figures"

    @property
    def gifs_dir(self) -> Path:
        """Where its animations are."""
        return self.path / "gifs"

    @property
    def metrics_dir(self) -> Path:
        """Where its tables are."""
        return self.path / "metrics"

    # Cells

    def cell(self, name: Cell | str) -> Cell:
        """The cell called ``name``, which may be the cell itself."""
        if isinstance(name, Cell):
            return name
        name = str(name)
        if name not in self._by_name:
            close = difflib.get_close_matches(name, self._by_name, 1)
            hint = f"; did you mean {close[0]}?" if close else ";"
            some = ", ".join(list(self._by_name)[:4]) + (", …" if len(self.cells) > 4 else "")
            raise RunError(f"{self.path}: no cell {name!r}{hint} its cells are {some}")
        return self._by_name[name]

    def matching(self, patterns: Sequence[str]) -> list[Cell]:
        """The cells whose names match one of ``patterns``, as ``l1=0.1_*``, in grid order."""
        for pattern in patterns:
            if not fnmatch.filter(self._by_name, pattern):
                self.cell(pattern)  # says which there are
        return [cell for cell in self.cells if any(fnmatch.fnmatch(cell.name, p) for p in patterns)]

    @cached_property
    def _by_name(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.cells}

    def folder(self, cell: Cell | str) -> CellFolder:
        """The records of a cell."""
        cell = self.cell(cell)
        return CellFolder(self.path / "cells" / cell.name, cell)

    def state(self, cell: Cell | str, running: Collection[str]) -> str:
        """What has become of a cell: as `CellFolder.state`, but of those that wait, ``running``
        where it is in `running`, and ``interrupted`` where it was begun and no job has it now.

        Whether it stands in the queue of a cluster is not asked: `saesweep status` does.
        """
        folder = self.folder(cell)
        state = folder.state()
        if state != "waiting":
            return state
        if folder.cell.name in running:
            return "running"
        return "interrupted" if folder.is_begun() else "waiting"

    def history(self, cell: Cell | str) -> Arrays:
        """The columns of a cell's ``history.csv``, [snapshots] each."""
        with self._explained(cell):
            return self.folder(cell).history()

    def snapshots(self, cell: Cell | str) -> Arrays:
        """A cell's dictionary over time (see `metrics.tracking.Track.tensors`)."""
        with self._explained(cell):
            return self.folder(cell).snapshots()

    @contextmanager
    def _explained(self, cell: Cell | str) -> Iterator[None]:
        """Say of a cell whose records cannot be read how it is, unless it is done."""
        try:
            yield
        except RunError as error:
            name, state = self.cell(cell).name, self.state(cell, self.running())
            if state == "done":
                raise
            raise RunError(f"{self.path}: cell {name} is {state}; {error}") from None

    def sae(self, cell: Cell | str) -> SAE:
        """The trained autoencoder of a cell, on the CPU."""
        import torch

        from saesweep.dictionaries.sae import SAE
        from saesweep.dictionaries.variants import variant_of

        cell = self.cell(cell)
        path = self.folder(cell).path / "sae.safetensors"
        with self._explained(cell):
            tensors = {name: torch.from_numpy(a) for name, a in files.read_arrays(path).items()}
        try:
            return SAE.of(tensors, variant_of(cell.variant, cell.model, [cell.sparsity]))
        except LookupError:
            raise RunError(f"{path}: damaged: not the weights of an autoencoder") from None

    # Tables

    def metrics(self) -> list[Row]:
        """One row a cell: name, hyperparameters, state, and every metric (NaN until it is known).

        ``pandas.DataFrame(run.metrics())`` makes a table of it.
        """
        across, running = self._across_cells(), self.running()
        for name, found in self._recovered().items():
            across[name] = {**across.get(name, {}), **found}
        return [
            self._row(cell, self.state(cell, running), across.get(cell.name, {}))
            for cell in self.cells
        ]

    def _row(self, cell: Cell, state: str, across: Row) -> Row:
        done = state == "done"
        known = {**self.folder(cell).result()["metrics"], **across} if done else {}
        values = {key: known.get(key, math.nan) for key in METRICS}
        return {**self.describe(cell), "state": state, **values}

    def describe(self, cell: Cell) -> Row:
        """The columns that say which cell a row is about."""
        return {
            "cell": cell.name,
            **{axis.column: math.nan for axis in self.sparsity_axes},
            cell.axis.column: cell.sparsity,
            "dict_size": cell.dict_size,
            "dict_ratio": cell.dict_size / self.config.data.ratio_unit[0],
            **dict.fromkeys(self._extra_axes, ""),
            **cell.extra,
            "loss": cell.train.loss,
        }

    @cached_property
    def sparsity_axes(self) -> list[SparsityAxis]:
        """Those on which its cells have values, in the order of the cells."""
        return list(dict.fromkeys(cell.axis for cell in self.cells))

    @cached_property
    def _extra_axes(self) -> list[str]:
        """The axes other than sparsity and size of any cell: not every variant has them all."""
        return list(dict.fromkeys(axis for cell in self.cells for axis in cell.extra))

    def _across_cells(self) -> dict[str, Row]:
        """The metrics that compare cells, as `metrics.collect` left them in ``metrics.csv``."""
        path = self.metrics_dir / "metrics.csv"
        keys = ("mmcs_larger", "mmcs_next_larger", "stability")
        try:
            # The tables of saesweep 0.1 have no stability.
            rows = [{"stability": math.nan, **row} for row in files.read_rows(path)]
            return {row["cell"]: {key: float(row[key]) for key in keys} for row in rows}
        except (RunError, LookupError, ValueError, OverflowError):
            return {}  # missing or damaged: `collect` makes it again

    def recovered(self) -> list[Row]:
        """The rows of ``metrics/recovered.csv`` (see `harvesting.recovered`); none if not there."""
        path = self.metrics_dir / "recovered.csv"
        return files.read_rows(path) if os.path.exists(path) else []

    def _recovered(self) -> dict[str, Row]:
        """By cell, the metrics that took the language model."""
        try:
            return {
                row["cell"]: {key: float(row[key]) for key in OF_LANGUAGE_MODELS}
                for row in self.recovered()
            }
        except (RunError, LookupError, ValueError, TypeError):
            return {}  # damaged: the next sweep measures again

    def baselines(self) -> list[Row]:
        """The rows of ``metrics/baselines.csv``; none if it is not there."""
        path = self.metrics_dir / "baselines.csv"
        if not os.path.exists(path):
            return []
        try:
            rows = files.read_rows(path)
            if not all(map(_is_baseline, rows)):
                raise RunError(f"{path}: damaged: not rows of baselines")
        except RunError as error:
            again = f"; `saesweep resume {self.path}` makes it again"
            raise RunError(f"{error}{again if os.path.isfile(path) else ''}") from None
        return rows

    def imported(self) -> list[Row]:
        """One row for each autoencoder that others trained and `saesweep import` brought in.

        Columns are those of `metrics`; ``cell`` is ``imported/<name>``.
        """
        paths = sorted((self.path / "imported").glob("[!.]*/result.json"))
        return [self._imported(path) for path in paths]

    def _imported(self, path: Path) -> Row:
        found = files.read_json(path)
        metrics, size = found.get("metrics"), found.get("dict_size")
        if not isinstance(metrics, dict) or not isinstance(size, int):
            raise RunError(f"{path}: damaged: it has no metrics; import it again")
        try:
            known = {k: math.nan if (x := metrics.get(k)) is None else float(x) for k in METRICS}
            ratio = size / self.config.data.ratio_unit[0]
        except (TypeError, ValueError, OverflowError):
            raise RunError(f"{path}: damaged: a metric is no number; import it again") from None
        return {
            "cell": f"imported/{path.parent.name}",
            **{axis.column: math.nan for axis in self.sparsity_axes},
            "dict_size": size,
            "dict_ratio": ratio,
            **dict.fromkeys(self._extra_axes, ""),
            "loss": "",
            "state": "done",
            **known,
        }

    # The truth

    def ground_truth(self) -> Arrays:
        """The arrays of ``data/ground_truth.safetensors`` (see `data.ground_truth`)."""
        if not self.config.data.n_features:
            raise UsageError(
                f"{self.path}: its data are activations: no true feature is known to draw by;\n"
                f"`saesweep plot {self.path}` and `saesweep results {self.path}` show what is"
            )
        try:
            return files.read_arrays(self.path / "data" / "ground_truth.safetensors")
        except RunError as error:
            hint = f"`saesweep resume {self.path}` makes it again"
            raise RunError(f"{error}; {hint}") from None

    def features(self) -> Tensor:
        """The true features [n_features, d_in], unit rows."""
        import torch

        arrays = self.ground_truth()
        if "features" not in arrays:
            raise RunError(f"{self.path}: its ground truth is damaged: it has no features")
        return torch.from_numpy(arrays["features"])

    # Activations

    def normalization(self) -> Normalization | None:
        """How the activations of the run were centred and scaled; None where they were not."""
        import torch

        from saesweep.data.activations import Normalization

        path = self.path / "data" / "normalization.safetensors"
        if not os.path.lexists(path):
            return None
        arrays = files.read_arrays(path)
        try:
            return Normalization(torch.from_numpy(arrays["mean"]), float(arrays["scale"]))
        except (LookupError, ValueError, TypeError):
            raise RunError(f"{path}: damaged: not a mean and a scale") from None

    # Events

    def record(self, event: str, **facts: Any) -> None:
        """Append an event to ``events.jsonl``."""
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts}
        files.append_line(self.path / "events.jsonl", json.dumps(entry))

    def events(self) -> list[Row]:
        """What happened, oldest first. Lines that are torn or damaged are left out."""
        events = []
        with contextlib.suppress(OSError):
            text = (self.path / "events.jsonl").read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    events.append(json.loads(line))
        return [event for event in events if isinstance(event, dict)]

    def fail(self, cell: Cell, reason: str, details: str = "") -> None:
        """Record why ``cell`` failed."""
        self.folder(cell).fail(reason, details)
        self.record("cell_failed", cell=cell.name, reason=reason)

    # Who writes it

    def lock(self, timeout: float = 1, **facts: Any) -> AbstractContextManager[str]:
        """Hold the run for a sweep, whose token it gives; ``RunError`` if another process does.

        ``timeout`` is in seconds: one is enough to let a ``status`` pass. ``facts`` are for
        `sweep_facts`.
        """
        return locks.sweep_lock(self.path, facts, timeout)

    def sweep_facts(self) -> Row:
        """What the last sweep said of itself: ``pid``, ``host``, ``jobs``: its settings, …"""
        return locks.holder(self.path)

    def is_locked(self) -> bool:
        """Whether some process is writing the run now."""
        return locks.is_held(self.path)

    def claim(
        self, cells: Sequence[Cell], token: str | None = None
    ) -> AbstractContextManager[None]:
        """Hold ``cells`` for a job of the sweep with ``token`` (see `locks.claim`)."""
        return locks.claim(self.path, [cell.name for cell in cells], token)

    def running(self) -> dict[str, locks.Claim]:
        """The cells that some job is training now, and that job."""
        return {name: claim for claim in locks.claims(self.path) for name in claim.cells}

    def sweep_up(self) -> None:
        """Remove the unfinished files that a killed process left. Only under the lock."""
        for cell in self.cells:
            folder = self.folder(cell)
            if folder.checkpoints() and folder.state() == "done":
                folder.drop_checkpoints()
        files.sweep_up(self.path)


def _is_baseline(row: Row) -> bool:
    numbers = [row.get("dict_size"), *(row.get(key, math.nan) for key in METRICS)]
    return "baseline" in row and all(map(_is_number, numbers))


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a number, and no integer that is too large for a float."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1e300)


def _claim(out: Path, name: str | None) -> Path:
    """Make a folder that was not there before, so that no two runs share one."""
    if name is not None:
        (out / name).mkdir()
        return out / name
    number = 1
    while True:
        try:
            (out / f"run{number}").mkdir()
            return out / f"run{number}"
        except FileExistsError:
            number += 1
