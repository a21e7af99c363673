"""A dictionary's numbers on the evaluation set: at a snapshot, and in full at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Group
from saesweep.grid import Cell, chunk_size
from saesweep.metrics import recovery
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


def snapshot(group: Group, data: EvaluationSet, threshold: float) -> Snapshot:
    """Measure the cells of ``group`` as they are now."""
    totals = Totals.zero(len(group.cells), group.dict_size, data.x.device)
    for start, latents, x_hat in _forward(group, data):
        totals.add(data, start, latents, x_hat)
    C = recovery.cosines(data.features, group.decoder)
    columns = reconstruction(totals, data) | {
        "mmcs": recovery.mmcs(C),
        "n_learned": recovery.n_learned(C, threshold),
    }
    columns["loss"] = loss(group.cells, columns["recon_loss"], columns["l1"], data.x.shape[1])
    lists = {name: column.tolist() for name, column in columns.items()}  # a few small transfers
    rows = [
        {name: float(values[i]) for name, values in lists.items()} for i in range(len(group.cells))
    ]
    return Snapshot(rows, C, totals.fires)


def reconstruction(totals: Totals, data: EvaluationSet) -> dict[str, Tensor]:
    """The metrics that follow from sums alone, [cells] each."""
    samples, dead = len(data), (totals.fires == 0).sum(dim=1)
    return {
        "recon_loss": totals.squared_error / data.x.numel(),
        "fvu": totals.squared_error / data.variance,
        "shrinkage": totals.norm_ratios / data.counted,
        "l0": totals.fires.sum(dim=1).double() / samples,
        "l1": totals.latent_sum / samples,
        "dead_neurons": dead,
        "dead_fraction": dead.double() / totals.fires.shape[1],
    }


def loss(cells: Sequence[Cell], recon_loss: Tensor, l1: Tensor, d_in: int) -> Tensor:
    """[cells] what is trained (`train.loss`), from the mean squared error and mean ‖latents‖₁."""
    penalty = torch.tensor([cell.l1 for cell in cells], dtype=l1.dtype, device=l1.device) * l1
    if cells[0].train.loss == "mean":
        return recon_loss + penalty / cells[0].dict_size
    return recon_loss * d_in + penalty


def full(group: Group, data: EvaluationSet, moment: Snapshot) -> list[Row]:
    """For each cell every metric that it has alone, given its last snapshot."""
    hits = torch.zeros_like(moment.fires)
    matches = recovery.best_features(moment.C)
    for start, latents, _ in _forward(group, data):
        truth = data.fires[start : start + latents.shape[1]]
        for place, match in enumerate(matches):
            hits[place] += ((latents[place] != 0) & truth[:, match]).sum(dim=0)
    return [
        row | match_metrics(C, data, hits[i], moment.fires[i])
        for i, (row, C) in enumerate(zip(moment.rows, moment.C, strict=True))
    ]


def match_metrics(C: Tensor, data: EvaluationSet, hits: Tensor, fires: Tensor) -> Row:
    """The metrics of one dictionary that compare it with the truth.

    ``C`` [n_features, dict_size]; ``hits`` and ``fires`` [dict_size] as in `recovery.detection`.
    """
    truths = data.feature_counts[recovery.best_features(C)]
    return {
        "true_l0": data.true_l0,
        "mcc": recovery.mcc(C),
        "uniqueness": recovery.uniqueness(C),
        **recovery.detection(hits, fires, truths, len(data)),
    }


def _forward(group: Group, data: EvaluationSet) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Chunk by chunk: where it starts, latents [cells, samples, dict_size], x_hat [.., d_in].

    The tensors are overwritten by the next chunk.
    """
    cells, _, dict_size = group.encoder.shape
    chunk = chunk_size(cells * dict_size, len(data), data.x.device.type)
    latents = group.encoder.new_empty(cells, chunk, dict_size)
    x_hat = group.decoder.new_empty(cells, chunk, data.x.shape[1])
    encoder = group.effective_encoder()
    for start in range(0, len(data), chunk):
        x = data.x[start : start + chunk]
        f, out = latents[:, : len(x)], x_hat[:, : len(x)]
        torch.baddbmm(encoder[:, -1:], x.expand(cells, -1, -1), encoder[:, :-1], out=f).relu_()
        torch.bmm(f, group.decoder, out=out)
        if group.b_dec is not None:
            out += group.b_dec
        yield start, f, out
