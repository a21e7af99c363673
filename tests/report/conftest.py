"""Runs for reports: with seeds, variants and failures; and one that a stranger made to do harm."""

from __future__ import annotations

import json
import shutil

import pytest

from saesweep.config_file import parse_config
from saesweep.run_folder import Run
from saesweep.sweep import new_run, run_sweep

SEEDS = """
name: seeds
data: {activation_dim: 3, n_features: 4, mean_active: 1}
grid: {model.variant: [relu, topk], l1: [0.01, 0.1], k: [1, 2], dict_ratio: [2, 4], seed: [0, 1]}
train: {epochs: 20, batch_size: 128}
snapshot_every: 5
eval: {n_samples: 1000}
jobs: {plot: false}
"""
HARM = "<script>window.harmed=1;alert(1)<" + "/script><img src=x onerror='window.harmed=1'>"
HARM_IN_A_NAME = "<img src=x onerror=window.harmed=1>"


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two variants on two axes, two seeds each; one cell has failed and one never began."""
    run = run_sweep(new_run(parse_config(SEEDS), tmp_path_factory.mktemp("seeds"), "seeds")).run
    failed, waiting = run.folder(run.cells[0]), run.folder(run.cells[-1])
    shutil.rmtree(failed.path)
    failed.begin("on a device")
    failed.fail("its loss is not finite", "at step 3")
    shutil.rmtree(waiting.path)
    return run


@pytest.fixture(scope="session")
def hostile(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small run, after someone wrote markup into every text that a report shows."""
    path = tmp_path_factory.mktemp("hostile") / HARM_IN_A_NAME
    shutil.copytree(finished.path, path)
    run = Run(path)
    failed = run.folder(run.cells[0])
    (failed.path / "result.json").unlink()
    failed.log(HARM)
    failed.fail(HARM, HARM)
    provenance = json.loads((path / "provenance.json").read_text())
    provenance["command"] = ["saesweep", HARM]
    provenance["device"] = {"kind": HARM, "name": HARM}
    (path / "provenance.json").write_text(json.dumps(provenance))
    brought = path / "imported" / HARM_IN_A_NAME
    brought.mkdir(parents=True)
    metrics = {"mmcs": 0.5, "fvu": 0.5, "l0": 1.0}
    (brought / "result.json").write_text(json.dumps({"metrics": metrics, "dict_size": 8}))
    table = path / "metrics" / "baselines.csv"
    table.write_text(table.read_text().replace("pca", HARM.replace(",", ";").replace('"', "'")))
    gifs = path / "gifs"
    gifs.mkdir()
    (gifs / "grid.gif").write_bytes(b"GIF89a")
    return run
