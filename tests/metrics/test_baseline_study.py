"""The study of classical methods: what is fitted, on what, and what becomes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from saesweep.catalogue import METRICS
from saesweep.config import SweepConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.metrics import baseline_study as module
from saesweep.metrics.baseline_study import COLUMNS, Plan, Study, study, summary
from saesweep.run_folder import Run

FAST = ["pca", "kmeans", "random", "truth"]


def fitted(config: SweepConfig, plan: Plan, **options) -> Study:
    return study(config, plan, SyntheticSource(config.data, config.seed), **options)


def places(found: Study) -> list[tuple]:
    return [tuple(row[key] for key in COLUMNS[:4]) for row in found.rows]


def test_every_method_is_fitted_on_every_sample_size_with_every_seed(small: SweepConfig) -> None:
    heard: list[tuple[int, int]] = []
    plan = Plan(FAST, [300, 64], 2, [4, 8])
    found = fitted(small, plan, progress=lambda *counts: heard.append(counts))
    assert places(found) == [
        *(("random", size, 0, seed) for size in (3, 4, 8) for seed in (0, 1)),
        *(("pca", 3, samples, seed) for samples in (64, 300) for seed in (0, 1)),
        *(
            ("kmeans", size, samples, seed)
            for size in (4, 8)
            for samples in (64, 300)
            for seed in (0, 1)
        ),
        ("truth", 4, 0, 0),
    ]
    assert found.left_out == []
    assert all(set(row) == set(COLUMNS) for row in found.rows)
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1]
    # A seed is other samples and another start; chance is more atoms' chance in larger ones.
    values = {place: row for place, row in zip(places(found), found.rows, strict=True)}
    assert values["pca", 3, 64, 0]["mcc"] != values["pca", 3, 64, 1]["mcc"]
    chance = [values["random", size, 0, 0]["mmcs"] for size in (3, 4, 8)]
    assert chance == sorted(chance)
    assert values["truth", 4, 0, 0]["mmcs"] == pytest.approx(1)


def test_the_first_seed_is_what_the_sweep_has_in_its_table(finished: Run) -> None:
    plan = Plan(["pca", "ica", "kmeans", "random", "truth"], [16_384], 1, [8, 16])
    rows = {(row["baseline"], row["dict_size"]): row for row in fitted(finished.config, plan).rows}
    before = finished.baselines()
    assert len(before) == 7
    for row in before:
        same = rows[row["baseline"], row["dict_size"]]
        for key in METRICS:
            assert same[key] == pytest.approx(row[key], rel=1e-6, abs=1e-9, nan_ok=True), key


def test_no_number_depends_on_what_else_is_fitted(small: SweepConfig) -> None:
    whole = fitted(small, Plan(["ica", "ica_components", "kmeans"], [64, 300], 2, [4, 8]))
    for method, sizes in (("kmeans", [8]), ("ica_components", [4])):
        alone = fitted(small, Plan([method], [300], 2, sizes))
        expected = [
            row
            for row in whole.rows
            if row["baseline"] == method and row["samples"] == 300 and row["dict_size"] != 4
        ]
        assert len(alone.rows) == 2
        for one, other in zip(alone.rows, expected, strict=True):
            assert str(one) == str(other)  # to the last digit, and NaN where NaN is


def test_a_larger_set_of_samples_contains_the_smaller(small: SweepConfig) -> None:
    source = SyntheticSource(small.data, small.seed)
    few, many, other = (
        module._samples(source, module._Part(["pca"], [], samples, seed)).x
        for samples, seed in ((100, 1), (600, 1), (600, 2))
    )
    assert few.shape == (100, 3)
    assert many.shape == (600, 3)
    assert np.array_equal(few, many[:100])
    assert not np.array_equal(many, other)


def test_what_cannot_be_fitted_is_left_out_and_the_rest_goes_on(small: SweepConfig) -> None:
    found = fitted(small, Plan(["kmeans", "kmedoids", "pca"], [2, 40], 2, [5, 6]))
    reasons = dict(line.split(": ", 1) for line in found.left_out)
    assert reasons.pop("pca on 2 samples") == "3 components need at least as many samples"
    assert reasons == {
        f"{name} of {size} on {samples} samples": (f"needs 8 samples a cluster, {size * 8} in all")
        for name in ("kmeans", "kmedoids")
        for size, samples in ((5, 2), (6, 2), (6, 40))
    }
    assert {place[:3] for place in places(found)} == {
        ("pca", 3, 40),
        ("kmeans", 5, 40),
        ("kmedoids", 5, 40),
    }


def test_mean_and_spread_are_those_of_the_fits() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(2, 5, len(METRICS)))
    rows = [
        {"baseline": "nmf", "dict_size": 4, "samples": samples, "seed": seed}
        | dict(zip(METRICS, values[place, seed].tolist(), strict=True))
        for place, samples in enumerate((64, 128))
        for seed in range(5)
    ]
    single = {"baseline": "truth", "dict_size": 4, "samples": 0, "seed": 0} | dict.fromkeys(
        METRICS, 0.5
    )
    rows[0]["l0"] = math.nan
    lines = summary([*rows, single])
    assert [(line["samples"], line["fits"]) for line in lines] == [(64, 5), (128, 5), (0, 1)]
    for line, fits in zip(lines, values, strict=False):
        for index, key in enumerate(METRICS):
            if line["samples"] == 64 and key == "l0":
                assert math.isnan(line[key]) and math.isnan(line["l0_spread"])
                continue
            mean = sum(fits[:, index]) / 5
            squares = sum((value - mean) ** 2 for value in fits[:, index])
            assert line[key] == pytest.approx(mean)
            assert line[f"{key}_spread"] == pytest.approx(math.sqrt(squares / 4))
    assert lines[2]["mmcs"] == 0.5
    assert math.isnan(lines[2]["mmcs_spread"])
