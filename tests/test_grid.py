"""From a config to cells and jobs."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import grid
from saesweep.config import SweepConfig
from saesweep.config_file import load_config
from saesweep.grid import Cell, Job, expand, memory, plan, shared_bytes
from saesweep.model_config import BUILT_IN
from saesweep.sparsity import AXES as SPARSITY

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=100)
TOY = Path(__file__).parent.parent / "configs" / "toy.yaml"

AXES: dict[str, st.SearchStrategy[Any]] = {
    "l1": st.floats(0, 1e300) | st.sampled_from([0.1, 0.10000000000000002, 1e-5, 0.0]),
    "l0_coefficient": st.floats(0, 1e300),
    "k": st.integers(1, 12),
    "prior_rate": st.floats(1e-300, 0.999),
    "seed": st.integers(0, 2**63 - 1),
    "train.lr": st.floats(1e-300, 1e300),
    "train.epochs": st.integers(1, 2**31),
    "train.batch_size": st.integers(1, 2**20),
    "train.loss": st.sampled_from(["sum", "mean"]),
    "model.decoder_bias": st.booleans(),
}
SIZES = {"dict_ratio": st.integers(2, 2**20), "dict_size": st.integers(12, 2**31)}


@st.composite
def configs(draw: st.DrawFn) -> SweepConfig:
    """Configs of one variant, with grids of up to about a hundred cells."""
    variant = draw(st.sampled_from(sorted(BUILT_IN)))
    sizes = draw(st.sampled_from(sorted(SIZES)))
    others = draw(st.sets(st.sampled_from(sorted({*AXES} - {*SPARSITY})), max_size=3))
    strategies = {**AXES, **SIZES}
    return SweepConfig.model_validate(
        {
            "data": {"activation_dim": 3, "n_features": 6, "mean_active": 1},
            "grid": {
                axis: draw(st.lists(strategies[axis], min_size=1, max_size=3, unique=True))
                for axis in draw(
                    st.permutations([BUILT_IN[variant].sparsity, sizes, *sorted(others)])
                )
            },
            "model": {"variant": variant},
            "jobs": {"stack": draw(st.just("auto") | st.integers(1, 9))},
        }
    )


def value(cell: Cell, axis: str) -> Any:
    """What ``cell`` has on ``axis``."""
    if axis == "dict_ratio":
        return cell.dict_size / 6
    if axis == cell.axis.key:
        return cell.sparsity
    section, dot, key = axis.partition(".")
    return getattr(getattr(cell, section), key) if dot else getattr(cell, axis)


@SOME
@given(configs())
def test_cells_are_the_product_of_the_axes_in_their_order(config: SweepConfig) -> None:
    cells = expand(config)
    points = list(itertools.product(*config.grid.values()))
    assert [tuple(value(cell, axis) for axis in config.grid) for cell in cells] == points


@SOME
@given(configs())
def test_what_is_no_axis_is_as_in_the_config(config: SweepConfig) -> None:
    for cell in expand(config):
        assert cell.variant == config.model["variant"]
        model = {key: usual for key, usual in config.model.items() if key != "variant"}
        for section, default in (("train", config.train.model_dump()), ("model", model)):
            assert {*default} == {*getattr(cell, section).model_dump()}
            for key, usual in default.items():
                if f"{section}.{key}" not in config.grid:
                    assert getattr(getattr(cell, section), key) == usual
        assert cell.seed == 0 or "seed" in config.grid
        sizes = {"dict_ratio", "dict_size", *SPARSITY}
        assert cell.extra == {a: value(cell, a) for a in config.grid if a not in sizes}


@SOME
@given(configs())
def test_names_are_distinct_file_names_in_every_file_system(config: SweepConfig) -> None:
    names = [cell.name for cell in expand(config)]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-z][a-zA-Z0-9._=+-]*", name)
        assert len(name) <= 240  # the limit is 255, and temporary files have longer names
        axes = ["dict" if axis.startswith("dict") else axis for axis in config.grid]
        assert re.fullmatch("_".join(f"{re.escape(axis)}=[^_]+" for axis in axes), name)


def test_names_are_short_where_they_can_be() -> None:
    assert [cell.name for cell in expand(load_config(TOY))] == [
        f"l1={l1}_dict={size}"
        for l1 in ("0.01", "0.01778", "0.03162", "0.05623", "0.1", "0.1778")
        for size in (24, 48)
    ]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 1, 1e-5], ["0", "1", "1e-05"]),
        ([0.12341, 0.12342], ["0.12341", "0.12342"]),  # four digits would not tell them apart
        ([0.1, 0.1 + 1.4e-17], ["0.10000000000000001", "0.10000000000000002"]),
        ([1e10, 1e22], ["1e+10", "1e+22"]),
    ],
)
def test_values_have_as_few_digits_as_tell_them_apart(
    values: list[float], labels: list[str]
) -> None:
    config = load_config(TOY, [f"grid={{dict_size: 8, l1: {values}}}"])
    assert [cell.name for cell in expand(config)] == [f"dict=8_l1={label}" for label in labels]


def test_other_axes_are_named_as_they_are_written() -> None:
    axes = "{l1: 0.1, dict_ratio: 4, seed: [0, 12], train.lr: 1e-3, model.decoder_bias: [true]}"
    assert [cell.name for cell in expand(load_config(TOY, [f"grid={axes}"]))] == [
        f"l1=0.1_dict=24_seed={seed}_train.lr=0.001_model.decoder_bias=true" for seed in (0, 12)
    ]


def test_ratios_are_rounded_to_the_size_they_mean() -> None:
    config = load_config(TOY, ["data.n_features=100", "grid.dict_ratio=[1.15]"])
    assert {cell.dict_size for cell in expand(config)} == {115}


def test_a_cell_describes_itself_in_full() -> None:
    cell = expand(load_config(TOY, ["grid.train.lr=[0.1]"]))[0]
    assert cell.describe() == {
        "name": "l1=0.01_dict=24_train.lr=0.1",
        "l1_penalty": 0.01,
        "dict_size": 24,
        "seed": 0,
        "train": {
            "epochs": 1000,
            "steps_per_epoch": 1,
            "batch_size": 4096,
            "optimiser": "adam",
            "lr": 0.1,
            "lr_warmup": 0.0,
            "lr_decay": "none",
            "clip_norm": 0.0,
            "average": 0.0,
            "loss": "sum",
            "penalty_warmup": 0.0,
            "lp_end": 0.0,
            "revive": "none",
            "dead_after": 0.0625,
            "resample_times": 4,
        },
        "model": {
            "variant": "relu",
            "decoder_bias": False,
            "project_gradient": False,
            "penalty": "lp",
            "lp": 1.0,
            "tied": False,
            "unit_norm": True,
        },
    }


# Several variants


SEVERAL = (
    "grid={model.variant: [topk, relu, gated], dict_size: [16, 32], l1: [0.1, 0.2], k: [2, 4], "
    "model.tied: [true, false], model.decoder_bias: [true]}"
)


def test_a_cell_has_the_axes_of_its_variant_and_no_others() -> None:
    cells = expand(load_config(TOY, [SEVERAL]))
    bias = "model.decoder_bias=true"
    assert [cell.name for cell in cells] == [
        *[f"variant=topk_dict={d}_k={k}_{bias}" for d in (16, 32) for k in (2, 4)],
        *[
            f"variant=relu_dict={d}_l1={l1}_model.tied={tied}_{bias}"
            for d in (16, 32)
            for l1 in (0.1, 0.2)
            for tied in ("true", "false")
        ],
        *[f"variant=gated_dict={d}_l1={l1}_{bias}" for d in (16, 32) for l1 in (0.1, 0.2)],
    ]
    topk, relu, gated = cells[0], cells[4], cells[-1]
    assert topk.extra == {"model.variant": "topk", "model.decoder_bias": True}
    assert relu.extra == {
        "model.variant": "relu",
        "model.tied": True,
        "model.decoder_bias": True,
    }
    assert gated.extra == {"model.variant": "gated", "model.decoder_bias": True}
    assert [(c.axis.key, c.sparsity) for c in (topk, relu, gated)] == [
        ("k", 2.0),
        ("l1", 0.1),
        ("l1", 0.2),
    ]
    assert [type(c.model) for c in (topk, relu, gated)] == [
        BUILT_IN[c.variant] for c in (topk, relu, gated)
    ]
    assert topk.describe()["k"] == 2
    assert "l1_penalty" not in topk.describe()


def test_variants_never_share_a_stack() -> None:
    config = load_config(TOY, [SEVERAL])
    jobs = plan(config, expand(config))
    assert [[cell.variant for cell in job.cells] for job in jobs] == [
        ["topk"] * 4,
        ["relu"] * 4,  # tied
        ["relu"] * 4,  # not tied
        ["gated"] * 4,
    ]


def test_an_axis_with_one_variant_names_it_and_a_model_with_one_does_not() -> None:
    (one,) = expand(load_config(TOY, ["grid={model.variant: topk, k: 3, dict_ratio: 4}"]))
    assert (one.name, one.variant) == ("variant=topk_k=3_dict=24", "topk")
    (one,) = expand(load_config(TOY, ["grid={k: 3, dict_ratio: 4}", "model={variant: topk}"]))
    assert (one.name, one.variant, one.extra) == ("k=3_dict=24", "topk", {})


# What was begun before


OLD = {
    "name": "l1=0.1_dict=24",
    "l1_penalty": 0.1,
    "dict_size": 24,
    "seed": 0,
    "train": {"epochs": 1000, "steps_per_epoch": 1, "batch_size": 4096, "lr": 1e-3, "loss": "sum"},
    "model": {"variant": "relu", "decoder_bias": False},
}
"""A ``cell.json`` from before there was another variant."""


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], []),
        (["train.lr=0.5"], ["train.lr was 0.001 and is 0.5"]),
        (["train.revive=resample"], ["train.revive was none and is resample"]),
        (["train.lr_warmup=0.1"], ["train.lr_warmup was 0.0 and is 0.1"]),
        (["model.tied=true"], ["model.tied was False and is True"]),
        (["model.lp=0.5"], ["model.lp was 1.0 and is 0.5"]),
        (["grid.seed=[1]"], ["name was l1=0.1_dict=24 and is l1=0.1_dict=24_seed=1"]),
        (["model.variant=gated"], ["model.variant was relu and is gated"]),
        (["grid={k: [2], dict_size: [24]}", "model.variant=topk"], ["k was None and is 2.0"]),
        (["grid={k: [2], dict_size: [24]}", "model.variant=topk"], ["l1_penalty was 0.1 and is"]),
    ],
)
def test_a_cell_from_before_there_were_other_keys_is_the_same_where_they_are_not_used(
    overrides: list[str], expected: list[str]
) -> None:
    (cell,) = expand(load_config(TOY, ["grid={l1: [0.1], dict_ratio: [4]}", *overrides]))
    found = cell.differences(OLD)
    assert bool(found) == bool(expected)
    for text in expected:
        assert any(line.startswith(text) for line in found), found


@SOME
@given(configs())
def test_a_cell_is_as_it_describes_itself(config: SweepConfig) -> None:
    cells = expand(config)
    for cell in cells:
        assert cell.differences(cell.describe()) == []
        assert cells[0] == cell or cells[0].differences(cell.describe())


# Jobs


def shared(cell: Cell) -> tuple[Any, ...]:
    """What cells must have in common to see the same batches and take the same steps."""
    return (*cell.train.model_dump(exclude={"lr"}).items(), cell.variant, *cell.model)


@SOME
@given(configs(), st.randoms(use_true_random=False), st.integers(1, 9))
def test_a_plan_has_every_cell_once_and_stacks_only_what_fits(
    config: SweepConfig, dice: Any, slots: int
) -> None:
    cells = [cell for cell in expand(config) if dice.random() < 0.8]
    stack = config.jobs.stack
    jobs = plan(config, cells, stack, slots)
    planned = [cell for job in jobs for cell in job.cells]
    assert sorted(cell.name for cell in planned) == sorted(cell.name for cell in cells)
    for job in jobs:
        assert len({shared(cell) for cell in job.cells}) == 1
        assert job.bytes == memory(config, job.cells) + shared_bytes(config)
        order = [cells.index(cell) for cell in job.cells]
        assert order == sorted(order)
        if stack == "auto":
            assert len(job.cells) == 1 or job.bytes <= grid.STACK_BYTES
        else:
            assert len(job.cells) <= stack


@SOME
@given(configs(), st.sampled_from([1 << 12, 1 << 16, 1 << 20, 4 << 30]))
def test_a_plan_has_no_two_jobs_that_would_fit_into_one(config: SweepConfig, most: int) -> None:
    cells = expand(config)
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(shared(cell), []).append(cell)
    stack = config.jobs.stack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "STACK_BYTES", most)
        jobs = plan(config, cells, stack)
    if stack != "auto":
        assert len(jobs) == sum(-(-len(group) // stack) for group in groups.values())
        return
    for one, other in itertools.combinations(jobs, 2):
        if shared(one.cells[0]) == shared(other.cells[0]):
            taken = memory(config, [*one.cells, *other.cells])
            assert taken + shared_bytes(config) > most


@SOME
@given(configs(), st.integers(1, 12))
def test_slots_share_the_work_evenly(config: SweepConfig, slots: int) -> None:
    cells = [cell for cell in expand(config) if shared(cell) == shared(expand(config)[0])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "STACK_BYTES", math.inf)
        jobs = plan(config, cells, "auto", slots)
    assert len(jobs) == min(slots, len(cells))
    loads = [sum(cell.dict_size for cell in job.cells) for job in jobs]
    # No slot has more than another by more than one cell.
    assert max(loads) - min(loads) <= max(cell.dict_size for cell in cells)


def test_the_toy_grid_is_one_job_and_nothing_to_do_is_none() -> None:
    config = load_config(TOY)
    (job,) = plan(config, expand(config))
    assert isinstance(job, Job)
    assert len(job.cells) == 12
    assert plan(config, []) == []


def test_lr_and_seed_do_not_part_a_stack_but_batches_do() -> None:
    together = load_config(TOY, ["grid.train.lr=[1e-3, 1e-4]", "grid.seed=[0, 1]"])
    assert [len(job.cells) for job in plan(together, expand(together))] == [48]
    for axis in ("train.batch_size=[1, 2]", "train.epochs=[1, 2]", "train.loss=[sum, mean]"):
        apart = load_config(TOY, [f"grid.{axis}"])
        assert [len(job.cells) for job in plan(apart, expand(apart))] == [12, 12]


def test_large_stacks_are_split() -> None:
    big = ["data.activation_dim=4096", "grid.dict_size=[65536]", "grid.dict_ratio=null"]
    config = load_config(TOY, big)
    jobs = plan(config, expand(config))
    assert len(jobs) == 6  # each takes over 8 GB: alone, but not refused
    assert all(job.bytes > grid.STACK_BYTES for job in jobs)


# Snapshots


def test_small_cells_keep_their_atoms_and_large_ones_do_not() -> None:
    toy = load_config(TOY)
    assert all(grid.keeps_atoms(toy, cell) for cell in expand(toy))
    large = load_config(TOY, ["data.activation_dim=1024", "data.n_features=1024"])
    for cell in expand(large):
        assert not grid.keeps_atoms(large, cell)
        whole = 4 * cell.dict_size * 1024 * 101
        assert grid.snapshot_bytes(large, cell) < whole / 10
