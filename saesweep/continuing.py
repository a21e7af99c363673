"""What must not have changed when a run is continued: two sweeps in one folder prove nothing."""

from __future__ import annotations

import os

import numpy as np
import torch
from pydantic import ValidationError

from saesweep import provenance
from saesweep.config import SweepConfig
from saesweep.config_checks import flat
from saesweep.data.activations import ActivationSource
from saesweep.data.batch import Source
from saesweep.data.ground_truth import ground_truth
from saesweep.data.synthetic import SyntheticSource
from saesweep.errors import RunError, UsageError
from saesweep.files import Row, read_json, write_json, write_tensors
from saesweep.grid import differences
from saesweep.run_folder import Run
from saesweep.version import FORMAT, __version__

FREE = {"name", "jobs"}
"""Sections of a config that may change on the way, as no number depends on them."""
MOST_SHOWN = 8
"""Differences that an error lists."""


def refuse_to_mix(run: Run, device: str) -> None:
    """Refuse to continue ``run`` in another format, with another config, or on another device.

    The kind of device matters, as its generator draws other batches. ``UsageError`` says what
    differs.
    """
    _refuse_other_cells(run)
    began = provenance.first(run)
    if began is None:
        return
    if began.get("format", FORMAT) != FORMAT:
        raise UsageError(
            f"{run.path}: in format {began['format']}, written by saesweep "
            f"{began.get('saesweep')}; saesweep {__version__} continues format {FORMAT}"
        )
    if _began_at_zero(began.get("config")):
        raise UsageError(
            f"{run.path}: begun by a saesweep whose decoder biases start at 0, and not at the "
            "geometric median of activations: start a new run"
        )
    changes = _changes(began.get("config"), run.config)
    if changes:
        raise UsageError(
            f"{run.path}/config.yaml was edited after the run began, and would mix two sweeps: "
            f"{_shown(changes)}\nrestore it, or start a new run with it"
        )
    before = provenance.device_kind(began)
    if before is not None and before != device.partition(":")[0]:
        raise UsageError(
            f"{run.path}: trained on {before} before, and {device} would draw other batches: "
            f"continue it with --device {before}"
        )


def _refuse_other_cells(run: Run) -> None:
    """Refuse if a cell was begun with other hyperparameters than the config gives it now."""
    for cell in run.cells:
        path = run.folder(cell).path / "cell.json"
        if not os.path.isfile(path):
            continue
        try:
            changes = cell.differences(read_json(path))
        except RunError:
            continue  # damaged: its result, if there is one, says so by its hash
        if changes and run.folder(cell).state() != "damaged":
            raise UsageError(
                f"{path}: the cell was begun with other settings than {run.path}/config.yaml has: "
                f"{_shown(changes)}\nrestore the config, or start a new run with it"
            )


def _changes(began: object, config: SweepConfig) -> list[str]:
    """What changed of the config that a run ``began`` with, as far as its provenance can tell."""
    if not isinstance(began, dict) or not isinstance(began.get("grid"), dict):
        return []
    before, now = (
        # The order of the axes is in the names of the cells.
        {"the order of axes": [*one["grid"]]}
        | flat({key: value for key, value in one.items() if key not in FREE})
        for one in (_with_later_keys(began), config.model_dump())
    )
    return differences(before, now)


def _began_at_zero(began: object) -> bool:
    """Whether a run ``began`` with decoder biases, before model.project_gradient came to be."""
    if not isinstance(began, dict) or not isinstance(model := began.get("model"), dict):
        return False
    grid = began.get("grid")
    biases = grid.get("model.decoder_bias", []) if isinstance(grid, dict) else []
    return "project_gradient" not in model and True in [model.get("decoder_bias"), *biases]


def _with_later_keys(began: Row) -> Row:
    """The config that a run began with, with keys that came later as they were then: by default."""
    try:
        return SweepConfig.model_validate(began).model_dump()
    except ValidationError:
        return began


def _shown(changes: list[str]) -> str:
    return "; ".join(changes[:MOST_SHOWN]) + ("; …" if len(changes) > MOST_SHOWN else "")


def keep_data(run: Run, source: Source) -> None:
    """Write what a run keeps of its data, or see that it is what ``source`` gives.

    ``UsageError`` where it is not: cells that are done were measured on other data. A file that
    cannot be read is written again.
    """
    if isinstance(source, ActivationSource):
        _keep_activations(run, source)
    elif isinstance(source, SyntheticSource):
        keep_ground_truth(run, source)


def _keep_activations(run: Run, source: ActivationSource) -> None:
    """Write ``data/activations.json``: which shards; and ``data/normalization.safetensors``."""
    facts = source.shards.facts()
    path = run.path / "data" / "activations.json"
    try:
        before = read_json(path)
    except RunError:
        before = {}
    if before and before != facts:
        changes = differences(flat(before), flat(facts))
        raise UsageError(f"{path}: the shards are not those that it began with: {_shown(changes)}")
    source.shards.verify()
    normalization = source.normalization
    mean, scale = normalization.mean, torch.tensor(normalization.scale, dtype=torch.float64)
    write_tensors(run.path / "data" / "normalization.safetensors", {"mean": mean, "scale": scale})
    write_json(path, facts)


def keep_ground_truth(run: Run, source: SyntheticSource) -> None:
    """Write ``data/ground_truth.safetensors``, or see that it is what ``source`` draws.

    ``UsageError`` where it is not. One that cannot be read is written again.
    """
    truth = ground_truth(source, source.evaluation_set(run.config.eval.n_samples))
    path = run.path / "data" / "ground_truth.safetensors"
    try:
        before = run.ground_truth()
    except RunError:
        before = {}
    for name in ("features", "probabilities", "sample_x") if before else ():
        # Other processors round differently, so not bit for bit.
        if name not in before or not _close(before[name], truth[name].numpy()):
            raise UsageError(
                f"{path}: its {name} are not those that this config draws with saesweep "
                f"{__version__}: the file was replaced, or another version made it"
            )
    if set(before) != set(truth):
        write_tensors(path, truth)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-6)
