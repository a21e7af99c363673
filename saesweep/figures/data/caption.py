"""A data config in words, for captions."""

from __future__ import annotations

from collections.abc import Iterator

from saesweep.activations_config import ActivationsConfig
from saesweep.data_config import DataConfig

CORRELATIONS = {
    "none": "features fire independently",
    "batch": "correlation: batch — one draw z ~ N(0, A) shifts the probabilities of a whole batch",
    "sample": "correlation: sample — features co-occur within a sample (Gaussian copula over A)",
}


NORMALIZED = {
    "none": "as they are",
    "mean": "their mean subtracted",
    "scale": "scaled to a mean ‖x‖² of d",
    "both": "their mean subtracted, scaled to a mean ‖x‖² of d",
}


def describe(data: DataConfig | ActivationsConfig) -> str:
    """What the data is: sizes, probabilities, correlation, empty samples, noise."""
    if isinstance(data, ActivationsConfig):
        dimensions = _count(data.activation_dim, "dimension")
        return f"Data: activations in {dimensions}, {NORMALIZED[data.normalize]}."
    return "Data: " + "; ".join(_parts(data)) + "."


def _parts(data: DataConfig) -> Iterator[str]:
    apart = ", pushed apart" if data.directions == "pushed_apart" else ""
    dimensions = _count(data.activation_dim, "dimension")
    yield f"{_count(data.n_features, 'feature')} in {dimensions}{apart}"
    yield _probabilities(data)
    if not data.has_plain_magnitudes():
        yield _magnitudes(data)
    yield CORRELATIONS.get(data.correlation) or (
        f"correlation: low_rank — {_count(data.correlation_rank, 'factor')} shared by all "
        f"features, loadings N(0, {data.correlation_scale:g}²)"
    )
    if (trees := data.hierarchy) is not None:
        scaled = ", and scaled by its parent's coefficient" if trees.scale_by_parent else ""
        yield (
            f"hierarchy: {_count(trees.roots, 'tree')} of depth {trees.depth}, "
            f"{trees.branching} children each: a child fires only with its parent and alone among "
            f"its siblings{scaled}; siblings more likely than their parent share its probability"
        )
    if data.empty_samples == "activate_one":
        yield "a sample in which nothing fires gets one feature with coefficient 1"
    if data.bias_norm:
        yield f"a constant of norm {data.bias_norm:g} added"
    yield f"noise of standard deviation {data.noise_std:g}" if data.noise_std else "no noise"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _probabilities(data: DataConfig) -> str:
    if data.probability_law == "zipf":
        falling = f"probabilities falling as (i + 1)^−{data.zipf_exponent:g}"
    else:
        falling = f"probabilities falling as {data.decay:g}ⁱ"
    mean = f"{data.mean():.3g} active in a sample on average"
    if data.probability_range is not None:
        least, most = data.probability_range
        return f"{mean}, {falling}, from {most:g} to {least:g}"
    if not data.rescale:
        rule = f"{data.decay:g}ⁱ · {data.mean_active:g}/{data.n_features}"
        return f"feature i fires with probability {rule}, {mean}"
    even = data.probability_law == "decay" and data.decay == 1
    likely = "equally likely but for the hierarchy" if data.hierarchy else "all equally likely"
    return f"{mean}, {likely}" if even else f"{mean}, {falling}"


def _magnitudes(data: DataConfig) -> str:
    law = data.magnitudes.replace("_", " ")
    mean = _spread([mean for mean, _ in data.magnitude_ends()])
    std = _spread([std for _, std in data.magnitude_ends()])
    if data.magnitude_std_spread:
        std = f"|N({std}, {data.magnitude_std_spread:g}²)|"
    return f"coefficients {law}, mean {mean}, standard deviation {std}"


def _spread(ends: list[float]) -> str:
    """``5 → 4`` from the first feature to the last, or one number."""
    return " → ".join(dict.fromkeys(f"{end:.3g}" for end in ends))
