"""Every metric by its key: what it is called, what it means, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A column of ``metrics.csv``, a matrix ``metrics/<key>.csv`` and a heatmap."""

    key: str
    title: str
    direction: Literal["lower", "higher"] | None
    """Which way is better; None where that depends on the question."""
    definition: str


METRICS = {
    metric.key: metric
    for metric in (
        Metric(
            "recon_loss",
            "Reconstruction Loss",
            "lower",
            "mean over samples and dimensions of (x − x̂)²",
        ),
        Metric(
            "rescaled_loss",
            "Reconstruction Loss after rescaling",
            "lower",
            "mean of (x − x̂)² with all latents times the one factor that makes it least",
        ),
        Metric(
            "normalized_loss",
            "Normalised Loss",
            "lower",
            "mean of ‖x − x̂‖² over mean of ‖x‖², after Deng, Tao and Benton (2023)",
        ),
        Metric(
            "mmcs",
            "Mean Max Cosine Similarity w/ True",
            "higher",
            "mean over true features of the largest signed cosine with an atom",
        ),
        Metric(
            "mmcs_larger",
            "Average MMCS with larger dicts",
            "higher",
            "mean over the cell's atoms of the largest cosine with an atom of a larger dictionary, "
            "averaged over all larger ones",
        ),
        Metric(
            "mmcs_next_larger",
            "MMCS with the next larger dict",
            "higher",
            "mean over the cell's atoms of the largest cosine with an atom of the next larger "
            "dictionary",
        ),
        Metric(
            "dead_neurons",
            "Dead Neurons",
            "lower",
            "latents that never fire on the evaluation set",
        ),
        Metric(
            "dead_fraction",
            "Dead Fraction",
            "lower",
            "share of latents that never fire on the evaluation set",
        ),
        Metric("l0", "L0", None, "mean count of non-zero latents per sample"),
        Metric("l1", "L1 Norm", None, "mean over samples of ‖latents‖₁"),
        Metric(
            "coefficient_norm",
            "Coefficient Norm",
            None,
            "mean over samples of the sum of latents, each over its largest value, "
            "after Deng, Tao and Benton (2023)",
        ),
        Metric("true_l0", "True L0", None, "mean count of active true features per sample"),
        Metric(
            "fvu",
            "Fraction of Variance Unexplained",
            "lower",
            "Σ(x − x̂)² / Σ(x − mean x)²",
        ),
        Metric(
            "shrinkage",
            "Shrinkage",
            None,
            "mean ‖x̂‖ / ‖x‖ over samples with ‖x‖ > 10⁻⁶; 1 is none",
        ),
        Metric(
            "gamma",
            "Suppression γ",
            None,
            "γ = mean of ‖x̂‖² over mean of x·x̂; 1 is no suppression, less is too small",
        ),
        Metric(
            "mcc",
            "Mean Correlation Coefficient",
            "higher",
            "mean |cosine| over the optimal one-to-one assignment of atoms to features",
        ),
        Metric(
            "stability",
            "Stability across Seeds",
            "higher",
            "mean |cosine| over the optimal one-to-one assignment of the cell's atoms to those of "
            "a cell that differs in seed alone, averaged over all such cells",
        ),
        Metric(
            "uniqueness",
            "Uniqueness",
            "higher",
            "distinct best-matching features over the number of latents",
        ),
        Metric(
            "precision",
            "Precision",
            "higher",
            "latents as detectors of their best-matching feature: mean precision over latents",
        ),
        Metric(
            "recall",
            "Recall",
            "higher",
            "latents as detectors of their best-matching feature: mean recall over latents",
        ),
        Metric(
            "f1",
            "F1",
            "higher",
            "latents as detectors of their best-matching feature: mean F1 over latents",
        ),
        Metric(
            "accuracy",
            "Accuracy",
            "higher",
            "latents as detectors of their best-matching feature: mean accuracy over latents",
        ),
        Metric(
            "brier",
            "Brier Score",
            "lower",
            "mean over samples and latents of (a latent's probability of being active − whether "
            "its best-matching feature is)²; only of variants that say one",
        ),
        Metric(
            "calibration_error",
            "Expected Calibration Error",
            "lower",
            "mean over 15 bins of |a latent's probability of being active − how often its "
            "best-matching feature is|, by their share; only of variants that say one",
        ),
        Metric(
            "ce_recovered",
            "Loss Recovered (zero ablation)",
            "higher",
            "(zero − spliced) / (zero − clean) of the model's cross-entropy, with reconstructions "
            "or zeros in the place of activations; zeros do more harm than need be: it flatters",
        ),
        Metric(
            "ce_recovered_mean",
            "Loss Recovered (mean ablation)",
            "higher",
            "(mean − spliced) / (mean − clean) of the model's cross-entropy, with reconstructions "
            "or their mean in the place of activations",
        ),
        Metric(
            "kl_recovered",
            "KL Recovered (zero ablation)",
            "higher",
            "1 − KL(clean ‖ spliced) / KL(clean ‖ zero) of the model's next-token distributions",
        ),
        Metric(
            "kl_recovered_mean",
            "KL Recovered (mean ablation)",
            "higher",
            "1 − KL(clean ‖ spliced) / KL(clean ‖ mean) of the model's next-token distributions",
        ),
        Metric(
            "n_learned",
            "Learned Features",
            "higher",
            "true features whose largest cosine with an atom is above eval.learned_threshold",
        ),
    )
}

OF_LANGUAGE_MODELS = ("ce_recovered", "ce_recovered_mean", "kl_recovered", "kl_recovered_mean")
"""The metrics that take the model whose activations they are."""

HISTORY = (
    "loss",
    "recon_loss",
    "rescaled_loss",
    "normalized_loss",
    "mmcs",
    "dead_neurons",
    "dead_fraction",
    "l0",
    "l1",
    "fvu",
    "shrinkage",
    "gamma",
    "n_learned",
)
"""The metrics of a snapshot: all that need no assignment and no second dictionary. ``loss`` is what
is trained, measured on the evaluation set."""


def main_metric(row: Mapping[str, float]) -> str:
    """What tells most of a row: ``mmcs``, or ``fvu`` where no true feature is known.

    >>> main_metric({"mmcs": float("nan"), "fvu": 0.3})
    'fvu'
    """
    return "fvu" if math.isnan(row["mmcs"]) and not math.isnan(row["fvu"]) else "mmcs"
