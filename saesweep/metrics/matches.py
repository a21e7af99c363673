"""Latents beside the features that they match: what a second look at the evaluation set adds."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.metrics import recovery
from saesweep.metrics.calibration import Calibration
from saesweep.metrics.totals import EvaluationSet


class Matches:
    """Sums over the evaluation set, and the metrics of dictionaries with a leading cell axis.

    ``C`` [cells, n_features, dict_size] are the cosines of features with atoms: they say which
    feature each latent matches.
    """

    def __init__(self, C: Tensor) -> None:
        self.C = C
        self.known = C.shape[1] > 0
        """Whether there are features to match"""
        shape, device = (C.shape[0], C.shape[2]), C.device
        self.features = recovery.best_features(C) if self.known else C.new_zeros(shape).long()
        """[cells, dict_size] the feature that each latent matches"""
        self.hits = torch.zeros(shape, dtype=torch.int64, device=device)
        """[cells, dict_size] in how many samples latent and feature fire"""
        self.sums = torch.zeros(shape, dtype=torch.float64, device=device)
        """[cells, dict_size] the latent, summed over samples"""
        self.largest = torch.zeros(shape, device=device)
        """[cells, dict_size] its largest value"""
        self.calibration = [Calibration(device) for _ in C]
        """How far the probabilities of latents are those of their features"""

    def add(
        self,
        data: EvaluationSet,
        start: int,
        latents: Tensor,
        probabilities: Tensor | None = None,
    ) -> None:
        """Count the samples from ``start`` on.

        ``latents`` [cells, samples, dict_size], none negative, and ``probabilities`` alike: of
        their being active, where the variant says any.
        """
        self.sums += latents.sum(dim=1)
        torch.maximum(self.largest, latents.amax(dim=1), out=self.largest)
        if not self.known:
            return
        truth = data.codes[start : start + latents.shape[1]]
        for place, features in enumerate(self.features):
            fires = truth.fires(features)
            self.hits[place] += ((latents[place] != 0) & fires).sum(dim=0)
            if probabilities is not None:
                self.calibration[place].add(probabilities[place], fires)

    def rows(self, data: EvaluationSet, fires: Tensor) -> list[dict[str, float]]:
        """Each cell's metrics; ``fires`` [cells, dict_size] says how often each latent does.

        Where no feature is known there is but one.
        """
        # A latent that never fires has 0 of 0, and adds nothing.
        relative = self.sums / torch.where(self.largest > 0, self.largest, 1)
        coefficients = (relative.sum(dim=1) / len(data)).tolist()
        rows = [{"coefficient_norm": coefficient} for coefficient in coefficients]
        if not self.known:
            return rows
        truths = data.feature_counts[self.features]
        return [
            rows[place]
            | {
                "true_l0": data.true_l0,
                "mcc": recovery.mcc(C),
                "uniqueness": recovery.uniqueness(C),
                **self.calibration[place].metrics(),
                **recovery.detection(self.hits[place], fires[place], truths[place], len(data)),
            }
            for place, C in enumerate(self.C)
        ]
