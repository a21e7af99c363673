"""Autoencoders of every variant at places that are not the start, and a run on activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from saesweep.config import TrainConfig
from saesweep.config_file import parse_config
from saesweep.data.activations import Normalization
from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.stack import Stack
from saesweep.files import write_tensors
from saesweep.grid import Cell
from saesweep.model_config import options_of
from saesweep.run_folder import Run
from saesweep.sweep import new_run, run_sweep

D, SIZE = 6, 16
VARIANTS: list[tuple[str, float, dict[str, Any]]] = [
    ("relu", 0.3, {}),
    ("relu", 0.3, {"decoder_bias": False}),
    ("relu", 0.3, {"tied": True}),
    ("relu", 0.3, {"unit_norm": False}),
    ("topk", 3, {}),
    ("batchtopk", 3, {}),
    ("matryoshka", 3, {"prefixes": 3}),
    ("jumprelu", 0.3, {"threshold": 0.5, "bandwidth": 0.5}),
    ("gated", 0.3, {}),
    ("variational", 0.2, {}),
    ("variational", 0.2, {"prior": "laplace"}),
]
NORMALIZATION = Normalization(torch.linspace(-30, 40, D), 0.05)
"""Of activations as large as a transformer's."""


def shaken(variant: str, sparsity: float, keys: dict[str, Any]) -> SAE:
    """An autoencoder as if it had been trained."""
    options = options_of(variant)(**{"decoder_bias": True, **keys})
    cell = Cell("one", sparsity, SIZE, 0, TrainConfig(), options, {}, variant)
    stack = Stack([cell], D, seed=0)
    generator = torch.Generator().manual_seed(1)
    stack.parameters += 0.2 * torch.randn(stack.parameters.shape, generator=generator)
    stack.impose()
    (group,) = stack.groups
    for part in group.kept.values():
        part.fill_(0.4)
    return group.sae(0)


def raw_samples(rows: int = 200) -> torch.Tensor:
    """Activations [rows, D] before `NORMALIZATION`."""
    generator = torch.Generator().manual_seed(2)
    return NORMALIZATION.undo(torch.randn(rows, D, generator=generator))


GRIDS = {
    "relu": "l1: [2, 5]",
    "topk": "k: [3]",
    "batchtopk": "k: [3]",
    "matryoshka": "k: [3]",
    "jumprelu": "l0_coefficient: [0.01]",
    "gated": "l1: [2]",
}
CONFIG = """
data: {{source: activations, path: {path}, activation_dim: 6, normalize: both, held_out: 0.2}}
model: {{decoder_bias: true}}
grid:
  model.variant: [{variants}]
  l1: [0.5, 5]
  k: [3]
  l0_coefficient: [0.01]
  dict_size: [16]
train: {{epochs: 60, batch_size: 128, lr: 1e-2}}
snapshot_every: 20
eval: {{n_samples: 1000}}
jobs: {{plot: false}}
"""


@pytest.fixture(scope="session")
def variants_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on activations far from zero with a cell of every variant but the last. Only read."""
    folder = tmp_path_factory.mktemp("exchange")
    generator = torch.Generator().manual_seed(3)
    codes = torch.rand(5000, 12, generator=generator)
    codes = codes * (torch.rand(5000, 12, generator=generator) < 0.2)
    x = NORMALIZATION.undo(codes @ torch.randn(12, D, generator=generator))
    write_tensors(folder / "shard.safetensors", {"activations": x})
    config = CONFIG.format(path=folder / "shard.safetensors", variants=", ".join(GRIDS))
    return run_sweep(new_run(parse_config(config), folder / "outputs")).run


@pytest.fixture
def own_run(variants_run: Run, tmp_path: Path) -> Run:
    """A copy of the same, to be written into."""
    import shutil

    shutil.copytree(variants_run.path, tmp_path / "run")
    return Run(tmp_path / "run")
