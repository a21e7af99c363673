"""Runs for reports: with seeds, variants and failures; and one that a stranger made to do harm."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from saesweep import files
from saesweep.cell_folder import CellFolder
from saesweep.config_file import dump_config, load_config, parse_config
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
ODD_NAME = HARM_IN_A_NAME + os.fsdecode(b" \xff")
"""No Unicode, as a name of a file need not be."""
SECRET = "a secret of whoever makes the report"


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
    """The small run, after someone wrote markup into every text that a report shows, and put links
    and pipes in the place of files. Its last two cells are done, and a file beside it is secret.
    """
    path = tmp_path_factory.mktemp("hostile") / ODD_NAME
    shutil.copytree(finished.path, path)
    config = load_config(path / "config.yaml", [f"jobs.slurm.account={json.dumps(HARM)}"])
    (path / "config.yaml").write_text(dump_config(config))
    run = Run(path)
    _harm_cells(run, path.parent / "secret")
    _harm_tables(run)
    return run


def _harm_cells(run: Run, secret: Path) -> None:
    secret.write_text(SECRET)
    failed, elsewhere, told, last = map(run.folder, run.cells)
    (failed.path / "result.json").unlink()
    failed.log(HARM)
    failed.fail(HARM, HARM)
    (elsewhere.path / "result.json").unlink()
    (elsewhere.path / "log.txt").unlink()
    (elsewhere.path / "log.txt").symlink_to(secret)
    os.mkfifo(elsewhere.path / "error.txt")
    history = told.path / "history.csv"
    head, *rows = history.read_text().splitlines()
    lines = [f'{head},"{HARM}"', *(f"{row},1" for row in rows)]
    history.write_text("\n".join(lines) + "\n")
    seal(told)
    run.gifs_dir.mkdir()
    (run.gifs_dir / "grid.gif").write_bytes(b"GIF89a")
    (run.gifs_dir / f"{told.cell.name}.gif").symlink_to(secret)
    (run.gifs_dir / f"{last.cell.name}.gif").symlink_to(f"{last.cell.name}.gif")


def _harm_tables(run: Run) -> None:
    provenance = json.loads((run.path / "provenance.json").read_text())
    provenance["command"] = ["saesweep", HARM]
    provenance["device"] = {"kind": HARM, "name": {HARM: [HARM]}}
    provenance["packages"] = {"torch": "@"}
    provenance["python"] = 10**400
    deep = json.dumps(provenance).replace('"@"', "[" * 800 + "]" * 800)
    (run.path / "provenance.json").write_text(deep)
    brought = run.path / "imported" / ODD_NAME
    brought.mkdir(parents=True)
    metrics = {"mmcs": 0.5, "fvu": 0.5, "l0": 1.0}
    (brought / "result.json").write_text(json.dumps({"metrics": metrics, "dict_size": 8}))
    table = run.metrics_dir / "baselines.csv"
    table.write_text(table.read_text().replace("pca", HARM.replace(",", ";").replace('"', "'")))


def seal(folder: CellFolder) -> None:
    """Let a cell whose files were changed look as if it had been done so."""
    path = folder.path / "result.json"
    result = json.loads(path.read_text())
    result["files"] = {name: files.sha256(folder.path / name) for name in result["files"]}
    del result["sha256"]
    digest = hashlib.sha256(files.to_json(result).encode()).hexdigest()
    path.write_text(json.dumps({**result, "sha256": digest}))
