"""Baselines through the same metrics as the cells."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable

import torch

from saesweep.catalogue import METRICS
from saesweep.data.batch import Batch, Source
from saesweep.dictionaries.baselines import FIT_SAMPLES, fits
from saesweep.dictionaries.classical.baseline import Baseline
from saesweep.errors import RunError
from saesweep.files import Row, write_rows
from saesweep.metrics import recovery
from saesweep.metrics.evaluate import reconstruction
from saesweep.metrics.matches import Matches
from saesweep.metrics.totals import EvaluationSet, Totals
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes

CHUNK, CHUNK_LATENTS = 4096, 1 << 26
"""Samples at a time, and latents of them: 256 MiB."""
MOST_COSINES = 1 << 27
"""Atoms times features of a baseline: their cosines are held whole, twice in float64 for mcc, which
makes 2.5 GiB at most."""
CANNOT_FIT = (ArithmeticError, RuntimeError, ValueError, MemoryError)
"""What is raised by methods on data that they cannot take."""


def write_baselines(run: Run, source: Source, reporter: Reporter, wishes: Wishes) -> None:
    """Write ``metrics/baselines.csv``, unless it is there and whole from before.

    Baselines are fitted on samples of their own and measured on the evaluation set, as cells are.

    A baseline that cannot be fitted (k-means on constant data, or with too few samples) is left
    out, and said so. All are, and nothing is written, where the data can no longer be read.
    """
    path = run.metrics_dir / "baselines.csv"
    with contextlib.suppress(RunError):  # one that is damaged is made again
        run.baselines()
        if path.exists():
            return
    config = run.config
    try:
        samples = source.sample_set("baselines", FIT_SAMPLES)
        batch = source.evaluation_set(config.eval.n_samples).to("cpu")
    except RunError as error:  # a file of activations: what is trained shall have its tables
        reporter.note(f"no baselines: {first_line(error)}")
        return
    data = EvaluationSet(batch, source.features)
    # Without features the truth and chance say nothing; at the sizes of real dictionaries k-means
    # and ICA would take longer than the cells.
    known = len(source.features) > 0
    sizes = sorted({cell.dict_size for cell in run.cells})
    rows: list[Row] = []
    names, seed = [name for name in config.eval.baselines if known or name == "pca"], config.seed
    for label, fit in fits(names, samples, data.features, sizes, seed, source.bias):
        wishes.check()
        try:
            rows.append(fitted_row(fit, batch, data, config.eval.learned_threshold))
        except CANNOT_FIT as error:
            run.record("baseline_failed", baseline=label, reason=str(error))
            reporter.note(f"no baseline {label}: {first_line(error)}")
    write_rows(path, rows, ["baseline", "dict_size", *METRICS])


def fitted_row(
    fit: Callable[[], Baseline], batch: Batch, data: EvaluationSet, threshold: float
) -> Row:
    """The columns ``baseline``, ``dict_size`` and every metric of the baseline that ``fit`` gives.

    ``batch`` and ``data`` are the evaluation set. Raises one of `CANNOT_FIT`.
    """
    with warnings.catch_warnings():
        # FastICA may not settle on features that are no independent components, and degenerate
        # data divides by zero: what matters of either shows in the scores.
        warnings.simplefilter("ignore")
        baseline = fit()
        name = {"baseline": baseline.name, "dict_size": baseline.atoms.shape[1]}
        return name | score(baseline, batch, data, threshold)


def first_line(error: Exception) -> str:
    """What an error says, without its details."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def score(
    baseline: Baseline, batch: Batch, data: EvaluationSet, threshold: float
) -> dict[str, float]:
    """Every metric of ``baseline`` on ``batch``, the samples of ``data``.

    Random atoms have no latents: what needs them is NaN. Their other metrics are means over draws.
    """
    atoms = baseline.atoms
    if len(data.features) * atoms.shape[1] > MOST_COSINES:
        raise ValueError(
            f"{atoms.shape[1]:,} atoms and {len(data.features):,} features are too many to compare"
        )
    draws = [_directions(recovery.cosines(data.features, draw), threshold) for draw in atoms]
    row = dict.fromkeys(METRICS, math.nan)
    row |= {"true_l0": data.true_l0} if len(data.features) else {}
    row |= {key: sum(draw[key] for draw in draws) / len(draws) for key in draws[0]}
    if baseline.encode is None:
        return row
    return row | _with_latents(baseline, recovery.cosines(data.features, atoms[0]), batch, data)


def _directions(C: torch.Tensor, threshold: float) -> dict[str, float]:
    """The metrics of one dictionary that need no latents, but features: C [n_features, m]."""
    if not len(C):
        return {}
    return {
        "mmcs": recovery.mmcs(C).item(),
        "n_learned": recovery.n_learned(C, threshold).item(),
        "mcc": recovery.mcc(C),
        "uniqueness": recovery.uniqueness(C),
    }


def _with_latents(
    baseline: Baseline, C: torch.Tensor, batch: Batch, data: EvaluationSet
) -> dict[str, float]:
    assert baseline.encode is not None
    totals = Totals.zero(1, C.shape[1], data)
    matches = Matches(C[None])
    chunk = max(64, min(CHUNK, CHUNK_LATENTS // C.shape[1]))
    for start in range(0, len(data), chunk):
        latents, x_hat = baseline.encode(batch[start : start + chunk])
        sizes = latents[None].abs()
        matches.add(data, start, sizes)
        totals.add(data, start, sizes, x_hat[None].clone())
    sums = {name: value.item() for name, value in reconstruction(totals, data).items()}
    return sums | matches.rows(data, totals.fires)[0]
