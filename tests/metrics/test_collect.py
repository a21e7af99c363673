"""Tables of a run whose cells were never trained: their weights are written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saesweep.catalogue import METRICS, OF_LANGUAGE_MODELS
from saesweep.config import SweepConfig
from saesweep.dictionaries.sae import SAE
from saesweep.files import Row, read_rows
from saesweep.grid import Cell
from saesweep.metrics.collect import collect
from saesweep.run_folder import Run

E1, E2, E3 = torch.eye(3)


def run_of(grid: dict[str, Any], out: Path) -> Run:
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    return Run.create(SweepConfig.model_validate({"data": data, "grid": grid}), out)


def finish(run: Run, cell: Cell, atoms: torch.Tensor, **metrics: float) -> None:
    """Leave what a trained cell leaves."""
    assert len(atoms) == cell.dict_size
    folder = run.folder(cell)
    folder.begin("by hand")
    folder.write_history([{"epoch": 0, "step": 0, "loss": 1.0}])
    sae = SAE(W_enc=atoms.T, b_enc=torch.zeros(len(atoms)), W_dec=atoms, b_dec=torch.zeros(3))
    values = {key: math.nan for key in METRICS} | metrics
    del values["mmcs_larger"], values["mmcs_next_larger"], values["stability"]
    folder.finish(sae.tensors(), {"epoch": torch.tensor([0])}, values)


def named(rows: list[Row]) -> dict[str, Row]:
    return {row["cell"]: row for row in rows}


SMALL = torch.stack([E1, E2])
MIDDLE = torch.stack([E1, 0.6 * E2 + 0.8 * E3, -E3])
LARGE = torch.stack([0.8 * E1 + 0.6 * E2, E3, -E1, -E2])
# The mean over the smaller dictionary's atoms of the largest signed cosine with one of the larger:
SMALL_MIDDLE = (1 + 0.6) / 2
SMALL_LARGE = (0.8 + 0.6) / 2
MIDDLE_LARGE = (0.8 + 0.8 + 0) / 3


def test_agreement_with_larger_dictionaries(tmp_path: Path):
    run = run_of({"l1": [0.1], "dict_size": [4, 2, 3]}, tmp_path)  # not in order of size
    for cell, atoms in zip(run.cells, (LARGE, SMALL, MIDDLE), strict=True):
        finish(run, cell, atoms)
    rows = named(collect(run))
    small, middle = rows["l1=0.1_dict=2"], rows["l1=0.1_dict=3"]
    assert small["mmcs_larger"] == pytest.approx((SMALL_MIDDLE + SMALL_LARGE) / 2)
    assert small["mmcs_next_larger"] == pytest.approx(SMALL_MIDDLE)
    assert middle["mmcs_larger"] == pytest.approx(MIDDLE_LARGE)
    assert middle["mmcs_next_larger"] == pytest.approx(MIDDLE_LARGE)
    for key in ("mmcs_larger", "mmcs_next_larger"):
        assert math.isnan(rows["l1=0.1_dict=4"][key]), "the largest has none"


def test_only_cells_that_agree_in_all_else_are_compared(tmp_path: Path):
    run = run_of({"l1": [0.1, 0.2], "dict_size": [2, 3], "seed": [0, 1]}, tmp_path)
    identical = torch.stack([E1, E2, E3])
    for cell in run.cells:
        alike = cell.sparsity == 0.1 and cell.seed == 0
        if cell.dict_size == 2:
            finish(run, cell, SMALL)
        else:
            finish(run, cell, identical if alike else MIDDLE)
    rows = named(collect(run))
    assert rows["l1=0.1_dict=2_seed=0"]["mmcs_larger"] == pytest.approx(1)
    for name in ("l1=0.1_dict=2_seed=1", "l1=0.2_dict=2_seed=0", "l1=0.2_dict=2_seed=1"):
        assert rows[name]["mmcs_larger"] == pytest.approx(SMALL_MIDDLE), name


def test_cells_that_are_not_done_are_left_out(tmp_path: Path):
    run = run_of({"l1": [0.1], "dict_size": [2, 3, 4]}, tmp_path)
    small, middle, large = run.cells
    finish(run, small, SMALL, mmcs=0.5)
    run.folder(middle).fail("diverged")
    finish(run, large, LARGE, mmcs=0.25)
    rows = named(collect(run))
    assert [row["state"] for row in rows.values()] == ["done", "failed", "done"]
    assert math.isnan(rows[small.name]["mmcs_next_larger"])  # the next size failed
    assert math.isnan(rows[middle.name]["mmcs_larger"])
    assert math.isnan(rows[middle.name]["mmcs"])
    assert rows[large.name]["mmcs"] == 0.25


def test_a_large_dictionary_is_compared_in_parts(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    small, large = (
        torch.nn.functional.normalize(torch.randn(size, 3, generator=generator), dim=1)
        for size in (1500, 2000)
    )
    run = run_of({"l1": [0.1], "dict_size": [1500, 2000]}, tmp_path)
    finish(run, run.cells[0], small)
    finish(run, run.cells[1], large)
    row = collect(run)[0]
    expected = (small.double() @ large.double().T).max(dim=1).values.mean().item()
    assert row["mmcs_larger"] == pytest.approx(expected, abs=1e-6)


def test_tables_on_disk(tmp_path: Path):
    run = run_of({"l1": [0.1, 0.2], "dict_size": [2, 3]}, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, SMALL if cell.dict_size == 2 else MIDDLE, mmcs=i / 8, l0=float(i))
    rows = collect(run)
    table = read_rows(run.metrics_dir / "metrics.csv")
    assert [row["cell"] for row in table] == [cell.name for cell in run.cells]
    assert [row["mmcs"] for row in table] == [0, 1 / 8, 2 / 8, 3 / 8]
    assert {path.stem for path in run.metrics_dir.glob("*.csv")} == {
        *("metrics", "tracking", "prediction"),
        *(key for key in METRICS if key not in OF_LANGUAGE_MODELS),
    }
    # Rows dictionary size, columns L1.
    matrix = read_rows(run.metrics_dir / "mmcs.csv")
    assert matrix == [
        {"dict_size": 2, "0.1": 0, "0.2": 2 / 8},
        {"dict_size": 3, "0.1": 1 / 8, "0.2": 3 / 8},
    ]
    larger = read_rows(run.metrics_dir / "mmcs_larger.csv")
    assert larger[0] == {"dict_size": 2, "0.1": pytest.approx(0.8), "0.2": pytest.approx(0.8)}
    assert math.isnan(larger[1]["0.1"])
    # What was compared across cells is found again without comparing.
    assert run.metrics()[0]["mmcs_larger"] == pytest.approx(rows[0]["mmcs_larger"])


def test_other_axes_make_blocks_of_the_matrix(tmp_path: Path):
    grid = {"train.lr": [0.5, 0.25], "l1": [0.1, 0.2], "dict_size": [2], "seed": [7]}
    run = run_of(grid, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, SMALL, l0=float(i))
    collect(run)
    assert read_rows(run.metrics_dir / "l0.csv") == [
        {"train.lr": 0.5, "seed": 7, "dict_size": 2, "0.1": 0, "0.2": 1},
        {"train.lr": 0.25, "seed": 7, "dict_size": 2, "0.1": 2, "0.2": 3},
    ]
    assert not list(run.metrics_dir.glob("*_std.csv")), "a single seed has no spread"


def test_matrices_of_several_seeds_hold_means_and_spreads(tmp_path: Path):
    run = run_of({"seed": [7, 8, 9], "l1": [0.1, 0.2], "dict_size": [2, 3]}, tmp_path)
    values = np.random.default_rng(0).random((3, 2, 2))  # as the cells: seeds, penalties, sizes
    for cell, value in zip(run.cells, values.flat, strict=True):
        finish(run, cell, SMALL if cell.dict_size == 2 else MIDDLE, l0=value)
    run.folder(run.cells[0]).path.joinpath("result.json").unlink()
    run.folder(run.cells[0]).fail("diverged")  # seed 7 of l1=0.1, size 2
    values[0, 0, 0] = np.nan
    rows = collect(run)
    assert len(rows) == len(read_rows(run.metrics_dir / "metrics.csv")) == 12
    means, spreads = np.nanmean(values, axis=0).T, np.nanstd(values, axis=0, ddof=1).T
    for name, expected in (("l0", means), ("l0_std", spreads)):
        table = read_rows(run.metrics_dir / f"{name}.csv")
        assert list(table[0]) == ["dict_size", "0.1", "0.2"]
        found = [[row["0.1"], row["0.2"]] for row in table]
        np.testing.assert_allclose(found, expected)


BOTH = {"model.variant": ["relu", "topk"], "l1": [1, 0.5], "k": [1, 2], "dict_size": [2, 3]}
"""L1 penalties and counts that are the same number: no two cells of one variant are mixed up."""


def test_rows_of_several_variants_have_the_columns_of_all(tmp_path: Path):
    run = run_of({**BOTH, "model.tied": [True]}, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, SMALL if cell.dict_size == 2 else MIDDLE, l0=float(i))
    collect(run)
    assert [axis.key for axis in run.sparsity_axes] == ["l1", "k"]
    own = ["l1_penalty", "k", "dict_size", "model.variant", "model.tied"]
    rows = run.metrics()
    assert list(rows[0])[:7] == ["cell", *own[:3], "dict_ratio", *own[3:]]
    assert [repr([row[key] for key in own]) for row in rows] == [
        *[repr([l1, math.nan, size, "relu", True]) for l1 in (1.0, 0.5) for size in (2, 3)],
        *[repr([math.nan, k, size, "topk", ""]) for k in (1.0, 2.0) for size in (2, 3)],
    ]
    lines = (run.metrics_dir / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("cell,l1_penalty,k,dict_size,dict_ratio,model.variant,model.tied,")
    assert lines[1].startswith("variant=relu_l1=1_dict=2_model.tied=true,1.0,nan,2,1.0,relu,True,")
    assert lines[5].startswith("variant=topk_k=1_dict=2,nan,1.0,2,1.0,topk,,")


def test_a_matrix_of_several_variants_has_a_column_for_each_value_of_each_axis(tmp_path: Path):
    run = run_of(BOTH, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, SMALL if cell.dict_size == 2 else MIDDLE, l0=float(i))
    run.folder(run.cells[0]).path.joinpath("result.json").unlink()
    run.folder(run.cells[0]).fail("diverged")  # relu, l1=1, two latents
    collect(run)
    # What is not done is nan, and so is what is of another variant.
    assert (run.metrics_dir / "l0.csv").read_text().splitlines() == [
        "model.variant,dict_size,l1=1,l1=0.5,k=1,k=2",
        "relu,2,nan,2.0,nan,nan",
        "relu,3,1.0,3.0,nan,nan",
        "topk,2,nan,nan,4.0,6.0",
        "topk,3,nan,nan,5.0,7.0",
    ]


def test_dictionaries_of_two_variants_are_not_compared(tmp_path: Path):
    run = run_of({**BOTH, "l1": [1], "k": [1]}, tmp_path)
    identical = torch.stack([E1, E2, E3])
    for cell in run.cells:
        large = identical if cell.variant == "relu" else MIDDLE
        finish(run, cell, SMALL if cell.dict_size == 2 else large)
    rows = named(collect(run))
    assert rows["variant=relu_l1=1_dict=2"]["mmcs_larger"] == pytest.approx(1)
    assert rows["variant=topk_k=1_dict=2"]["mmcs_larger"] == pytest.approx(SMALL_MIDDLE)
    for name in ("variant=relu_l1=1_dict=3", "variant=topk_k=1_dict=3"):
        assert math.isnan(rows[name]["mmcs_larger"])


def test_a_single_axis_of_sparsity_needs_no_name_in_a_matrix(tmp_path: Path):
    run = run_of({"model.variant": ["topk"], "k": [1, 2], "dict_size": [2]}, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, SMALL, l0=float(i))
    collect(run)
    assert read_rows(run.metrics_dir / "l0.csv") == [
        {"model.variant": "topk", "dict_size": 2, "1": 0, "2": 1}
    ]
    assert "l1_penalty" not in run.metrics()[0]
