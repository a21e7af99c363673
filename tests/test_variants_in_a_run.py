"""All variants in one run by the command line, and one of another package, as docs show it."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saesweep.data.synthetic import SyntheticSource
from saesweep.run_folder import Run

Command = Callable[..., "subprocess.CompletedProcess[str]"]
DOCS = Path(__file__).parents[1] / "docs" / "variants.md"
MIXED = """
name: mixed
data: {activation_dim: 4, n_features: 6, mean_active: 1}
grid:
  model.variant: [relu, gated, topk, batchtopk, matryoshka, jumprelu, variational]
  l1: [0.02, 0.2]
  k: [1, 2]
  l0_coefficient: [0.01]
  prior_rate: [0.1]
  dict_size: [8]
model: {threshold: 0.1, bandwidth: 0.1, prefixes: 2, decoder_bias: true}
train: {epochs: 12, batch_size: 64, revive: auxk, dead_after: 0.25}
snapshot_every: 6
eval: {n_samples: 500}
jobs: {plot: false}
"""


def test_a_run_of_every_variant(tmp_path: Path, saesweep: Command) -> None:
    (tmp_path / "mixed.yaml").write_text(MIXED)
    ran = saesweep("run", "mixed.yaml", "--name", "mixed", "--quiet")
    assert ran.returncode == 0, ran.stderr
    run = Run(tmp_path / "outputs" / "mixed")
    rows = run.metrics()
    assert len(rows) == 12
    assert {row["model.variant"] for row in rows} == {*run.config.grid["model.variant"]}
    x = SyntheticSource(run.config.data, 0).evaluation_set(500).x
    features = run.features().double().numpy()
    for row in rows:
        # From the weights on disk alone.
        sae = run.sae(row["cell"])
        latents = sae.encode(x)
        x_hat = sae.decode(latents)
        error = (x - x_hat).double().square().sum() / (x - x.mean(dim=0)).double().square().sum()
        assert row["fvu"] == pytest.approx(error.item(), rel=1e-4)
        assert row["l0"] == pytest.approx(
            (latents != 0).double().sum(dim=1).mean().item(), rel=1e-3
        )
        atoms = sae.W_dec.double().numpy()
        cosines = features @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).T
        assert row["mmcs"] == pytest.approx(cosines.max(axis=1).mean(), rel=1e-5)
        assert np.isfinite(row["brier"]) == (row["model.variant"] == "variational")
    with (run.metrics_dir / "mmcs.csv").open() as file:
        assert next(csv.reader(file)) == [
            *("model.variant", "dict_size", "l1=0.02", "l1=0.2", "k=1", "k=2"),
            *("l0_coefficient=0.01", "prior_rate=0.1"),
        ]


def test_a_variant_of_another_package(tmp_path: Path, saesweep: Command) -> None:
    """The example of the documentation, installed, trained and read back."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (entry,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (home,) = re.findall(r'"(.*):SoftRelu"', entry)
    package = tmp_path / "site" / home.replace(".", "/")
    package.parent.mkdir(parents=True)
    package.with_suffix(".py").write_text(code)
    facts = tmp_path / "site" / "mypackage-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(f"[saesweep.variants]\nsoftrelu = {home}:SoftRelu\n")
    (tmp_path / "own.yaml").write_text(
        "data: {activation_dim: 4, n_features: 6, mean_active: 1}\n"
        "grid: {l1: [0.02, 0.2], dict_size: [8], model.temperature: [0.05, 0.1]}\n"
        "model: {variant: softrelu}\n"
        "train: {epochs: 8, batch_size: 64}\neval: {n_samples: 300}\njobs: {plot: false}\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    ran = saesweep("run", "own.yaml", "--name", "own", "--quiet", PYTHONPATH=path)
    assert ran.returncode == 0, ran.stderr
    shown = saesweep("results", "outputs/own", "--format", "csv", PYTHONPATH=path)
    rows = list(csv.DictReader(shown.stdout.splitlines()))
    assert [row["model.temperature"] for row in rows] == ["0.05", "0.1"] * 2
    assert all(0 < float(row["l0"]) <= 8 for row in rows)
    without = saesweep("results", "outputs/own")
    assert without.returncode == 2
    assert "softrelu" in without.stderr
    assert "Traceback" not in without.stderr
