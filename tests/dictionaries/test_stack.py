"""How a stack holds its autoencoders, and how they start."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from saesweep.config import TrainConfig
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell
from saesweep.model_config import ReluOptions


def cell(
    l1: float = 0.1, size: int = 6, seed: int = 0, lr: float = 1e-3, bias: bool = False
) -> Cell:
    name = f"l1={l1}_dict={size}_seed={seed}_lr={lr}"
    return Cell(name, l1, size, seed, TrainConfig(lr=lr), ReluOptions(decoder_bias=bias), {})


MIXED = [
    cell(size=6),
    cell(size=9, lr=1e-2),
    cell(size=6, l1=0.2, seed=1),
    cell(size=9),
    cell(size=6, lr=1e-2),
]


@pytest.mark.parametrize("bias", [False, True])
def test_groups_cover_the_flat_parameters_once(bias: bool):
    cells = [cell(c.sparsity, c.dict_size, c.seed, c.train.lr, bias) for c in MIXED]
    stack = Stack(cells, d_in=4, seed=0)
    assert stack.parameters.numel() == sum(c.dict_size * (2 * 4 + 1) + bias * 4 for c in cells)
    assert stack.gradients.shape == stack.parameters.shape
    assert sorted(c.name for g in stack.groups for c in g.cells) == sorted(c.name for c in cells)
    stack.parameters.zero_()
    stack.gradients.zero_()
    for group in stack.groups:
        count, size = len(group.cells), group.dict_size
        assert group.encoder.shape == group.encoder_grad.shape == (count, 5, size)
        assert group.decoder.shape == group.decoder_grad.shape == (count, size, 4)
        views = [group.encoder, group.decoder, group.encoder_grad, group.decoder_grad]
        if bias:
            assert group.b_dec is not None
            assert group.b_dec_grad is not None
            assert group.b_dec.shape == group.b_dec_grad.shape == (count, 1, 4)
            views += [group.b_dec, group.b_dec_grad]
        else:
            assert group.b_dec is None
            assert group.b_dec_grad is None
        for view in views:
            view.add_(1)
    assert torch.equal(stack.parameters, torch.ones_like(stack.parameters))
    assert torch.equal(stack.gradients, torch.ones_like(stack.gradients))


def test_each_learning_rate_has_one_slice():
    stack = Stack(MIXED, d_in=4, seed=0)
    stack.parameters.zero_()
    for group in stack.groups:
        rates = {c.train.lr for c in group.cells}
        assert len(rates) == 1
        rate = rates.pop()
        group.encoder.add_(rate)
        group.decoder.add_(rate)
    slices = dict(stack.parameters_by_rate())
    assert sorted(slices) == [1e-3, 1e-2]
    for rate, place in slices.items():
        assert (stack.parameters[place] - rate).abs().max() < 1e-9
    lengths = [place.stop - place.start for place in slices.values()]
    assert sum(lengths) == stack.parameters.numel()


def test_encoder_starts_as_a_linear_layer():
    # torch.nn.Linear(d_in, m): weight and bias uniform within 1/√d_in.
    stack = Stack([cell(size=3000)], d_in=5, seed=0)
    group = stack.groups[0]
    bound = 1 / math.sqrt(5)
    layer = torch.nn.Linear(5, 3000)
    for part, like in ((group.encoder[0, :-1], layer.weight), (group.encoder[0, -1], layer.bias)):
        drawn = part.double().numpy().ravel()
        assert stats.kstest(drawn, "uniform", args=(-bound, 2 * bound)).pvalue > 1e-4
        assert stats.ks_2samp(drawn, like.detach().double().numpy().ravel()).pvalue > 1e-4


def test_decoder_starts_with_orthogonal_columns_then_unit_rows():
    """Unit rows w_i of a matrix with orthonormal columns: Σ n_i² w_i w_i^T = I for some n_i."""
    d, size = 4, 7
    W = Stack([cell(size=size)], d_in=d, seed=3).groups[0].decoder[0].double().numpy()
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1, rtol=1e-6)
    outer = np.einsum("mi,mj->ijm", W, W).reshape(d * d, size)
    squares, residual = optimize.nnls(outer, np.eye(d).ravel())
    assert residual < 1e-6, "10 equations for 7 norms: a random matrix has no solution"
    assert squares.sum() == pytest.approx(d, rel=1e-5)
    random = np.random.default_rng(0).standard_normal((size, d))
    outer = np.einsum("mi,mj->ijm", random, random).reshape(d * d, size)
    assert optimize.nnls(outer, np.eye(d).ravel())[1] > 0.01


def test_a_small_dictionary_starts_with_orthogonal_atoms():
    W = Stack([cell(size=3)], d_in=5, seed=0).groups[0].decoder[0]
    torch.testing.assert_close(W @ W.T, torch.eye(3), atol=1e-6, rtol=0)


def test_a_cell_starts_by_its_seed_and_size_alone():
    def start(stack: Stack, wanted: Cell) -> dict[str, torch.Tensor]:
        for group in stack.groups:
            if wanted in group.cells:
                return group.sae(group.cells.index(wanted)).tensors()
        raise AssertionError

    wanted = cell(l1=0.1, size=6, seed=1)
    alone = start(Stack([wanted], 4, seed=0), wanted)
    for others in (MIXED, MIXED[::-1]):
        together = start(Stack([*others, wanted], 4, seed=0), wanted)
        assert all(torch.equal(alone[name], together[name]) for name in alone)
    same = cell(l1=0.5, size=6, seed=1, lr=0.5)
    assert torch.equal(start(Stack([same], 4, seed=0), same)["W_dec"], alone["W_dec"])
    for other, seed in ((cell(size=6, seed=2), 0), (wanted, 1)):
        different = start(Stack([other], 4, seed=seed), other)
        assert not torch.equal(different["W_dec"], alone["W_dec"])
        assert not torch.equal(different["W_enc"], alone["W_enc"])


def test_unit_norm_keeps_directions_and_survives_zero():
    stack = Stack([cell(size=4)], d_in=3, seed=0)
    group = stack.groups[0]
    group.decoder[0] = torch.tensor([[3.0, 0, 4], [0, -2, 0], [0, 0, 0], [1e-25, 0, 0]])
    stack.impose()
    expected = torch.tensor([[0.6, 0, 0.8], [0, -1, 0], [0, 0, 0]])
    torch.testing.assert_close(group.decoder[0, :3], expected)
    assert torch.isfinite(group.decoder).all()


def test_effective_encoder_moves_the_bias():
    rng = np.random.default_rng(0)
    stack = Stack(
        [cell(size=5, bias=True), cell(size=5, l1=1, bias=True)], 3, 0, dtype=torch.float64
    )
    group = stack.groups[0]
    assert group.b_dec is not None
    group.b_dec.copy_(torch.from_numpy(rng.standard_normal((2, 1, 3))))
    x = rng.standard_normal((10, 3))
    encoder = group.effective_encoder().numpy()
    for place in range(2):
        sae = group.sae(place)
        pre = (x - sae.b_dec.numpy()) @ sae.W_enc.numpy() + sae.b_enc.numpy()
        np.testing.assert_allclose(x @ encoder[place, :-1] + encoder[place, -1], pre, atol=1e-12)


def test_an_autoencoder_is_a_copy():
    stack = Stack([cell(bias=True)], d_in=4, seed=0)
    sae = stack.groups[0].sae(0)
    before = {name: tensor.clone() for name, tensor in sae.tensors().items()}
    stack.parameters.fill_(7)
    assert all(torch.equal(sae.tensors()[name], tensor) for name, tensor in before.items())
    shapes = {name: tuple(tensor.shape) for name, tensor in before.items()}
    assert shapes == {"W_enc": (4, 6), "b_enc": (6,), "W_dec": (6, 4), "b_dec": (4,)}


def test_without_a_decoder_bias_it_is_zero():
    assert Stack([cell()], d_in=4, seed=0).groups[0].sae(0).b_dec.tolist() == [0, 0, 0, 0]


def test_autoencoder_by_hand():
    sae = SAE(
        W_enc=torch.tensor([[1.0, 0, 2], [0, 1, 0]]),
        b_enc=torch.tensor([-1.0, 0, 0]),
        W_dec=torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]]),
        b_dec=torch.tensor([1.0, -1]),
    )
    # x - b_dec = [3, -1]; pre = [3 - 1, -1, 6].
    latents = sae.encode(torch.tensor([4.0, -2]))
    assert latents.tolist() == [2, 0, 6]
    torch.testing.assert_close(sae.decode(latents), torch.tensor([2 + 3.6 + 1, 4.8 - 1]))
