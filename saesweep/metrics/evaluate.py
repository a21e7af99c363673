"""A dictionary's numbers on the evaluation set: at a snapshot, and in full at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group
from saesweep.grid import chunk_size
from saesweep.metrics import recovery
from saesweep.metrics.matches import Matches
from saesweep.metrics.totals import EvaluationSet, Totals

Row = dict[str, float]
"""Metrics by key."""


@dataclass(frozen=True)
class Snapshot:
    """What is recorded of a group of cells at one moment."""

    rows: list[Row]
    """For each cell the metrics of `catalogue.HISTORY`."""
    C: Tensor
    """[cells, n_features, dict_size] cosines of features with atoms"""
    fires: Tensor
    """[cells, dict_size] in how many samples of the evaluation set each latent fired"""
    atoms: Tensor
    """[cells, dict_size, d_in] unit rows"""


def snapshot(group: Group, data: EvaluationSet, threshold: float) -> Snapshot:
    """Measure the cells of ``group`` as they are now."""
    totals = Totals.zero(len(group.cells), group.dict_size, data)
    for start, latents, x_hat in _forward(group, data):
        totals.add(data, start, latents, x_hat, group.b_dec)
    C = recovery.cosines(data.features, group.decoder)
    columns = reconstruction(totals, data, group.b_dec) | {
        "mmcs": recovery.mmcs(C),
        "n_learned": recovery.n_learned(C, threshold),
    }
    columns["loss"] = loss(group, data, columns)
    lists = {name: column.tolist() for name, column in columns.items()}  # a few small transfers
    rows = [
        {name: float(values[i]) for name, values in lists.items()} for i in range(len(group.cells))
    ]
    return Snapshot(rows, C, totals.fires, group.variant.folded(group.weights)["W_dec"])


def reconstruction(
    totals: Totals, data: EvaluationSet, b_dec: Tensor | None = None
) -> dict[str, Tensor]:
    """The metrics that follow from sums alone, [cells] each; ``b_dec`` [cells, 1, d_in]."""
    samples, dead = len(data), (totals.fires == 0).sum(dim=1)
    return {
        "recon_loss": totals.squared_error / data.x.numel(),
        "rescaled_loss": _rescaled_error(totals, b_dec) / data.x.numel(),
        "normalized_loss": totals.squared_error / data.square,
        "fvu": totals.squared_error / data.variance,
        "shrinkage": totals.norm_ratios / data.counted,
        "gamma": _gamma(totals, data, b_dec),
        "l0": totals.fires.sum(dim=1).double() / samples,
        "l1": totals.latent_sum / samples,
        "dead_neurons": dead,
        "dead_fraction": dead.double() / totals.fires.shape[1],
    }


def _gamma(totals: Totals, data: EvaluationSet, b_dec: Tensor | None) -> Tensor:
    """[cells] Σ‖x_hat‖² / Σx·x_hat, with x_hat = h + b_dec; NaN where x_hat is always 0."""
    square, product = totals.made_square, totals.made_product
    if b_dec is not None:
        bias = b_dec[:, 0].double()
        square = square + (bias * (2 * totals.made_sum + len(data) * bias)).sum(dim=1)
        product = product + (bias * data.x.sum(dim=0, dtype=torch.float64)).sum(dim=1)
    return square / product


def _rescaled_error(totals: Totals, b_dec: Tensor | None) -> Tensor:
    """[cells] the least Σ(x - x_hat)² that one factor for all latents of a cell can reach.

    With h = x_hat - b_dec and r = x - x_hat, the factor is 1 + Σr·h / Σ‖h‖², and it takes
    (Σr·h)² / Σ‖h‖² off the error.
    """
    square = totals.made_square
    product = totals.made_product - square
    if b_dec is not None:
        product = product - (b_dec[:, 0].double() * totals.made_sum).sum(dim=1)
    gain = torch.where(square > 0, product.square() / square, 0)
    return (totals.squared_error - gain).clamp_min_(0)


def loss(group: Group, data: EvaluationSet, columns: Mapping[str, Tensor]) -> Tensor:
    """[cells] what is trained (`train.loss`), from what ``columns`` measured.

    The penalty is at its full strength, and at the power `model.lp`, whatever its schedule.

    Where it does not follow from them it takes another pass.
    """
    error, penalty = (
        columns["recon_loss"],
        group.variant.known_penalty(columns["l0"], columns["l1"]),
    )
    if penalty is None:
        sums = [
            (terms.error, terms.penalty)
            for _, x in _chunks(group, data)
            for terms in [group.variant.terms(group.weights, x, {})]
        ]
        error, penalty = (torch.stack(one).double().sum(0) for one in zip(*sums, strict=True))
        error, penalty = error / data.x.numel(), penalty / len(data)
    penalty = penalty * penalty.new_tensor(group.variant.coefficients())
    if group.cells[0].train.loss == "mean":
        return error + penalty / group.dict_size
    return error * data.x.shape[1] + penalty


def full(group: Group, data: EvaluationSet, moment: Snapshot) -> list[Row]:
    """For each cell every metric that it has alone, given its last snapshot."""
    matches, w = Matches(moment.C), group.weights
    for start, latents, _ in _forward(group, data):
        x = data.x[start : start + latents.shape[1]]
        matches.add(data, start, latents, group.variant.probabilities(w, x))
    matched = matches.rows(data, moment.fires)
    return [row | more for row, more in zip(moment.rows, matched, strict=True)]


def _forward(group: Group, data: EvaluationSet) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Chunk by chunk: where it starts, latents [cells, samples, dict_size], x_hat [.., d_in]."""
    w = group.variant.folded(group.weights)
    for start, x in _chunks(group, data):
        latents = group.variant.encode(w, x)
        yield start, latents, group.variant.decode(w, latents)


def _chunks(group: Group, data: EvaluationSet) -> Iterator[tuple[int, Tensor]]:
    """Samples [chunk, d_in] as many at a time as fit the cache, and where they start."""
    width = len(group.cells) * group.dict_size
    chunk = chunk_size(width, len(data), data.x.device.type)
    for start in range(0, len(data), chunk):
        yield start, data.x[start : start + chunk]
