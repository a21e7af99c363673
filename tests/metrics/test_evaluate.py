"""All metrics of a cell, against numpy and scikit-learn on its own weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from saesweep.catalogue import HISTORY, METRICS, OF_LANGUAGE_MODELS
from saesweep.config import DataConfig, TrainConfig
from saesweep.data.batch import Batch
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Group, Stack
from saesweep.grid import Cell
from saesweep.metrics import evaluate
from saesweep.metrics.evaluate import full, snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.model_config import ReluOptions

ACROSS = {"mmcs_larger", "mmcs_next_larger", "stability", *OF_LANGUAGE_MODELS}
"""Metrics that need other cells, or a language model."""


def cell(l1: float, size: int, *, loss: str = "sum", bias: bool = False) -> Cell:
    config = TrainConfig(loss=loss)  # type: ignore[arg-type]
    return Cell(f"{l1}_{size}", l1, size, 0, config, ReluOptions(decoder_bias=bias), {})


def evaluation(samples: int = 3000) -> tuple[EvaluationSet, Batch]:
    config = DataConfig(activation_dim=3, n_features=5, mean_active=1.5, empty_samples="keep")
    source = SyntheticSource(config, seed=0)
    batch = source.evaluation_set(samples)
    return EvaluationSet(batch, source.features), batch


def with_some_dead(group: Group) -> None:
    group.encoder[:, -1, ::4] = -100


@pytest.mark.parametrize("loss", ["sum", "mean"])
@pytest.mark.parametrize("bias", [False, True])
def test_every_metric(loss: str, bias: bool):
    data, batch = evaluation()
    cells = [cell(l1, 9, loss=loss, bias=bias) for l1 in (0.1, 0.4)]
    (group,) = Stack(cells, 3, seed=0).groups
    group.encoder.mul_(torch.tensor([1.0, 2.0]).view(2, 1, 1))
    if group.b_dec is not None:
        group.b_dec.copy_(torch.tensor([[[0.1, -0.2, 0.3]], [[0.0, 0.5, 0.0]]]))
    with_some_dead(group)
    moment = snapshot(group, data, threshold=0.8)
    rows = full(group, data, moment)
    for place, row in enumerate(rows):
        assert set(row) == set(METRICS) - ACROSS | {"loss"}
        assert set(moment.rows[place]) == set(HISTORY)
        expected = plainly(group, place, batch, data.features, threshold=0.8)
        for key, value in expected.items():
            assert row[key] == pytest.approx(value, rel=2e-5, abs=1e-7, nan_ok=True), key
        assert set(expected) == set(row)
        assert not moment.fires[place, ::4].any()
        assert moment.fires[place, 1::4].all()


def plainly(
    group: Group, place: int, batch: Batch, features: torch.Tensor, threshold: float
) -> dict[str, float]:
    """Every metric as DESIGN defines it, in float64."""
    sae, one = group.sae(place), group.cells[place]
    parts = (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, batch.x, batch.codes_true, features)
    W_enc, b_enc, W_dec, b_dec, x, codes, true = (part.double().numpy() for part in parts)
    latents = np.maximum((x - b_dec) @ W_enc + b_enc, 0)
    x_hat = latents @ W_dec + b_dec
    C = true @ (W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)).T
    dead = int((~(latents > 0).any(axis=0)).sum())
    l1 = float(latents.sum(axis=1).mean())
    recon_loss = sklearn_metrics.mean_squared_error(x, x_hat)
    penalty = one.sparsity * l1
    if one.train.loss == "sum":
        trained = 3 * recon_loss + penalty
    else:
        trained = recon_loss + penalty / one.dict_size
    norms = np.linalg.norm(x, axis=1)
    long = norms > 1e-6
    match = np.abs(C).argmax(axis=0)
    truth, fires = codes[:, match] > 0, latents > 0

    def macro(name: str) -> float:
        return float(
            getattr(sklearn_metrics, f"{name}_score")(
                truth, fires, average="macro", zero_division=0
            )
        )

    return {
        "loss": trained,
        "recon_loss": recon_loss,
        "rescaled_loss": rescaled_loss(latents @ W_dec, x - b_dec),
        "brier": np.nan,  # it says no probabilities
        "calibration_error": np.nan,
        "normalized_loss": (norms_of(x - x_hat) ** 2).mean() / (norms_of(x) ** 2).mean(),
        "gamma": (x_hat**2).sum() / (x * x_hat).sum() if x_hat.any() else np.nan,
        "mmcs": C.max(axis=1).mean(),
        "dead_neurons": dead,
        "dead_fraction": dead / one.dict_size,
        "l0": (latents > 0).sum(axis=1).mean(),
        "l1": l1,
        "coefficient_norm": (latents / np.maximum(latents.max(axis=0), 1e-30)).sum(axis=1).mean(),
        "true_l0": (codes > 0).sum(axis=1).mean(),
        "fvu": 1 - sklearn_metrics.r2_score(x, x_hat, multioutput="variance_weighted"),
        "shrinkage": (np.linalg.norm(x_hat, axis=1)[long] / norms[long]).mean(),
        "mcc": best_assignment(np.abs(C)),
        "uniqueness": len(set(match)) / len(match),
        "precision": macro("precision"),
        "recall": macro("recall"),
        "f1": macro("f1"),
        "accuracy": float((truth == fires).mean()),
        "n_learned": int((C.max(axis=1) > threshold).sum()),
    }


def norms_of(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1)


def rescaled_loss(x_hat: np.ndarray, x: np.ndarray) -> float:
    """The mean squared error with the one factor for ``x_hat`` that makes it least."""
    if not x_hat.any():
        return float((x**2).mean())
    _, error, *_ = np.linalg.lstsq(x_hat.reshape(-1, 1), x.ravel(), rcond=None)
    return float(error[0]) / x.size


def best_assignment(similarity: np.ndarray) -> float:
    """The best mean over pairs of features (rows) and atoms, by dynamic programming over atoms."""
    n, m = similarity.shape
    assert n <= m
    best = {0: 0.0}  # which features have an atom, as bits -> the largest sum
    for atom in range(m):
        for taken, total in list(best.items()):
            for feature in range(n):
                if not taken >> feature & 1:
                    key = taken | 1 << feature
                    best[key] = max(best.get(key, 0), total + similarity[feature, atom])
    return best[2**n - 1] / n


def test_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch):
    data, _ = evaluation(1000)
    (group,) = Stack([cell(0.1, 8), cell(0.2, 8)], 3, seed=0).groups
    whole = full(group, data, snapshot(group, data, 0.9))
    monkeypatch.setattr(evaluate, "chunk_size", lambda latents, most, device: min(most, 333))
    parts = full(group, data, snapshot(group, data, 0.9))
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-5, nan_ok=True)


def test_evaluation_changes_nothing():
    data, batch = evaluation(500)
    stack = Stack([cell(0.1, 8, bias=True)], 3, seed=0)
    before, x = stack.parameters.clone(), batch.x.clone()
    full(stack.groups[0], data, snapshot(stack.groups[0], data, 0.9))
    assert torch.equal(stack.parameters, before)
    assert torch.equal(data.x, x)


def test_the_dictionary_that_knows_the_truth():
    """Orthogonal features and an encoder that reads them off: every metric is at its ceiling."""
    source = SyntheticSource(
        DataConfig(activation_dim=4, n_features=4, mean_active=1, empty_samples="keep"), seed=0
    )
    codes = source.evaluation_set(2000).codes_true
    batch = Batch(codes.clone(), codes)  # features along the axes
    data = EvaluationSet(batch, torch.eye(4))
    (group,) = Stack([cell(0.1, 4)], 4, seed=0).groups
    group.encoder[0] = torch.cat([torch.eye(4), torch.zeros(1, 4)])
    group.decoder[0] = torch.eye(4)
    (row,) = full(group, data, snapshot(group, data, 0.9))
    perfect = ("mmcs", "mcc", "uniqueness", "precision", "recall", "f1", "accuracy", "shrinkage")
    assert {key: row[key] for key in perfect} == pytest.approx(dict.fromkeys(perfect, 1.0))
    assert row["recon_loss"] == row["fvu"] == row["dead_neurons"] == 0
    assert row["n_learned"] == 4
    assert row["l0"] == row["true_l0"]


def test_a_dictionary_that_is_all_dead():
    data, batch = evaluation(800)
    (group,) = Stack([cell(0.1, 6)], 3, seed=0).groups
    group.encoder[0, -1] = -100
    (row,) = full(group, data, snapshot(group, data, 0.9))
    assert row["dead_neurons"] == 6
    assert row["dead_fraction"] == 1
    for key in ("l0", "l1", "shrinkage", "precision", "recall", "f1"):
        assert row[key] == 0, key
    x = batch.x.double()
    assert row["recon_loss"] == pytest.approx(x.square().mean().item(), rel=1e-5)
    # Predicting 0 is worse than predicting the mean.
    expected = x.square().sum() / (x - x.mean(dim=0)).square().sum()
    assert row["fvu"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_feature_that_never_fires_is_never_detected():
    codes = torch.zeros(100, 2)
    codes[:, 0] = torch.linspace(0.1, 0.9, 100)
    data = EvaluationSet(Batch(codes.clone(), codes), torch.eye(2))
    (group,) = Stack([cell(0.1, 2)], 2, seed=0).groups
    # Latent 0 fires on e1, which always fires; latent 1 always fires, but its feature never does.
    group.encoder[0] = torch.tensor([[1.0, 0], [0, 0], [0, 1]])
    group.decoder[0] = torch.eye(2)
    (row,) = full(group, data, snapshot(group, data, 0.9))
    assert row["precision"] == row["recall"] == row["f1"] == row["accuracy"] == 1 / 2


def test_a_cell_of_nan_spoils_only_its_own_row():
    data, _ = evaluation(500)
    (group,) = Stack([cell(0.1, 6), cell(0.2, 6)], 3, seed=0).groups
    healthy = full(group, data, snapshot(group, data, 0.9))[1]
    group.encoder[0], group.decoder[0] = torch.nan, torch.nan
    rows = full(group, data, snapshot(group, data, 0.9))
    assert np.isnan(rows[0]["loss"])
    assert np.isnan(rows[0]["mcc"])
    assert rows[1] == healthy


@pytest.mark.parametrize("bias", [0.0, 30.0])
@pytest.mark.parametrize("strength", [-1e-3, 1e-4, 1e-2])
def test_suppression_of_a_cell_that_is_nearly_dead(strength: float, bias: float):
    data, batch = evaluation()
    (group,) = Stack([cell(0.1, 9, bias=True)], 3, seed=0).groups
    assert group.b_dec is not None
    group.b_dec.fill_(bias)
    group.encoder.zero_()
    group.encoder[:, -1] = -1
    # One latent fires in one sample, and by no more than its strength.
    one = batch.x[7] - bias
    group.encoder[0, :-1, 0] = one
    largest = ((batch.x - bias) @ one).max()
    group.encoder[0, -1, 0] = strength - largest
    (row,) = full(group, data, snapshot(group, data, threshold=0.8))
    expected = plainly(group, 0, batch, data.features, threshold=0.8)
    assert row["l0"] <= 2 / len(data)
    for key in ("gamma", "rescaled_loss"):
        assert row[key] == pytest.approx(expected[key], rel=5e-3, nan_ok=True), key
