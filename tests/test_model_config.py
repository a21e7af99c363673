"""The variants of a config: their keys, grids of several, and those that other packages offer."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from saesweep import model_config, yaml_file
from saesweep.config import SweepConfig
from saesweep.config_file import changed, dump_config, json_schema, parse_config
from saesweep.errors import ConfigError
from saesweep.grid import Cell, expand, plan
from saesweep.model_config import BUILT_IN, GROUP, Options
from saesweep.sparsity import AXES

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=100)
CONFIGS = Path(__file__).parent.parent / "configs"
DATA = "data: {activation_dim: 3, n_features: 6, mean_active: 1}\n"

COMMON = {"decoder_bias", "project_gradient"}
VARIANTS: dict[str, tuple[str, set[str]]] = {
    "relu": ("l1", {"penalty", "lp", "tied", "unit_norm"}),
    "topk": ("k", set()),
    "batchtopk": ("k", set()),
    "jumprelu": ("l0_coefficient", {"threshold", "bandwidth"}),
    "gated": ("l1", set()),
    "matryoshka": ("k", {"prefixes"}),
    "variational": ("prior_rate", {"prior", "slab_std", "kl_weight"}),
}
"""What makes each variant sparse, and the keys that it has of its own."""
OTHER: dict[str, Any] = {
    "penalty": "tanh",
    "lp": 0.5,
    "tied": True,
    "unit_norm": False,
    "threshold": 0.5,
    "bandwidth": 0.5,
    "prefixes": 2,
    "prior": "laplace",
    "slab_std": 0.5,
    "kl_weight": 0.5,
}
"""Values that are not the default."""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(DATA + text, "c")
    return [problem.removeprefix("c:") for problem in caught.value.problems]


# Their keys


def test_each_variant_has_its_keys_and_its_axis() -> None:
    assert {*BUILT_IN} == {*VARIANTS}
    for name, (axis, own) in VARIANTS.items():
        rate = 5 if axis == "k" else 0.5
        config = parse_config(
            f"{DATA}grid: {{{axis}: {rate}, dict_size: 8}}\nmodel: {{variant: {name}}}"
        )
        assert {*config.model} == {"variant", *COMMON, *own}
        (cell,) = expand(config)
        assert (cell.variant, cell.axis.key) == (name, axis)
        assert cell.sparsity == rate
        assert {*cell.model.model_dump()} == COMMON | own


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_key_of_another_variant_is_refused_with_its_owner(variant: str) -> None:
    axis, own = VARIANTS[variant]
    grid = f"grid: {{{axis}: {2 if axis == 'k' else 0.5}, dict_size: 8"
    plain = parse_config(f"{DATA}{grid}}}\nmodel: {{variant: {variant}}}")
    for owner, (_, keys) in VARIANTS.items():
        for key in keys - own:
            value = json.dumps(OTHER[key])
            said = f"is for {owner}; the variant is {variant}"
            model = f"model: {{variant: {variant}, {key}: "
            assert problems(f"{grid}}}\n{model}{value}}}") == [
                f"3:{len(model) + 1}: model.{key}: {said}"
            ]
            usual = json.dumps(BUILT_IN[owner].model_fields[key].default)
            assert parse_config(f"{DATA}{grid}}}\n{model}{usual}}}") == plain
            line = f"{grid}, model.{key}: "
            assert problems(f"{line}{value}}}\nmodel: {{variant: {variant}}}") == [
                f"2:{len(line) + 1}: grid.model.{key}: {said}"
            ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_axis_of_another_variant_is_refused_and_its_own_is_missed(variant: str) -> None:
    own = VARIANTS[variant][0]
    for other in {*AXES} - {own}:
        owners = ", ".join(name for name, (axis, _) in VARIANTS.items() if axis == other)
        assert problems(f"grid: {{{other}: 1, dict_size: 8}}\nmodel: {{variant: {variant}}}") == [
            f"2:7: grid: has no {own}, which makes {variant} sparse; give it",
            f"2:{len(other) + 10}: grid.{other}: is for {owners}; the variant is {variant}",
        ]


def test_a_model_says_nothing_while_the_grid_that_decides_on_it_is_wrong() -> None:
    wrong = "grid: {model.variant: [topk, relux], k: 2, dict_size: 8}\nmodel: {tied: true}"
    assert [line.split(": ")[1] for line in problems(wrong)] == ["grid.model.variant[1]"]
    wrong = "grid: {k: -2, dict_size: 8}\nmodel: {variant: topk, tied: true}"
    assert [line.split(": ")[1] for line in problems(wrong)] == ["grid.k[0]", "model.tied"]


def test_what_does_not_go_together_is_found_in_any_cell() -> None:
    grid = "grid: {l1: 1, dict_size: 8, model.tied: [false, true], model.unit_norm: [true, false]}"
    assert problems(grid) == ["2:7: grid: relu: tied atoms have norm 1; leave unit_norm true"]
    ends = "grid: {l1: 1, dict_size: 8, model.lp: [1, 0.5], train.lp_end: [0, 0.3, 0.5, 0.7]}"
    assert problems(ends) == [
        "2:7: grid: lp_end 0.5 should be below lp 0.5",
        "2:7: grid: lp_end 0.7 should be below lp 0.5",
    ]
    sizes = "grid: {k: [4, 8, 16], dict_ratio: [1, 2]}\nmodel: {variant: batchtopk}"
    assert problems(sizes) == [
        f"2:7: grid: batchtopk: k of {k} is more than the {size} latents of a dictionary"
        for k, size in ((8, 6), (16, 6), (16, 12))
    ]


# Grids of several


def test_a_list_of_variants_may_be_cut_short_and_the_rest_stays() -> None:
    grid = "model.variant: {}, l1: [0.1, 0.2], k: [2, 4], dict_size: 8, model.prefixes: [1, 2]"
    rest = "}\nmodel: {tied: true, threshold: 0.5}"
    both, one = (
        expand(parse_config(f"{DATA}grid: {{{grid.format(names)}{rest}"))
        for names in ("[relu, matryoshka]", "[relu]")
    )
    assert len(both) == 2 + 4
    assert one == both[:2]
    assert [cell.name for cell in one] == [f"variant=relu_l1={l1}_dict=8" for l1 in (0.1, 0.2)]


def rates(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, exclude_min=True, exclude_max=True)


POSITIVE = st.floats(1e-300, 1e300)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "l1": st.floats(0, 1e300),
    "k": st.integers(1, 64),
    "l0_coefficient": st.floats(0, 1e300),
    "prior_rate": rates(0, 1),
    "dict_size": st.integers(64, 2**31),
    "dict_ratio": st.integers(11, 2**20),
    "seed": st.integers(0, 2**63 - 1),
    "train.lr": POSITIVE,
    "train.revive": st.sampled_from(["none", "resample", "ghost_grads", "auxk"]),
    "model.decoder_bias": st.booleans(),
    "model.project_gradient": st.booleans(),
    "model.penalty": st.sampled_from(["lp", "tanh"]),
    "model.lp": rates(0, 2),
    "model.tied": st.booleans(),
    "model.unit_norm": st.booleans(),
    "model.threshold": POSITIVE,
    "model.bandwidth": POSITIVE,
    "model.prefixes": st.integers(1, 7),
    "model.prior": st.sampled_from(["spike_slab", "laplace"]),
    "model.slab_std": POSITIVE,
    "model.kl_weight": POSITIVE,
}
MODEL_KEYS = {axis for axis in VALUES if axis.startswith("model.")}
APART = [("model.penalty", "model.lp"), ("model.unit_norm", "model.tied model.project_gradient")]
"""Keys that not all values go together of: the one or the other is left as it is by default."""


def keys_of(variants: Sequence[str]) -> set[str]:
    return {f"model.{key}" for name in variants for key in COMMON | VARIANTS[name][1]}


@st.composite
def configs(draw: st.DrawFn) -> SweepConfig:
    """Right configs of one variant or several, on axes that not all of them have."""
    variants = draw(st.lists(st.sampled_from([*VARIANTS]), min_size=1, max_size=4, unique=True))
    is_axis = len(variants) > 1 or draw(st.booleans())
    left = {key for pair in APART for key in draw(st.sampled_from(pair)).split()}
    keys = sorted((MODEL_KEYS if is_axis else keys_of(variants)) - left)
    others = draw(st.sets(st.sampled_from([*keys, "seed", "train.lr", "train.revive"]), max_size=3))
    axes = {VARIANTS[name][0] for name in variants} | others
    axes |= draw(st.sets(st.sampled_from([*AXES]), max_size=1)) if is_axis else set()
    axes |= {draw(st.sampled_from(["dict_size", "dict_ratio"]))}
    grid = {
        axis: draw(st.lists(VALUES[axis], min_size=1, max_size=2, unique=True))
        for axis in sorted(axes)
    }
    chosen = sorted(draw(st.sets(st.sampled_from(keys))))
    model = {key.removeprefix("model."): draw(VALUES[key]) for key in chosen}
    if is_axis:
        grid["model.variant"] = variants
    else:
        model["variant"] = variants[0]
    order = draw(st.permutations(sorted(grid)))
    return SweepConfig.model_validate(
        {
            "data": {"activation_dim": 3, "n_features": 6, "mean_active": 1},
            "grid": {axis: grid[axis] for axis in order},
            "model": model,
        }
    )


def has(variant: str, axis: str) -> bool:
    """Whether ``variant`` takes part in ``axis``."""
    if axis in AXES:
        return axis == VARIANTS[variant][0]
    section, _, key = axis.partition(".")
    return section != "model" or key == "variant" or key in COMMON | VARIANTS[variant][1]


def value(cell: Cell, axis: str) -> Any:
    """What ``cell`` has on ``axis``."""
    if axis in (cell.axis.key, "model.variant"):
        return cell.sparsity if axis in AXES else cell.variant
    if axis == "dict_ratio":
        return cell.dict_size / 6
    section, dot, key = axis.partition(".")
    return getattr(getattr(cell, section), key) if dot else getattr(cell, axis)


def points(config: SweepConfig) -> Iterator[Mapping[str, Any]]:
    """For each cell its values by axis, variant by variant."""
    for variant in config.grid.get("model.variant") or [config.model["variant"]]:
        axes = {axis: values for axis, values in config.grid.items() if has(variant, axis)}
        if "model.variant" in axes:
            axes["model.variant"] = [variant]
        for values in itertools.product(*axes.values()):
            yield dict(zip(axes, values, strict=True))


@SOME
@given(configs())
def test_a_config_of_any_variants_is_read_back(config: SweepConfig) -> None:
    text = dump_config(config)
    again = parse_config(text)
    assert again == config
    assert list(again.grid) == list(config.grid)
    assert dump_config(again) == text
    assert expand(again) == expand(config)
    assert changed(config, []) == config


@SOME
@given(configs())
def test_cells_are_the_products_of_the_axes_of_each_variant(config: SweepConfig) -> None:
    cells, expected = expand(config), list(points(config))
    assert [
        {axis: value(cell, axis) for axis in point}
        for cell, point in zip(cells, expected, strict=True)
    ] == expected
    for cell, point in zip(cells, expected, strict=True):
        sizes = {"dict_ratio", "dict_size", *AXES}
        assert cell.extra == {axis: point[axis] for axis in point if axis not in sizes}
        for key, used in cell.model.model_dump().items():
            if f"model.{key}" not in point:
                assert used == config.model[key]
        described = json.loads(json.dumps(cell.describe()))
        assert described["model"] == {"variant": cell.variant, **cell.model.model_dump()}
        assert cell.differences(described) == []


@SOME
@given(configs())
def test_names_of_several_variants_are_distinct(config: SweepConfig) -> None:
    cells = expand(config)
    assert len({cell.name.lower() for cell in cells}) == len(cells)
    for cell, point in zip(cells, points(config), strict=True):
        short = {"dict_ratio": "dict", "dict_size": "dict", "model.variant": "variant"}
        axes = [re.escape(short.get(axis, axis)) for axis in point]
        assert re.fullmatch("_".join(f"{axis}=[a-zA-Z0-9._+-]+" for axis in axes), cell.name)
        assert len(cell.name) <= 240


@SOME
@given(configs())
def test_stacks_hold_one_variant_with_one_set_of_keys(config: SweepConfig) -> None:
    cells = expand(config)
    jobs = plan(config, cells)
    assert sorted(cell.name for job in jobs for cell in job.cells) == sorted(c.name for c in cells)
    for job in jobs:
        assert len({(cell.variant, str(cell.model)) for cell in job.cells}) == 1


# Variants of other packages


class Own(Options):
    """As the documentation has it: a variant in a file of the user's."""

    sparsity: ClassVar[str] = "k"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """How soft the choice is."""


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package is installed that offers the variant `own`."""
    point = SimpleNamespace(name="own", load=lambda: SimpleNamespace(Options=Own))
    monkeypatch.setattr(
        model_config, "entry_points", lambda group: [point] if group == GROUP else []
    )
    model_config.offered.cache_clear()
    yield
    model_config.offered.cache_clear()


OFFERED = pytest.mark.usefixtures("offered")


def test_what_is_not_installed_is_unknown() -> None:
    (problem,) = problems("grid: {k: 2, dict_size: 8}\nmodel: {variant: own}")
    assert problem.startswith('3:18: model.variant: given "own": should be one of relu, topk, ')
    assert not problem.endswith("own")


@OFFERED
def test_a_variant_of_another_package_is_a_variant_like_any_other() -> None:
    config = parse_config(f"{DATA}grid: {{k: 2, dict_size: 8}}\nmodel: {{variant: own}}")
    assert config.model == {
        "variant": "own",
        "decoder_bias": False,
        "project_gradient": False,
        "temperature": 1.0,
    }
    (cell,) = expand(config)
    assert (cell.name, cell.variant, cell.model) == ("k=2_dict=8", "own", Own())
    assert changed(config, ["model.temperature=2.5"]).model["temperature"] == 2.5
    assert parse_config(dump_config(config)) == config


@OFFERED
def test_a_key_of_another_package_may_be_an_axis() -> None:
    config = parse_config(
        f"{DATA}grid: {{model.variant: [relu, own], l1: 0.1, k: 2, dict_size: 8,"
        " model.temperature: [1, 2], model.tied: true}\nmodel: {lp: 0.5, temperature: 3}"
    )
    assert [(cell.name, cell.model.model_dump()) for cell in expand(config)] == [
        (
            "variant=relu_l1=0.1_dict=8_model.tied=true",
            {
                "decoder_bias": False,
                "project_gradient": False,
                "penalty": "lp",
                "lp": 0.5,
                "tied": True,
                "unit_norm": True,
            },
        ),
        *[
            (
                f"variant=own_k=2_dict=8_model.temperature={t}",
                {"decoder_bias": False, "project_gradient": False, "temperature": float(t)},
            )
            for t in (1, 2)
        ],
    ]
    assert parse_config(dump_config(config)) == config


@OFFERED
@pytest.mark.parametrize(
    ("rest", "model", "problem"),
    [
        ("}", "variant: owm", '3:18: model.variant: given "owm": should be one of relu, topk, '),
        ("}", "variant: own, temprature: 1", "3:23: unknown key model.temprature: "),
        ("}", "variant: own, temperature: 0", "3:36: model.temperature: given 0: should be gr"),
        ("}", "variant: own, tied: true", "3:29: model.tied: is for relu; the variant is own"),
        ("}", "variant: topk, temperature: 1", "3:24: unknown key model.temperature: "),
        (", model.temprature: 1}", "variant: own", "2:30: unknown key grid.model.temprature: "),
        (", model.temperature: x}", "variant: own", '2:49: grid.model.temperature[0]: given "x'),
        (", l1: 1}", "variant: own", "2:34: grid.l1: is for relu, gated; the variant is own"),
    ],
)  # fmt: skip
def test_what_another_package_does_not_have_is_refused(rest: str, model: str, problem: str) -> None:
    (found,) = problems(f"grid: {{k: 2, dict_size: [8]{rest}\nmodel: {{{model}}}")
    assert found.startswith(problem)


# The schema


def test_the_schema_takes_every_config_that_comes_along_and_no_other() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in sorted(CONFIGS.glob("*.yaml")):
        data = yaml_file.parse(path.read_text(encoding="utf-8"), path.name).data
        assert [error.message for error in validator.iter_errors(data)] == [], path.name
    data = yaml_file.parse(f"{DATA}grid: {{k: 2, dict_size: 8}}\nmodel: {{variant: own}}", "c").data
    assert validator.is_valid(data), "another package may offer it"
    for section, key, wrong in (
        ("grid", "k", [0.5]),
        ("grid", "model.lp", [3]),
        ("model", "tied", 3),
        ("model", "prefixs", 3),
        ("train", "revive", "auxkk"),
        ("train", "average", 1),
    ):
        assert not validator.is_valid(data | {section: {**data.get(section, {}), key: wrong}}), key
