"""Metrics and variants, against SAELens (with `pip install sae-lens`)."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from saesweep.config import DataConfig, TrainConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.metrics.evaluate import full, snapshot
from saesweep.metrics.totals import EvaluationSet
from saesweep.model_config import (
    BatchTopKOptions,
    GatedOptions,
    JumpReluOptions,
    MatryoshkaOptions,
    Options,
    ReluOptions,
    TopKOptions,
)
from saesweep.training.autograd import AutogradGradient

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sae_lens") is None, reason="no sae-lens is installed"
)


@pytest.mark.parametrize("size", [6, 9, 20])
def test_the_same_numbers_as_saelens(size: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens.evals import ExplainedVarianceCalculator
        from sae_lens.synthetic import evals
    config = DataConfig(activation_dim=6, n_features=9, mean_active=1.5, empty_samples="keep")
    source = SyntheticSource(config, seed=0)
    batch = source.evaluation_set(4000)
    cell = Cell("one", 0.1, size, 0, TrainConfig(), ReluOptions(), {})
    (group,) = Stack([cell], 6, seed=0).groups
    group.encoder[:, -1, ::4] = -100  # some are dead
    data = EvaluationSet(batch, source.features)
    (row,) = full(group, data, snapshot(group, data, threshold=0.8))

    sae = group.sae(0)
    latents = torch.relu(batch.x @ sae.W_enc + sae.b_enc)
    x_hat = latents @ sae.W_dec
    l0, dead = evals.L0Calculator(), evals.DeadLatentsCalculator(size)
    shrinkage, variance = evals.ShrinkageCalculator(), ExplainedVarianceCalculator()
    l0.add_batch(latents)
    dead.add_batch(latents)
    shrinkage.add_batch(x_hat, batch.x)
    variance.add_batch(x_hat, batch.x)
    codes = batch.codes_true
    classified = evals.compute_classification_metrics(latents, codes, sae.W_dec, source.features)
    expected = {
        "mcc": evals.mean_correlation_coefficient(sae.W_dec, source.features),
        "uniqueness": evals.feature_uniqueness(sae.W_dec, source.features),
        "precision": classified.precision,
        "recall": classified.recall,
        "f1": classified.f1_score,
        "accuracy": classified.accuracy,
        "l0": l0.compute(),
        "dead_neurons": dead.compute(),
        "shrinkage": shrinkage.compute(),
        "true_l0": (codes > 0).float().sum(dim=1).mean().item(),
        "fvu": 1 - variance.compute(),
    }
    for key, value in expected.items():
        assert row[key] == pytest.approx(value, rel=1e-5, abs=1e-7), key


D, SIZE, BATCH = 5, 8, 64
TRAINED: list[tuple[str, Options, float, str, dict[str, Any]]] = [
    ("relu", ReluOptions(decoder_bias=True), 0.3, "Standard", {"l1_coefficient": 0.3}),
    (
        "relu",
        ReluOptions(decoder_bias=True, unit_norm=False),
        0.3,
        "Standard",
        {"l1_coefficient": 0.3},
    ),
    ("topk", TopKOptions(decoder_bias=True), 3, "TopK", {"k": 3}),
    ("batchtopk", BatchTopKOptions(decoder_bias=True), 2, "BatchTopK", {"k": 2.0}),
    (
        "jumprelu",
        JumpReluOptions(decoder_bias=True, threshold=0.25, bandwidth=0.5),
        0.3,
        "JumpReLU",
        {"l0_coefficient": 0.3, "jumprelu_init_threshold": 0.25, "jumprelu_bandwidth": 0.5},
    ),
    ("gated", GatedOptions(decoder_bias=True), 0.3, "Gated", {"l1_coefficient": 0.3}),
    (
        "matryoshka",
        MatryoshkaOptions(decoder_bias=True, prefixes=3),
        2,
        "MatryoshkaBatchTopK",
        {"k": 2.0, "matryoshka_widths": [2, 4, 8]},
    ),
]
"""Each variant with the training class that computes the same, and its keys."""
NAMES = {"gated": {"b_enc": "b_gate"}, "jumprelu": {"log_threshold": "threshold"}}
"""What parameters are called there, where it is something else."""


def shaken(variant: str, options: Options, sparsity: float) -> Stack:
    """One autoencoder in float64, at a place that is not the start."""
    cell = Cell("one", sparsity, SIZE, 0, TrainConfig(), options, {}, variant)
    stack = Stack([cell], D, seed=0, dtype=torch.float64)
    (group,) = stack.groups
    thresholds = {key: part.clone() for key, part in group.learned.items() if "log" in key}
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(stack.parameters.shape, generator=generator, dtype=torch.float64)
    stack.parameters += 0.2 * noise
    for key, part in thresholds.items():
        group.learned[key].copy_(part)
    group.impose()
    for part in group.kept.values():
        part.fill_(0.4)
    return stack


def theirs(kind: str, w: dict[str, Tensor], variant: str, keys: dict[str, Any]) -> Any:
    """The class of SAELens called ``kind``, with the weights ``w``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens
    more = {"rescale_acts_by_decoder_norm": False} if "TopK" in kind else {}
    config = getattr(sae_lens, f"{kind}Config")(
        d_in=D, d_sae=SIZE, dtype="float64", apply_b_dec_to_input=True, **more, **keys
    )
    sae = getattr(sae_lens, kind)(config)
    with torch.no_grad():
        for name, part in w.items():
            if name != "threshold" or hasattr(sae, name):
                own = getattr(sae, NAMES.get(variant, {}).get(name, name))
                own.copy_(part.exp() if name == "log_threshold" else part)
    return sae


