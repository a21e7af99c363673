"""Autoencoders that others trained, brought into a run and measured as its cells are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from saesweep import files
from saesweep.activations_config import ActivationsConfig
from saesweep.catalogue import METRICS, OF_LANGUAGE_MODELS
from saesweep.data.activations import Normalization
from saesweep.data.sources import source_of
from saesweep.dictionaries.sae import SAE
from saesweep.errors import RunError, UsageError
from saesweep.exchange import plain
from saesweep.exchange.export import settle
from saesweep.exchange.folding import normalization_of, of_normalised_activations
from saesweep.exchange.formats import recognised
from saesweep.exchange.parts import Handed
from saesweep.files import Row
from saesweep.metrics.evaluate import alone
from saesweep.metrics.totals import EvaluationSet
from saesweep.run_folder import Run
from saesweep.version import __version__

RESULT = "result.json"
NAME = "[A-Za-z0-9][A-Za-z0-9.,_=-]{0,199}"
NAME_RULE = "up to 200 letters, digits, '.', ',', '_', '=' and '-', the first a letter or a digit"
Note = Callable[[str], object]


def bring(
    run: Run,
    folder: Path,
    name: str | None = None,
    *,
    force: bool = False,
    note: Note = lambda text: None,
) -> Row:
    """Read the autoencoder in ``folder`` and keep it as ``imported/<name>`` of ``run``, with its
    metrics on the run's evaluation set, of which the row is given (see `Run.imported`).

    It takes raw activations; the run's normalisation is taken out of it to measure it beside the
    cells. ``RunError`` where it cannot be read or does not fit; ``UsageError`` for a bad name.
    """
    name = name or folder.resolve().name
    if not re.fullmatch(NAME, name):
        raise UsageError(f"--name {name}: should be {NAME_RULE}")
    form = recognised(folder)
    handed = form.read(folder)
    sae = handed.sae
    if sae.W_enc.shape[0] != run.config.data.activation_dim:
        raise RunError(
            f"{folder}: takes activations of {sae.W_enc.shape[0]} dimensions, and those of "
            f"{run.path} have {run.config.data.activation_dim}"
        )
    digest = files.sha256(folder / form.weights)
    target = run.path / "imported" / name
    with run.lock():
        _refuse_other(target, digest, force)
        _warn(run, handed.origin, note)
        result = {"metrics": _measured(run, sae, note), "dict_size": len(sae.b_enc)}
        marks = {"from": str(folder.absolute()), "sha256": digest, "saesweep": __version__}
        settle(target, lambda made: _write(made, handed, {**result, **marks}))
        rows = run.imported()
        files.write_rows(run.metrics_dir / "imported.csv", rows, list(rows[0]))
    return next(row for row in rows if row["cell"] == f"imported/{name}")


def _write(folder: Path, handed: Handed, result: Row) -> None:
    plain.write(folder, handed)
    files.write_json(folder / RESULT, result)


def _refuse_other(target: Path, digest: str, force: bool) -> None:
    if not target.exists() or force:
        return
    try:
        before = files.read_json(target / RESULT).get("sha256")
    except RunError:
        before = None  # damaged: it is measured again
    if before not in (None, digest):
        raise RunError(f"{target}: is another autoencoder; choose another --name, or --force")


def _warn(run: Run, origin: Row, note: Note) -> None:
    """Say where it was trained on other activations than those of ``run``."""
    facts = run.path / "data" / "activations.json"
    data = files.read_json(facts) if facts.exists() else {}
    for key in ("model", "site"):
        theirs, ours = origin.get(key), data.get(key)
        if theirs and ours and theirs != ours:
            note(f"trained on {key} {theirs}, and the run is on {ours}")


def _measured(run: Run, sae: SAE, note: Note) -> dict[str, float]:
    """Every metric that it has alone, on the evaluation set of ``run``."""
    normalization = normalization_of(run)
    source = source_of(run.config, normalization=normalization)
    data = EvaluationSet(source.evaluation_set(run.config.eval.n_samples), source.features)
    own = sae if normalization is None else of_normalised_activations(sae, normalization)
    found = alone(own, data, run.config.eval.learned_threshold)
    if run.config.eval.model_tokens and normalization is not None:
        found |= _recovered(run, own, normalization, note)
    return {key: found[key] for key in METRICS if key in found}


def _recovered(run: Run, sae: SAE, normalization: Normalization, note: Note) -> dict[str, float]:
    from saesweep.harvesting import recovered  # imports transformers

    assert isinstance(run.config.data, ActivationsConfig)
    note("the model's loss with reconstructions")
    try:
        text = recovered.passage(run.config.data, run.config.eval.model_tokens)
    except UsageError as error:
        note(f"no loss recovered: {error}")
        return {}
    reconstructions = {"imported": recovered.reconstruction(sae)}
    (row,) = recovered.recovered(text, normalization, reconstructions)
    return {key: row[key] for key in OF_LANGUAGE_MODELS}
