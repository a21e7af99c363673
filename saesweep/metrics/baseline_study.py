"""Classical methods over sample sizes and seeds: how well each finds the true features."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from saesweep.catalogue import METRICS
from saesweep.config import SweepConfig
from saesweep.data.batch import Batch
from saesweep.data.synthetic import EVAL_BLOCK, SyntheticSource
from saesweep.dictionaries.baselines import fits
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.files import Row
from saesweep.metrics.baselines import CANNOT_FIT, first_line, fitted_row
from saesweep.metrics.totals import EvaluationSet
from saesweep.reporting import Reporter
from saesweep.seeding import stream_seed

SAMPLES = (1024, 4096, 16_384)
"""Sample sizes where none are asked for. A sweep fits its baselines on the last."""
SEEDS = 3
"""How many seeds where it is not said."""
EVALUATED = 8192
"""The study is scored on so many of the samples that cells are measured on: some methods take
milliseconds to write one, and fvu is known to a per cent from these. Cosines need none."""
SHARED = ("baseline", "dict_size", "samples")
"""What the fits have in common that differ in seed alone."""
COLUMNS = (*SHARED, "seed", *METRICS)
"""The columns of ``baseline_study.csv``."""

Progress = Callable[[int, int], object] | None
"""Hears of what is done and what there is to do, in samples."""


@dataclass(frozen=True)
class Plan:
    """What to fit."""

    methods: Sequence[str]
    """Keys of `METHODS`."""
    samples: Sequence[int]
    """How many samples to fit on. A larger set contains the smaller ones."""
    seeds: int
    """How many: each draws other samples and starts elsewhere."""
    dict_sizes: Sequence[int]
    """How many atoms, for methods that can have any number."""


@dataclass(frozen=True)
class Study:
    """What became of it."""

    rows: list[Row]
    """One a fit, with `COLUMNS`: by method, dictionary size, samples and seed. Methods that look at
    no samples have 0 of them, and the truth one seed."""
    left_out: list[str] = field(default_factory=list)
    """For each method that could not be fitted, on which samples, and why."""


@dataclass(frozen=True)
class _Part:
    """Methods that are fitted on the same samples, with the same seed."""

    methods: Sequence[str]
    dict_sizes: Sequence[int]
    samples: int
    seed: int


def study(
    config: SweepConfig,
    plan: Plan,
    source: SyntheticSource,
    reporter: Reporter | None = None,
    progress: Progress = None,
    keep: Callable[[list[Row]], object] = list,
) -> Study:
    """Fit the methods of ``plan`` to the data of ``config``, and score each on the evaluation set,
    or its first `EVALUATED` samples. ``keep`` is given all rows so far, again and again.

    No number depends on what else is fitted. With the first seed and 16,384 samples the atoms are
    those of a sweep's ``metrics/baselines.csv``.
    """
    reporter = reporter or Reporter()
    evaluation = source.sample_set("eval", min(config.eval.n_samples, EVALUATED))
    data = EvaluationSet(evaluation, source.features)
    parts = list(_parts(plan, min(source.features.shape)))
    total = sum(_cost(part) for part in parts)
    rows: list[Row] = []
    left_out: dict[str, None] = {}  # for its order
    done = 0
    for part in parts:
        batch, seed = _samples(source, part), _start(config.seed, part.seed)
        sizes, bias = part.dict_sizes, source.bias
        made = fits(part.methods, batch, data.features, sizes, seed, bias)
        for label, fit in made:
            where = f"{label} on {part.samples:,} samples" if part.samples else label
            began = time.monotonic()
            try:
                row = fitted_row(fit, evaluation, data, config.eval.learned_threshold)
            except CANNOT_FIT as error:
                left_out[f"{where}: {first_line(error)}"] = None
            else:
                rows.append(row | {"samples": part.samples, "seed": part.seed})
                seconds = time.monotonic() - began
                reporter.note(f"{where}, seed {part.seed}: mcc {row['mcc']:.3f} ({seconds:.1f} s)")
        rows.sort(key=_place)
        keep(rows)
        done += _cost(part)
        if progress is not None:
            progress(done, total)
    return Study(rows, list(left_out))


def summary(rows: Sequence[Row]) -> list[Row]:
    """One row for each method, dictionary size and sample size of ``rows``, over its seeds.

    Columns: `SHARED`, ``fits`` (how many there are), and for each metric its mean under its own key
    and under ``<key>_spread`` its sample standard deviation: Σ(value − mean)² is divided by one
    less than the number of fits, and a single fit has none (NaN).
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in SHARED), []).append(row)
    summaries = []
    for place, group in groups.items():
        line: Row = dict(zip(SHARED, place, strict=True)) | {"fits": len(group)}
        for key in METRICS:
            values = np.array([row[key] for row in group], float)
            line[key] = float(values.mean())
            line[f"{key}_spread"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        summaries.append(line)
    return summaries


def _parts(plan: Plan, rank: int) -> Iterator[_Part]:
    """What is fitted together. Random atoms come in the sizes of all dictionaries in the plan."""
    unsized = any(METHODS[name].fitted and not METHODS[name].sized for name in plan.methods)
    sizes = dict.fromkeys([*plan.dict_sizes, *([rank] if unsized else [])])
    fitted = [name for name in plan.methods if METHODS[name].fitted]
    if "truth" in plan.methods:
        yield _Part(["truth"], [], 0, 0)
    for seed in range(plan.seeds):
        if "random" in plan.methods:
            yield _Part(["random"], list(sizes), 0, seed)
        if fitted:
            for samples in sorted(set(plan.samples)):
                yield _Part(fitted, list(dict.fromkeys(plan.dict_sizes)), samples, seed)


def _cost(part: _Part) -> int:
    return max(part.samples, 1)


def _samples(source: SyntheticSource, part: _Part) -> Batch:
    name = f"baselines {part.seed}" if part.seed else "baselines"  # the first are the sweep's
    size = max(part.samples, 1)
    # Whole blocks are drawn, as the beginning of one depends on its size.
    batch = source.sample_set(name, math.ceil(size / EVAL_BLOCK) * EVAL_BLOCK)
    return batch[:size]


def _start(seed: int, number: int) -> int:
    """The seed of start ``number``; the first is that of the sweep."""
    return stream_seed(seed, "baselines", number) if number else seed


def _place(row: Row) -> tuple[object, ...]:
    return ([*METHODS].index(row["baseline"]), row["dict_size"], row["samples"], row["seed"])
