"""A dictionary's numbers on the evaluation set: at a snapshot, and in full at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.stack import Group
from saesweep.dictionaries.variant import Variant, Weights, row
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
    columns, C, fires = measured(group.variant, group.weights, data, threshold)
    columns["loss"] = loss(group, data, columns)
    atoms = group.variant.folded(group.weights)["W_dec"]
    return Snapshot(rows_of(columns), C, fires, atoms)


def measured(
    variant: Variant, w: Weights, data: EvaluationSet, threshold: float
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The metrics of weights ``w`` with a leading cell axis that need no second look, [cells] each;
    C [cells, n_features, dict_size], and how often each latent fired [cells, dict_size].
    """
    cells, dict_size = w["b_enc"].shape
    totals = Totals.zero(cells, dict_size, data)
    b_dec = row(w, "b_dec") if "b_dec" in w else None
    for start, latents, x_hat in _forward(variant, w, data):
        totals.add(data, start, latents, x_hat, b_dec)
    C = recovery.cosines(data.features, w["W_dec"])
    columns = reconstruction(totals, data, b_dec) | {
        "mmcs": recovery.mmcs(C),
        "n_learned": recovery.n_learned(C, threshold),
    }
    return columns, C, totals.fires


def rows_of(columns: Mapping[str, Tensor]) -> list[Row]:
    """``columns`` [cells] by name as a row a cell."""
    lists = {name: column.tolist() for name, column in columns.items()}  # a few small transfers
    return [
        {name: float(value) for name, value in zip(lists, values, strict=True)}
        for values in zip(*lists.values(), strict=True)
    ]


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
            for _, x in _chunks(group.weights, data)
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
    matches = matched(group.variant, group.weights, data, moment.C, moment.fires)
    return [one | more for one, more in zip(moment.rows, matches, strict=True)]


def matched(
    variant: Variant, w: Weights, data: EvaluationSet, C: Tensor, fires: Tensor
) -> list[Row]:
    """For each cell of ``w`` what a second look adds, given the ``C`` and ``fires`` of the first
    (`measured`).
    """
    matches = Matches(C)
    for start, latents, _ in _forward(variant, w, data):
        x = data.x[start : start + latents.shape[1]]
        matches.add(data, start, latents, variant.probabilities(w, x))
    return matches.rows(data, fires)


def alone(sae: SAE, data: EvaluationSet, threshold: float) -> Row:
    """Every metric of ``sae`` that needs no other autoencoder and no loss."""
    w = {name: part[None] for name, part in sae.tensors().items()}
    columns, C, fires = measured(sae.variant, w, data, threshold)
    (found,) = rows_of(columns)
    (more,) = matched(sae.variant, w, data, C, fires)
    return found | more


def _forward(
    variant: Variant, w: Weights, data: EvaluationSet
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Chunk by chunk: where it starts, latents [cells, samples, dict_size], x_hat [.., d_in]."""
    w = variant.folded(w)
    for start, x in _chunks(w, data):
        latents = variant.encode(w, x)
        yield start, latents, variant.decode(w, latents)


def _chunks(w: Weights, data: EvaluationSet) -> Iterator[tuple[int, Tensor]]:
    """Samples [chunk, d_in] as many at a time as fit the cache, and where they start."""
    chunk = chunk_size(w["b_enc"].numel(), len(data), data.x.device.type)
    for start in range(0, len(data), chunk):
        yield start, data.x[start : start + chunk]
