"""What a config may be, and what follows from it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from saesweep.config import DataConfig, JobsConfig, SweepConfig
from saesweep.config_checks import largest_mean, latents
from saesweep.data_config import HierarchyConfig

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=100)
DATA = {"activation_dim": 3, "n_features": 6, "mean_active": 1}
GRID = {"l1": [0.1], "dict_ratio": [4]}


def config(**changes: Any) -> SweepConfig:
    return SweepConfig.model_validate({"data": DATA, "grid": GRID, **changes})


def errors(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        config(**changes)
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


def test_the_defaults_are_those_of_the_documentation() -> None:
    made = config()
    assert (made.name, made.seed, made.snapshot_every) == ("sweep", 0, 10)
    assert made.train.model_dump() == {
        "epochs": 1000,
        "steps_per_epoch": 1,
        "batch_size": 4096,
        "optimiser": "adam",
        "lr": 1e-3,
        "lr_warmup": 0.0,
        "lr_decay": "none",
        "clip_norm": 0.0,
        "average": 0.0,
        "loss": "sum",
        "penalty_warmup": 0.0,
        "lp_end": 0.0,
        "revive": "none",
        "dead_after": 0.0625,
        "resample_times": 4,
    }
    assert made.data.model_dump(exclude=set(DATA)) == {
        "source": "synthetic",
        "directions": "random",
        "probability_range": None,
        "probability_law": "decay",
        "decay": 1.0,
        "zipf_exponent": 1.0,
        "rescale": True,
        "magnitudes": "uniform",
        "magnitude_mean": 0.5,
        "magnitude_std": None,
        "magnitude_std_spread": 0.0,
        "correlation": "none",
        "correlation_rank": 25,
        "correlation_scale": 0.1,
        "hierarchy": None,
        "empty_samples": "activate_one",
        "noise_std": 0.0,
        "bias_norm": 0.0,
    }
    assert (made.eval.n_samples, made.eval.learned_threshold) == (65_536, 0.9)
    assert (made.jobs.device, made.jobs.stack, made.jobs.max_cells) == ("auto", "auto", 10_000)
    assert made.model == {
        "variant": "relu",
        "decoder_bias": False,
        "project_gradient": False,
        "penalty": "lp",
        "lp": 1.0,
        "tied": False,
        "unit_norm": True,
    }


def test_a_config_does_not_change() -> None:
    made = config()
    for section, key in ((made, "seed"), (made.train, "lr"), (made.data, "decay")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)


def test_axes_keep_their_order_and_an_axis_of_null_is_none() -> None:
    grid = {"seed": [1, 0], "dict_size": [3], "l1": 0, "dict_ratio": None, "train.lr": [1e-3]}
    made = config(grid=grid)
    assert list(made.grid.items()) == [
        ("seed", [1, 0]),
        ("dict_size", [3]),
        ("l1", [0.0]),
        ("train.lr", [1e-3]),
    ]


@SOME
@given(
    n=st.integers(1, 300),
    decay=st.floats(0.01, 1),
    share=st.floats(0.001, 1),
    rescale=st.booleans(),
)
def test_probabilities_follow_their_law(n: int, decay: float, share: float, rescale: bool) -> None:
    most = sum(decay**i for i in range(n)) if rescale else n
    mean = share * most * (1 - 1e-12)
    data = DataConfig(
        activation_dim=3, n_features=n, mean_active=mean, decay=decay, rescale=rescale
    )
    p = list(data.probabilities())
    assert len(p) == n
    assert 0 < p[0] <= 1
    assert sum(p) == pytest.approx(
        mean if rescale else mean / n * sum(decay**i for i in range(n)), rel=1e-9
    )
    for i in range(n):
        assert p[i] == pytest.approx(p[0] * decay**i, rel=1e-9)


def test_the_original_generator_has_fewer_active_features_than_it_was_asked_for() -> None:
    data = DataConfig(activation_dim=256, n_features=512, mean_active=5, decay=0.99, rescale=False)
    assert sum(data.probabilities()) == pytest.approx(0.97, abs=0.005)  # DESIGN §4.1


@SOME
@given(st.integers(1, 2000), st.floats(0.001, 1), st.booleans(), st.floats(1.001, 1e6))
def test_the_advised_mean_is_the_largest_that_is_allowed(
    n: int, decay: float, rescale: bool, excess: float
) -> None:
    data = {"activation_dim": 3, "n_features": n, "decay": decay, "rescale": rescale}
    most = sum(decay**i for i in range(n)) if rescale else n
    message = errors(data={**data, "mean_active": most * excess})["data.mean_active"]
    assert "feature 0 would fire with probability" in message
    advised = float(message.rpartition(" ")[2])
    assert advised == pytest.approx(most, rel=2e-5)
    assert config(data={**data, "mean_active": advised}, grid={"l1": 0, "dict_size": 2})


@SOME
@given(n=st.integers(1, 300), exponent=st.floats(0.1, 3), share=st.floats(0.001, 1))
def test_zipf_probabilities_fall_as_a_power(n: int, exponent: float, share: float) -> None:
    weights = [(i + 1) ** -exponent for i in range(n)]
    mean = share * sum(weights) * (1 - 1e-12)
    data = {"activation_dim": 3, "n_features": n, "mean_active": mean}
    law = DataConfig(**data, probability_law="zipf", zipf_exponent=exponent)
    expected = [share * weight for weight in weights]
    assert list(law.probabilities()) == pytest.approx(expected, rel=1e-9)
    assert law.mean() == mean


@pytest.mark.parametrize("law", [{"probability_law": "zipf", "zipf_exponent": 0.5}, {"decay": 0.9}])
def test_probabilities_may_have_a_range(law: dict[str, Any]) -> None:
    data = DataConfig(activation_dim=3, n_features=40, probability_range=[0.01, 0.4], **law)
    p = list(data.probabilities())
    assert (p[0], p[-1]) == (0.4, pytest.approx(0.01))
    weights = [(i + 1) ** -0.5 if "zipf_exponent" in law else 0.9**i for i in range(40)]
    for i in range(40):  # affine in the weights
        share = (weights[i] - weights[-1]) / (weights[0] - weights[-1])
        assert p[i] == pytest.approx(0.01 + 0.39 * share)
    assert data.mean() == pytest.approx(sum(p))


def test_the_published_large_model_has_35_active_features() -> None:
    data = DataConfig(
        activation_dim=768,
        n_features=16_384,
        probability_law="zipf",
        zipf_exponent=0.5,
        probability_range=[5e-4, 0.4],
        hierarchy=HierarchyConfig(roots=128, branching=4, depth=3),
    )
    assert data.hierarchy is not None
    assert [len(level) for level in data.hierarchy.levels()] == [128, 512, 2048, 8192]
    assert data.mean() == pytest.approx(35, abs=0.1)  # published: about 34
    assert min(data.probabilities()) == pytest.approx(5e-4)


@pytest.mark.parametrize(
    ("changes", "key", "text"),
    [
        ({"mean_active": None}, "mean_active", "required"),
        ({"probability_range": [0.1, 0.2]}, "probability_range", "keep one of them"),
        ({"mean_active": None, "probability_range": [0.1, 0.2]}, "probability_range", "no range"),
        ({"probability_range": [0.2, 0.1]}, "probability_range", "0 < least"),
        ({"probability_range": [0.1]}, "probability_range", "should be [least, most]"),
        ({"probability_law": "zipf", "decay": 0.5}, "decay", "has no effect"),
        ({"zipf_exponent": 2}, "zipf_exponent", "has no effect"),
        ({"probability_law": "zipf", "rescale": False}, "rescale", "has no effect"),
        ({"magnitude_mean": 0}, "magnitude_mean", "a number above 0 up to 1e12, or [first"),
        ({"magnitude_mean": [1, 2, 3]}, "magnitude_mean", "a number above 0 up to 1e12, or [first"),
        ({"magnitude_mean": True}, "magnitude_mean", "a number above 0 up to 1e12, or [first"),
        ({"magnitude_std": [1, math.nan]}, "magnitude_std", "a number from 0 to 1e12, or [fir"),
        ({"magnitude_std": [0.1, 0.3]}, "magnitude_std", "would be below 0"),
        ({"magnitudes": "rectified_normal"}, "magnitude_std", "needs one"),
        ({"magnitudes": "half_normal", "magnitude_std": 1}, "magnitude_std", "follows from the"),
        ({"magnitude_std_spread": 1}, "magnitude_std_spread", "only rectified_normal"),
        ({"hierarchy": {"roots": 2, "branching": 3, "depth": 1}}, "hierarchy", "8 features, more"),
        (
            {"hierarchy": {"roots": 1, "branching": 2, "depth": 1}, "correlation": "sample"},
            "hierarchy",
            "use low_rank or none",
        ),
    ],
)
def test_laws_that_do_not_go_together(changes: dict[str, Any], key: str, text: str) -> None:
    assert text in errors(data={**DATA, **changes})[f"data.{key}"]


def test_a_mean_of_all_features_is_allowed() -> None:
    assert list(config(data={**DATA, "mean_active": 6}).data.probabilities()) == [1.0] * 6
    assert largest_mean(6.0) == "6"


@pytest.mark.parametrize(("ratio", "n", "size"), [(4, 6, 24), (1.15, 100, 115), (1 / 3, 6, 2)])
def test_ratios_may_be_fractions(ratio: float, n: int, size: int) -> None:
    assert latents(ratio, n) == size


@pytest.mark.parametrize(("ratio", "n"), [(1.1, 6), (0.1, 6), (1e-12, 6), (2**31, 2), (1e308, 6)])
def test_other_ratios_make_no_dictionary(ratio: float, n: int) -> None:
    assert latents(ratio, n) is None
    message = errors(data={**DATA, "n_features": n}, grid={"l1": 0, "dict_ratio": [1, ratio]})[
        "grid.dict_ratio.1"
    ]
    assert message.startswith(f"{ratio:.10g} times {n} features makes ")
    assert message.endswith("it should be a whole number from 1 to 2147483648")


def test_ratios_that_make_one_size_are_one_too_many() -> None:
    grid = {"l1": 0, "dict_ratio": [4, 4 * (1 + 1e-12)]}
    assert errors(grid=grid) == {
        "grid.dict_ratio.1": "4 times 6 features makes 24 latents, as a ratio before it does"
    }


def test_sizes_come_from_one_axis() -> None:
    assert "keep one" in errors(grid={**GRID, "dict_size": [3]})["grid.dict_size"]
    assert "neither dict_ratio nor dict_size" in errors(grid={"l1": [1]})["grid"]


def test_more_cells_than_allowed_are_refused_whether_jobs_is_given_or_not() -> None:
    grid = {"l1": {"linspace": [0, 1, 5001]}, "dict_size": [1, 2]}
    expected = {"grid": "10,002 cells are more than jobs.max_cells: 10,000"}
    assert errors(grid=grid) == expected
    assert errors(grid=grid, jobs={}) == expected
    assert errors(grid=grid, jobs=JobsConfig()) == expected
    assert config(grid=grid, jobs={"max_cells": 10_002})


def test_correlation_has_its_limits() -> None:
    many = {**DATA, "n_features": 8193}
    for correlation in ("batch", "sample"):
        found = errors(data={**many, "correlation": correlation})
        assert "at most 8192 features" in found["data.n_features"]
    assert config(data=many)
    assert config(data={**many, "correlation": "low_rank"})
    refused = errors(data={**DATA, "correlation": "batch", "rescale": False})
    assert "always rescaled" in refused["data.rescale"]


@pytest.mark.parametrize("key", ["activation_dim", "n_features"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None, math.nan, math.inf, 2**31 + 1, [3]])
def test_sizes_are_whole_and_above_zero(key: str, value: Any) -> None:
    assert f"data.{key}" in errors(data={**DATA, key: value})


@SOME
@given(st.floats() | st.integers(), st.sampled_from(["l1", "dict_ratio", "train.lr", "dict_size"]))
def test_an_axis_holds_finite_numbers_of_its_kind(value: float, axis: str) -> None:
    grid = {"l1": 0, **({} if axis.startswith("dict") else {"dict_size": 2}), axis: [value]}
    allowed = math.isfinite(value) and (value >= 0 if axis == "l1" else value > 0)
    if axis.startswith("dict"):
        allowed = allowed and latents(value, 6 if axis == "dict_ratio" else 1) is not None
    if axis == "dict_size":
        allowed = allowed and value == int(value)
    if allowed:
        assert config(grid=grid).grid[axis] == [value if axis == "dict_size" else float(value)]
    else:
        assert next(iter(errors(grid=grid))).startswith(f"grid.{axis}")


def test_a_whole_float_is_a_whole_number() -> None:
    made = config(train={"epochs": 1e4}, seed=2.0, jobs={"stack": 3.0})
    assert (made.train.epochs, made.seed, made.jobs.stack) == (10_000, 2, 3)
    assert all(type(x) is int for x in (made.train.epochs, made.seed, made.jobs.stack))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("a", True),
        ("Toy-2_b.1", True),
        ("1e3", True),
        ("a" * 100, True),
        ("a" * 101, False),
        *[(name, False) for name in ("", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "é", "a\0")],
    ],
)
def test_a_name_is_a_file_name(name: str, allowed: bool) -> None:
    if allowed:
        assert config(name=name).name == name
    else:
        assert "letters, digits" in errors(name=name)["name"]


@pytest.mark.parametrize(
    ("device", "allowed"),
    [
        *[(device, True) for device in ("auto", "cpu", "cuda", "cuda:0", "cuda:12")],
        *[(device, False) for device in ("", "gpu", "cuda:", "cuda:x", "CPU", "cpu\n", "cuda:0,1")],
    ],
)
def test_a_device_is_one_of_four_kinds(device: str, allowed: bool) -> None:
    if allowed:
        assert config(jobs={"device": device}).jobs.device == device
    else:
        assert errors(jobs={"device": device})["jobs.device"] == (
            "should be auto, cpu, cuda or cuda:N"
        )


def test_the_schema_describes_every_key() -> None:
    schema = SweepConfig.model_json_schema()
    models = {"SweepConfig": schema, **schema["$defs"]}
    for model, found in models.items():
        for key, described in found.get("properties", {}).items():
            refers = "$ref" in str(described) or model == "Grid"
            assert refers or re.search(r"\w", described.get("description", "")), f"{model}.{key}"
        assert found.get("additionalProperties") is False