def samples() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(BATCH, D, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("variant", "options", "sparsity", "kind", "keys"), TRAINED)
def test_codes_and_reconstructions(
    variant: str, options: Options, sparsity: float, kind: str, keys: dict[str, Any]
) -> None:
    """After training; SAELens keeps batchtopk and matryoshka as jumprelu with one threshold."""
    sae, x = shaken(variant, options, sparsity).groups[0].sae(0), samples()
    kept = {"Standard": {}, "TopK": {"k": 3}, "Gated": {}}
    name = kind if kind in kept else "JumpReLU"
    other = theirs(f"{name}SAE", sae.tensors(), variant, kept.get(name, {}))
    latents = sae.encode(x)
    assert 0 < (latents > 0).double().mean() < 1
    torch.testing.assert_close(latents, other.encode(x).detach(), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(sae.decode(latents), other(x).detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("variant", "options", "sparsity", "kind", "keys"), TRAINED)
def test_losses_and_gradients(
    variant: str, options: Options, sparsity: float, kind: str, keys: dict[str, Any]
) -> None:
    """On a batch; the matryoshka of SAELens sums over prefixes, of which this takes the mean."""
    from sae_lens.saes.sae import TrainStepInput

    stack, x = shaken(variant, options, sparsity), samples()
    (group,) = stack.groups
    w = {name: part[0].clone() for name, part in group.weights.items()}
    other = theirs(f"{kind}TrainingSAE", w, variant, keys)
    weights = {name: value.value for name, value in other.get_coefficients().items()}
    output = other.training_forward_pass(TrainStepInput(x, weights, None, 0, False))
    output.loss.backward()

    AutogradGradient(stack, BATCH, "sum")(x)
    batch = group.variant.prepare(group.weights, x)
    terms = group.variant.terms(group.weights, x, batch)
    (coefficient,) = group.variant.coefficients()
    count = getattr(options, "prefixes", 1)
    loss = count * (terms.error + coefficient * terms.penalty) / BATCH
    tight: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-9}  # their thresholds are in float32
    torch.testing.assert_close(terms.latents[0], output.feature_acts.detach(), **tight)
    torch.testing.assert_close(loss[0], output.loss.detach(), **tight)
    for name, part in group.gradients.items():
        expected = getattr(other, NAMES.get(variant, {}).get(name, name)).grad.double()
        if name == "log_threshold":
            expected = expected * w[name].exp()
        if variant == "gated" and name in ("W_dec", "b_dec"):
            # Theirs learns the decoder from the gate's reconstruction, too, which the paper holds.
            continue
        found = count * part[0]
        if name == "W_dec" and getattr(options, "unit_norm", False):
            # Theirs weighs latents by norms, whose slopes lie along atoms; norm 1 undoes them.
            found, expected = (
                one - (one * w[name]).sum(1)[:, None] * w[name] for one in (found, expected)
            )
        torch.testing.assert_close(found, expected, **tight)
