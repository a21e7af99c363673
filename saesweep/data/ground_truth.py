"""What a run keeps of its synthetic data: the truth, and enough samples to draw it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from saesweep.data.batch import Batch
from saesweep.data.sparse_codes import SparseCodes
from saesweep.data.synthetic import SyntheticSource

PANEL = 12
"""Samples that are kept for the panel of samples."""
BATCHES = 64
"""Batches over which each feature's frequency is kept."""
BATCH = 1024
"""Samples in each of them."""
MOST_PAIRS = 1024
"""The most features for which the correlation of firing is measured (a matrix of 4 MiB), and the
Gaussian vectors before normalisation are kept."""
FIRST_PAIRS = 256
"""With more features, the correlation is measured for so many: the first, which fire most."""


def ground_truth(source: SyntheticSource, evaluation: Batch) -> dict[str, Tensor]:
    """The tensors of ``data/ground_truth.safetensors``.

    ``features`` [n, d_in], ``probabilities`` [n], ``sample_x`` [12, d_in], ``sample_codes``
    [12, n], ``frequencies`` [64, n]: the share of samples of a batch in which each feature fires,
    and ``firing_correlation`` [k, k]: Pearson's, over the evaluation set, of the first k features:
    all, up to 1,024, else 256. ``gaussians`` [n, d_in] up to 1,024 features, else their ``norms``
    [n].

    Where there is such a law: ``correlation`` [n, n]: the matrix A; ``loadings`` [n, rank]; 0 for
    the children of a hierarchy; ``bias`` [d_in]; ``magnitude_means`` and ``magnitude_stds`` [n] of
    the coefficients by their law, and ``measured_means`` [n] over the evaluation set, NaN for a
    feature that never fires. All on the CPU.
    """
    panel = source.cpu_batch("panel", 0, PANEL)
    batches = (source.cpu_batch("frequencies", i, BATCH) for i in range(BATCHES))
    counts = torch.stack([batch.sparse_codes.counts() for batch in batches])
    n = source.config.n_features
    few = n <= MOST_PAIRS
    codes = evaluation.sparse_codes
    tensors = {
        "features": source.features,
        "probabilities": source.probabilities.float(),
        "sample_x": panel.x,
        "sample_codes": panel.codes_true,
        "frequencies": counts.float() / BATCH,
        "firing_correlation": _correlation(codes, n if few else min(n, FIRST_PAIRS)),
        **dict(_of_some_laws(source, codes)),
    }
    if few:
        tensors["gaussians"] = source.gaussians
    else:
        tensors["norms"] = source.gaussians.norm(dim=1)
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _of_some_laws(source: SyntheticSource, codes: SparseCodes) -> Iterator[tuple[str, Tensor]]:
    """The tensors that only some laws have."""
    config = source.config
    if source.correlation is not None:
        yield "correlation", source.correlation.float()
    if source.loadings is not None:
        # Children of a hierarchy follow their parents, and no factors.
        rows = source.loadings.clone()
        for children in config.hierarchy.levels()[1:] if config.hierarchy is not None else ():
            rows[children.start : children.stop] = 0
        yield "loadings", rows
    if config.bias_norm > 0:
        yield "bias", source.bias
    if not config.has_plain_magnitudes():
        means, stds = source.magnitudes.moments()
        yield from (("magnitude_means", means), ("magnitude_stds", stds))
        sums = torch.zeros(config.n_features, dtype=torch.float64, device=codes.values.device)
        sums.index_add_(0, codes.features, codes.values.double())
        yield "measured_means", (sums / codes.counts()).float()


def _correlation(codes: SparseCodes, count: int) -> Tensor:
    """Pearson's correlation [count, count] of the firing of the first ``count`` features.

    A feature that never fires, or always does, correlates with nothing: 0.
    """
    ones = codes.fires(torch.arange(count, device=codes.features.device)).float()
    together = (ones.T @ ones).double()  # counts: exact in float32 up to 2^24 samples
    counts = together.diagonal()
    covariance = len(codes) * together - counts[:, None] * counts
    scale = covariance.diagonal().sqrt()
    return (covariance / (scale[:, None] * scale)).nan_to_num(0).float()
