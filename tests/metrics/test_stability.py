"""Stability across seeds, for dictionaries written by hand."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saesweep.catalogue import METRICS
from saesweep.config import SweepConfig
from saesweep.dictionaries.sae import SAE
from saesweep.files import Row, read_rows
from saesweep.grid import Cell
from saesweep.metrics import stability
from saesweep.metrics.collect import collect
from saesweep.run_folder import Run

ACROSS = ("mmcs_larger", "mmcs_next_larger", "stability")


def run_of(grid: dict[str, Any], out: Path) -> Run:
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    return Run.create(SweepConfig.model_validate({"data": data, "grid": grid}), out)


def finish(run: Run, cell: Cell, atoms: torch.Tensor) -> None:
    folder = run.folder(cell)
    folder.begin("by hand")
    folder.write_history([{"epoch": 0, "step": 0, "loss": 1.0}])
    sae = SAE(W_enc=atoms.T, b_enc=torch.zeros(len(atoms)), W_dec=atoms, b_dec=torch.zeros(3))
    values = {key: 0.5 for key in METRICS if key not in ACROSS}
    folder.finish(sae.tensors(), {"epoch": torch.tensor([0])}, values)


def random_atoms(size: int, seed: int) -> torch.Tensor:
    atoms = torch.randn(size, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(atoms, dim=1)


def best_assignment(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean |cosine| over the best of all one-to-one assignments, by trying them all."""
    cosine = np.abs(one.double().numpy() @ other.double().numpy().T)
    size = range(len(cosine))
    return max(float(cosine[size, order].mean()) for order in permutations(size))


def by_name(rows: list[Row]) -> dict[str, float]:
    return {row["cell"]: row["stability"] for row in rows}


def test_each_cell_is_compared_with_its_other_seeds(tmp_path: Path) -> None:
    run = run_of({"l1": [0.1, 0.2], "dict_size": [4, 5], "seed": [0, 1, 2]}, tmp_path)
    atoms = {cell.name: random_atoms(cell.dict_size, i) for i, cell in enumerate(run.cells)}
    for cell in run.cells:
        finish(run, cell, atoms[cell.name])
    found = by_name(collect(run))
    for cell in run.cells:
        alike = [
            c for c in run.cells if (c.sparsity, c.dict_size) == (cell.sparsity, cell.dict_size)
        ]
        others = [c for c in alike if c.seed != cell.seed]
        assert len(others) == 2
        expected = [best_assignment(atoms[cell.name], atoms[other.name]) for other in others]
        assert found[cell.name] == pytest.approx(np.mean(expected), abs=1e-6)
        # What compares cells is found again, without comparing.
        row = next(row for row in run.metrics() if row["cell"] == cell.name)
        assert row["stability"] == found[cell.name]


def test_order_and_sign_of_atoms_do_not_matter(tmp_path: Path) -> None:
    run = run_of({"l1": 0.1, "dict_size": 4, "seed": [0, 1]}, tmp_path)
    atoms = random_atoms(4, 0)
    finish(run, run.cells[0], atoms)
    finish(run, run.cells[1], -atoms[[2, 0, 3, 1]])
    assert list(by_name(collect(run)).values()) == pytest.approx([1, 1], abs=1e-6)


def test_seeds_that_are_not_done_are_left_out(tmp_path: Path) -> None:
    run = run_of({"l1": [0.1, 0.2], "dict_size": 4, "seed": [0, 1, 2]}, tmp_path)
    first, second, third, *others = run.cells
    finish(run, first, random_atoms(4, 0))
    run.folder(second).fail("diverged")
    finish(run, third, random_atoms(4, 1))
    finish(run, others[0], random_atoms(4, 2))  # alone
    found = by_name(collect(run))
    expected = best_assignment(random_atoms(4, 0), random_atoms(4, 1))
    assert [found[first.name], found[third.name]] == pytest.approx([expected] * 2, abs=1e-6)
    assert all(math.isnan(found[cell.name]) for cell in (second, *others))


def test_without_seeds_there_is_none(tmp_path: Path) -> None:
    run = run_of({"l1": [0.1, 0.2], "dict_size": 4}, tmp_path)
    for cell in run.cells:
        finish(run, cell, random_atoms(4, 0))
    assert all(math.isnan(value) for value in by_name(collect(run)).values())
    assert not (run.metrics_dir / stability.PAIRS).exists()


def test_large_dictionaries_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stability, "MOST_ATOMS", 4)
    run = run_of({"l1": 0.1, "dict_size": [4, 5], "seed": [0, 1]}, tmp_path)
    for cell in run.cells:
        finish(run, cell, random_atoms(cell.dict_size, 0))
    found = by_name(collect(run))
    assert {cell.dict_size for cell in run.cells if math.isnan(found[cell.name])} == {5}


def test_only_pairs_with_new_weights_are_compared_again(tmp_path: Path) -> None:
    run = run_of({"l1": 0.1, "dict_size": 4, "seed": [0, 1, 2]}, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, random_atoms(4, i))
    compared: list[int] = []

    def check() -> None:
        compared.append(1)

    before = by_name(collect(run, check))
    assert len(compared) == 3
    pairs = read_rows(run.metrics_dir / stability.PAIRS)
    assert pairs[0]["mcc"] == pytest.approx(
        best_assignment(random_atoms(4, 0), random_atoms(4, 1)), abs=1e-6
    )
    assert by_name(collect(run, check)) == before
    assert len(compared) == 3
    finish(run, run.cells[0], random_atoms(4, 9))
    after = by_name(collect(run, check))
    assert len(compared) == 5
    assert len(read_rows(run.metrics_dir / stability.PAIRS)) == 3
    expected = [best_assignment(random_atoms(4, 9), random_atoms(4, i)) for i in (1, 2)]
    assert after[run.cells[0].name] == pytest.approx(np.mean(expected), abs=1e-6)
    (run.metrics_dir / stability.PAIRS).write_text("cell,other\nx\n")  # damaged
    assert by_name(collect(run, check)) == after


def test_what_was_compared_is_kept_when_stopped(tmp_path: Path) -> None:
    run = run_of({"l1": 0.1, "dict_size": 4, "seed": [0, 1, 2]}, tmp_path)
    for i, cell in enumerate(run.cells):
        finish(run, cell, random_atoms(4, i))
    calls = iter([None, KeyboardInterrupt])

    def stop() -> None:
        if (error := next(calls, None)) is not None:
            raise error

    with pytest.raises(KeyboardInterrupt):
        collect(run, stop)
    compared: list[int] = []
    collect(run, lambda: compared.append(1))
    assert len(compared) == 2
