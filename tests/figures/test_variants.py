"""Cells are told apart by the values of their other axes."""

from __future__ import annotations

from saesweep.config import SweepConfig
from saesweep.figures.variants import Variant, variants
from saesweep.grid import expand
from saesweep.sparsity import AXES


def test_other_axes_are_variants_and_seeds_are_not():
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    grid = {"l1": [0.1, 0.2], "dict_ratio": [2], "seed": [0, 1], "train.lr": [1e-3, 3e-4]}
    found = variants(expand(SweepConfig.model_validate({"data": data, "grid": grid})))
    assert [variant.name for variant in found] == ["train.lr=0.001", "train.lr=0.0003"]
    cells = found[1].cells
    assert list(cells) == [(4, 0.1), (4, 0.2)]
    assert [cell.seed for cell in cells[4, 0.2]] == [0, 1]


def test_values_that_agree_in_six_digits_are_two():
    data = {"activation_dim": 3, "n_features": 2, "mean_active": 1}
    grid = {"l1": [0.1], "dict_ratio": [2], "train.lr": [1e-3, 1.0000001e-3]}
    found = variants(expand(SweepConfig.model_validate({"data": data, "grid": grid})))
    assert [variant.name for variant in found] == ["train.lr=0.001", "train.lr=0.0010000001"]


def test_a_variant_names_a_file():
    assert Variant("", {}, AXES["l1"]).stem("tracking_dead") == "tracking_dead"
    several = Variant("train.lr=0.001, model.variant=a/b", {}, AXES["l1"])
    assert several.stem("x") == "x_train.lr=0.001_model.variant=a_b"
