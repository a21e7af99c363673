"""What a run keeps of its synthetic data: the truth, and enough samples to draw it."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data.synthetic import Batch, SyntheticSource

PANEL = 12
"""Samples that are kept for the panel of samples."""
BATCHES = 64
"""Batches over which each feature's frequency is kept."""
BATCH = 1024
"""Samples in each of them."""
MOST_PAIRS = 1024
"""The most features for which the correlation of firing is measured (a matrix of 4 MiB)."""


def ground_truth(source: SyntheticSource, evaluation: Batch) -> dict[str, Tensor]:
    """The tensors of ``data/ground_truth.safetensors``.

    ``features`` and ``gaussians`` [n, d_in], ``probabilities`` [n], ``sample_x`` [12, d_in],
    ``sample_codes`` [12, n], ``frequencies`` [64, n]: the share of samples of a batch in which each
    feature fires, ``firing_correlation`` [n, n]: Pearson's, over the evaluation set (n up to
    1,024), and ``correlation`` [n, n]: the matrix A, where there is one. All on the CPU.
    """
    panel = source.cpu_batch("panel", 0, PANEL)
    batches = (source.cpu_batch("frequencies", i, BATCH).codes_true for i in range(BATCHES))
    tensors = {
        "features": source.features,
        "gaussians": source.gaussians,
        "probabilities": source.probabilities.float(),
        "sample_x": panel.x,
        "sample_codes": panel.codes_true,
        "frequencies": torch.stack([(codes > 0).float().mean(dim=0) for codes in batches]),
    }
    if source.correlation is not None:
        tensors["correlation"] = source.correlation.float()
    if source.config.n_features <= MOST_PAIRS:
        tensors["firing_correlation"] = _correlation(evaluation.codes_true > 0)
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _correlation(fires: Tensor) -> Tensor:
    """Pearson's correlation [n, n] of the columns of ``fires`` [samples, n], bool.

    A feature that never fires, or always does, correlates with nothing: 0.
    """
    ones = fires.float()
    together = (ones.T @ ones).double()  # counts: exact in float32 up to 2^24 samples
    counts = together.diagonal()
    covariance = len(fires) * together - counts[:, None] * counts
    scale = covariance.diagonal().sqrt()
    return (covariance / (scale[:, None] * scale)).nan_to_num(0).float()
