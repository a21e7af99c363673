"""Recovery: how well atoms match true features, and latents their firing.

C [..., n_features, dict_size] is the signed cosine of each feature with each atom. The definitions
of mcc, uniqueness, precision, recall, f1 and accuracy are those of SAELens's synthetic evaluation.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def cosines(features: Tensor, atoms: Tensor) -> Tensor:
    """C [..., n, m] of ``features`` [..., n, d] with ``atoms`` [..., m, d]; 0 for a zero vector.

    >>> cosines(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, -3.0]]))
    tensor([[1., 0.]])
    """
    cosine: Tensor = _unit(features) @ _unit(atoms).transpose(-1, -2)
    return cosine


def _unit(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / torch.where(norms > 0, norms, 1)


def mmcs(C: Tensor) -> Tensor:
    """[...] mean over features (rows) of their largest signed cosine.

    >>> mmcs(torch.tensor([[0.5, 1.0], [-1.0, -0.5]]))
    tensor(0.2500)
    """
    return C.amax(dim=-1).mean(dim=-1)


def mmcs_between(atoms: Tensor, larger: Tensor) -> float:
    """Mean over ``atoms`` [m, d] of the largest cosine with an atom of ``larger`` [m', d].

    In parts, so that at most 1,024 rows of the cosine matrix are in memory.
    """
    largest = [cosines(part, larger).amax(dim=1) for part in torch.split(atoms, 1024)]
    return torch.cat(largest).double().mean().item()


def n_learned(C: Tensor, threshold: float) -> Tensor:
    """[...] how many features have an atom with a cosine above ``threshold``; NaN of none."""
    counts = (C.amax(dim=-1) > threshold).sum(dim=-1)
    return counts if C.shape[-2] else torch.full_like(counts, torch.nan, dtype=torch.float64)


def mcc(C: Tensor) -> float:
    """Mean of |C| [n, m] over the optimal one-to-one assignment, min(n, m) pairs.

    NaN where C is not finite: a dictionary that diverged matches nothing.

    >>> round(mcc(torch.tensor([[0.9, 0.8], [0.85, 0.1]])), 3)
    0.825
    """
    similarity = C.abs().double().cpu().numpy()
    if not np.isfinite(similarity).all():
        return float("nan")
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return float(similarity[rows, columns].mean())


def best_features(C: Tensor) -> Tensor:
    """[..., m] for each atom the feature with the largest |cosine|."""
    return C.abs().argmax(dim=-2)


def uniqueness(C: Tensor) -> float:
    """Distinct best features of the atoms of C [n, m], over m.

    >>> uniqueness(torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.1, 1.0]])) == 2 / 3
    True
    """
    matches = best_features(C)
    return len(torch.unique(matches)) / len(matches)


def detection(hits: Tensor, fires: Tensor, truths: Tensor, samples: int) -> dict[str, float]:
    """Latents as detectors of their best feature, unweighted means over latents; 0/0 is 0.

    ``hits`` [m] counts samples in which latent and feature fire, ``fires`` [m] the latent,
    ``truths`` [m] its feature, out of ``samples``.

    >>> count = torch.tensor([3.0])
    >>> detection(hits=count, fires=count + 1, truths=count + 3, samples=10)["precision"]
    0.75
    """
    hits, fires, truths = hits.double(), fires.double(), truths.double()
    wrong = (fires - hits) + (truths - hits)
    scores = {
        "precision": hits / fires.clamp(min=1),
        "recall": hits / truths.clamp(min=1),
        "f1": 2 * hits / (fires + truths).clamp(min=1),
        "accuracy": 1 - wrong / samples,
    }
    return {name: score.mean().item() for name, score in scores.items()}
