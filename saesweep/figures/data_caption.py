"""A data config in words, for captions."""

from __future__ import annotations

from saesweep.config import DataConfig

CORRELATIONS = {
    "none": "features fire independently",
    "batch": "correlation: batch — one draw z ~ N(0, A) shifts the probabilities of a whole batch",
    "sample": "correlation: sample — features co-occur within a sample (Gaussian copula over A)",
}


def describe(data: DataConfig) -> str:
    """What the data is: sizes, probabilities, correlation, empty samples, noise."""
    parts = [
        f"{_count(data.n_features, 'feature')} in {_count(data.activation_dim, 'dimension')}",
        _probabilities(data),
        CORRELATIONS[data.correlation],
    ]
    if data.empty_samples == "activate_one":
        parts.append("a sample in which nothing fires gets one feature with coefficient 1")
    parts.append(
        f"noise of standard deviation {data.noise_std:g}" if data.noise_std else "no noise"
    )
    return "Data: " + "; ".join(parts) + "."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _probabilities(data: DataConfig) -> str:
    if not data.rescale:
        total = sum(data.probabilities())
        rule = f"{data.decay:g}ⁱ · {data.mean_active:g}/{data.n_features}"
        return f"feature i fires with probability {rule}, {total:.3g} active in a sample on average"
    rule = "all equally likely" if data.decay == 1 else f"probabilities falling as {data.decay:g}ⁱ"
    return f"{data.mean_active:g} active in a sample on average, {rule}"
