"""Config files: every error at its place and all at once, overrides, and round trips."""

# ruff: noqa: E501 - the table of wrong configs is easier to read in long lines

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import yaml_file
from saesweep.config import SweepConfig
from saesweep.config_file import MOST_SHOWN, dump_config, json_schema, load_config, parse_config
from saesweep.errors import ConfigError

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=100)
TOY = Path(__file__).parent.parent / "configs" / "toy.yaml"

TOP = "name, seed, data, grid, model, train, snapshot_every, eval, jobs"
TRAIN = (
    "epochs, steps_per_epoch, batch_size, optimiser, lr, lr_warmup, lr_decay, clip_norm, average, "
    "loss, penalty_warmup, lp_end, revive, dead_after, resample_times"
)
MODEL = (
    "variant, decoder_bias, project_gradient, penalty, lp, tied, unit_norm, threshold, bandwidth, "
    "prefixes, prior, slab_std, kl_weight"
)
AXES = (
    "l1, k, l0_coefficient, prior_rate, dict_ratio, dict_size, seed, "
    f"train.{TRAIN.replace(', ', ', train.')}, model.{MODEL.replace(', ', ', model.')}"
)
BASE = """\
name: toy
data: {activation_dim: 3, n_features: 6, mean_active: 1}
grid:
  l1: [0.01, 0.1]
  dict_ratio: [4, 8]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.yaml")
    assert caught.value.exit_code == 2
    assert str(caught.value).split("\n") == caught.value.problems
    return [problem.removeprefix("c.yaml:") for problem in caught.value.problems]


def test_the_base_of_these_tests_is_right() -> None:
    assert parse_config(BASE).grid == {"l1": [0.01, 0.1], "dict_ratio": [4.0, 8.0]}


@pytest.mark.parametrize("path", sorted(TOY.parent.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_that_comes_along_is_right(path: Path) -> None:
    config = load_config(path)
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        # unknown keys
        ("name:", "nmae:", f"1:1: unknown key nmae: did you mean name? allowed: {TOP}"),
        ("name:", "zzz:", f"1:1: unknown key zzz: allowed: {TOP}"),
        ("dict_ratio", "dict_ratios", "5:3: unknown key grid.dict_ratios: did you mean dict_ratio?"),
        ("  l1:", "  train.lrr: 1\n  l1:", "4:3: unknown key grid.train.lrr: did you mean train.lr?"),
        ("  l1:", "  data.n_features: 1\n  l1:", f"4:3: unknown key grid.data.n_features: allowed: {AXES}"),
        ("  l1:", "  train: {lr: 1}\n  l1:", "4:3: unknown key grid.train: did you mean train.lr?"),
        ("name:", "train: {lr: 1, <<: {}}\nname:", f"1:16: unknown key train.<<: allowed: {TRAIN}"),
        ("name:", "3: 4\nname:", f"1:1: unknown key 3: allowed: {TOP}"),
        ("name:", "'\\e[2J':\nname:", "1:1: unknown key \\e[2J: allowed"),
        ("name:", '"\\e[2J":\nname:', "1:1: unknown key '\\x1b[2J': allowed"),
        # repeated keys
        ("grid:", "name: b\ngrid:", "3:1: the key 'name' was given before at c.yaml:1:1"),
        ("[4, 8]", "[4]\n  l1: 1", "6:3: the key 'l1' was given before at c.yaml:4:3"),
        # missing keys
        ("  l1: [0.01, 0.1]\n", "", "4:3: grid: has no l1, which makes relu sparse; give it"),
        ("n_features: 6, ", "", "2:7: data.n_features is missing"),
        ("data:", "datum:", "1:1: data is missing"),
        # wrong types
        ("toy", "3", "1:7: name: given 3: should be a valid string"),
        ("6", "six", '2:39: data.n_features: given "six": should be a valid integer'),
        ("6", "'6'", '2:39: data.n_features: given "6": should be a valid integer'),
        ("6", "6.5", "2:39: data.n_features: given 6.5: should be a valid integer"),
        ("6", "true", "2:39: data.n_features: given true: should be a valid integer"),
        ("6", "1:30", '2:39: data.n_features: given "1:30": should be a valid integer'),
        ("6", "[6]", "2:39: data.n_features: given [6]: should be a valid integer"),
        ("6", "", "2:38: data.n_features: given nothing: should be a valid integer"),
        ("6", "9" * 5000, '2:39: data.n_features: given "99999'),
        ("1}", "1, rescale: yes}", '2:67: data.rescale: given "yes": should be a valid boolean'),
        ("1}", "1, rescale: 1}", "2:67: data.rescale: given 1: should be a valid boolean"),
        ("1}", "x}", '2:55: data.mean_active: given "x": should be a valid number'),
        ("name: toy", "data2: 1\ntrain: fast", f'2:8: train: given "fast": should be a mapping with the keys {TRAIN}'),
        ("name: toy", "train:", f"1:7: train: given nothing: should be a mapping with the keys {TRAIN}"),
        ("name: toy", "train: [1]", f"1:8: train: given [1]: should be a mapping with the keys {TRAIN}"),
        ("[0.01, 0.1]", "[a, 0.1]", '4:8: grid.l1[0]: given "a": should be a valid number'),
        ("[0.01, 0.1]", "[0.1, null]", "4:13: grid.l1[1]: given nothing: should be a valid number"),
        ("[0.01, 0.1]", "[[0.1]]", "4:8: grid.l1[0]: given [0.1]: should be a valid number"),
        ("[0.01, 0.1]", "true", "4:7: grid.l1[0]: given true: should be a valid number"),
        ("[4, 8]", "[4]\n  seed: [0, 1.5]", "6:13: grid.seed[1]: given 1.5: should be a valid integer"),
        ("[4, 8]", "[4]\n  train.loss: [sum, mena]", "6:21: grid.train.loss[1]: given \"mena\": should be 'sum' or 'mean'"),
        # what may be chosen
        ("1}", "1, correlation: full}", "2:71: data.correlation: given \"full\": should be 'none', 'batch', 'sample' or 'low_rank'"),
        ("name: toy", "jobs: {backend: dask}", "1:17: jobs.backend: given \"dask\": should be 'local', 'ray' or 'slurm'"),
        ("name: toy", "jobs: {device: gpu}", '1:16: jobs.device: given "gpu": should be auto, cpu, cuda or cuda:N'),
        ("name: toy", "jobs: {stack: 0}", "1:15: jobs.stack: given 0: should be auto or a whole number above 0"),
        ("name: toy", "eval: {baselines: [pcaa]}", "1:20: eval.baselines[0]: given \"pcaa\": should be 'pca', "),
        ("name: toy", "eval: {baselines: [pca, pca]}", '1:19: eval.baselines: given ["pca", "pca"]: the value pca is repeated'),
        ("toy", "../toy", '1:7: name: given "../toy": should be up to 100 letters, digits,'),
        # empty and repeated lists
        ("[0.01, 0.1]", "[]", "4:7: grid.l1: given []: should have at least one value"),
        ("[0.01, 0.1]", "{}", "4:7: grid.l1: given {}: should be a list of values, one value, or one of logspace, linspace, pow2"),
        ("[0.01, 0.1]", "[0.1, 1e-1]", "4:7: grid.l1: given [0.1, 0.1]: the value 0.1 is repeated"),
        ("[4, 8]", "[4, 4.0]", "5:15: grid.dict_ratio: given [4, 4.0]: the value 4.0 is repeated"),
        # spacings
        ("[0.01, 0.1]", "{logspace: [0, 1, 3]}", '4:7: grid.l1: given {"logspace": [0, 1, 3]}: logspace needs ends above 0'),
        ("[0.01, 0.1]", "{logspace: [1, 2, 1]}", "4:7: grid.l1: given {\"logspace\": [1, 2, 1]}: logspace takes [first, last, count] with a count from 2 to 10000"),
        ("[0.01, 0.1]", "{linspace: [1, 2, 10001]}", "4:7: grid.l1: given {\"linspace\": [1, 2, 10001]}: linspace takes [first, last, count]"),
        ("[0.01, 0.1]", "{linspace: [-1, 1, 3]}", "4:7: grid.l1[0]: given -1.0: should be greater than or equal to 0"),
        ("[0.01, 0.1]", "{pow2: [0, 2.0]}", '4:7: grid.l1: given {"pow2": [0, 2.0]}: pow2 takes [a, b], whole numbers with -60'),
        ("dict_ratio: [4, 8]", "dict_size: {pow2: [-1, 1]}", "5:14: grid.dict_size[0]: given 0.5: should be a valid integer"),
        ("[0.01, 0.1]", "{lgospace: [1, 2, 3]}", '4:7: grid.l1: given {"lgospace": [1, 2, 3]}: should be a list'),
        # sizes and ranges
        ("6", "0", "2:39: data.n_features: given 0: should be greater than 0"),
        ("3,", "-3,", "2:24: data.activation_dim: given -3: should be greater than 0"),
        ("6", "1e99", "2:39: data.n_features: given 1e+99: should be less than or equal to 1048576"),
        ("name: toy", "train: {epochs: 0}", "1:17: train.epochs: given 0: should be greater than 0"),
        ("name: toy", "train: {batch_size: -1e4}", "1:21: train.batch_size: given -10000.0: should be greater than 0"),
        ("name: toy", "train: {lr: 0}", "1:13: train.lr: given 0: should be greater than 0"),
        ("name: toy", "snapshot_every: 0", "1:17: snapshot_every: given 0: should be a number of epochs, {log: N} with N from 2 to 10000"),
        ("name: toy", "seed: -1", "1:7: seed: given -1: should be greater than or equal to 0"),
        ("name: toy", "eval: {learned_threshold: 1.5}", "1:27: eval.learned_threshold: given 1.5: should be less than or equal to 1"),
        ("1}", "1, decay: 1.01}", "2:65: data.decay: given 1.01: should be less than or equal to 1"),
        ("1}", "1, noise_std: -1}", "2:69: data.noise_std: given -1: should be greater than or equal to 0"),
        ("0.01,", "-0.01,", "4:8: grid.l1[0]: given -0.01: should be greater than or equal to 0"),
        ("[4, 8]", "[0]", "5:16: grid.dict_ratio[0]: given 0: should be greater than 0"),
        ("dict_ratio: [4, 8]", "dict_size: [24, 0]", "5:19: grid.dict_size[1]: given 0: should be greater than 0"),
        # NaN and infinity
        ("0.01,", ".nan,", "4:8: grid.l1[0]: given NaN: should be a finite number"),
        ("0.01,", ".inf,", "4:8: grid.l1[0]: given Infinity: should be a finite number"),
        ("0.01,", "1e999,", "4:8: grid.l1[0]: given Infinity: should be a finite number"),
        ("[4, 8]", ".inf", "5:15: grid.dict_ratio[0]: given Infinity: should be a finite number"),
        ("6", ".nan", "2:39: data.n_features: given NaN: should be a valid integer"),
        ("1}", ".nan}", "2:55: data.mean_active: given NaN: should be a finite number"),
        ("name: toy", "train: {lr: -.inf}", "1:13: train.lr: given -Infinity: should be"),
        # what does not go together
        ("[4, 8]", "[4]\n  dict_size: [24]", "6:14: grid.dict_size: dict_ratio is given too; keep one of them"),
        ("  dict_ratio: [4, 8]\n", "", "4:3: grid: has neither dict_ratio nor dict_size; give one of them"),
        ("[4, 8]", "[4, 1.1]", "5:19: grid.dict_ratio[1]: 1.1 times 6 features makes 6.6 latents; it should be a whole number"),
        ("[4, 8]", "[4, 1e9]", "5:19: grid.dict_ratio[1]: 1000000000 times 6 features makes 6000000000 latents; it should be a whole number from 1 to 2147483648"),
        ("1}", "7}", "2:55: data.mean_active: with 7 feature 0 would fire with probability 1.167, over 1; the largest mean that fits is 6"),
        ("1}", "2, decay: 0.25}", "2:55: data.mean_active: with 2 feature 0 would fire with probability 1.5, over 1; the largest mean that fits is 1.333"),
        ("name: toy", "jobs:\n  max_cells: 3", "5:3: grid: 4 cells are more than jobs.max_cells: 3"),
        ("[0.01, 0.1]", "{linspace: [0, 1, 5001]}", "4:3: grid: 10,002 cells are more than jobs.max_cells: 10,000"),
        ("1}", "1, correlation: batch, rescale: false}", "2:87: data.rescale: with correlation: batch the probabilities are always rescaled"),
        ("6", "8193, correlation: sample", "2:39: data.n_features: a full correlation matrix allows at most 8192 features"),
        # variants
        ("name: toy", "model: {variant: relux}", '1:18: model.variant: given "relux": should be one of relu, topk, batchtopk, jumprelu, gated, matryoshka, variational'),
        ("name: toy", "model: {variant: 3}", "1:18: model.variant: given 3: should be a valid string"),
        ("name: toy", "model: {prefixes: 3}", "1:19: model.prefixes: is for matryoshka; the variant is relu"),
        ("name: toy", "model: {prefixs: 3}", f"1:9: unknown key model.prefixs: did you mean prefixes? allowed: {MODEL}"),
        ("name: toy", "model:", f"1:7: model: given nothing: should be a mapping with the keys {MODEL}"),
        ("name: toy", "model: {prefixes: 21, variant: matryoshka}", "1:19: model.prefixes: given 21: should be less than or equal to 20"),
        ("name: toy", "model: {variant: gated, tied: true}", "1:31: model.tied: is for relu; the variant is gated"),
        ("name: toy", "model: {tied: true, unit_norm: false}", "4:3: grid: relu: tied atoms have norm 1; leave unit_norm true"),
        ("name: toy", "model: {project_gradient: true, unit_norm: false}", "4:3: grid: relu: project_gradient is for atoms of norm 1, and unit_norm is false"),
        ("name: toy", "model: {penalty: tanh, lp: 0.5}", "4:3: grid: relu: lp is the power of `penalty: lp`, and the penalty is tanh"),
        ("name: toy", "model: {lp: 0}", "1:13: model.lp: given 0: should be greater than 0"),
        ("[4, 8]", "[4]\n  model.prefixes: [3]", "6:19: grid.model.prefixes: is for matryoshka; the variant is relu"),
        ("[4, 8]", "[4]\n  model.variant: [relu, relux]", '6:25: grid.model.variant[1]: given "relux": should be one of relu, topk,'),
        # what makes them sparse
        ("name: toy", "model: {variant: topk}", "4:3: grid: has no k, which makes topk sparse; give it"),
        ("name: toy", "model: {variant: topk}", "4:7: grid.l1: is for relu, gated; the variant is topk"),
        ("  l1: [0.01, 0.1]", "  prior_rate: 0.1", "4:3: grid: has no l1, which makes relu sparse; give it"),
        ("[4, 8]", "[4]\n  k: 4", "6:6: grid.k: is for topk, batchtopk, matryoshka; the variant is relu"),
        ("[4, 8]", "[4]\n  model.variant: [relu, jumprelu]", "4:3: grid: has no l0_coefficient, which makes jumprelu sparse; give it"),
        ("[4, 8]", "[4]\n  k: [0]", "6:7: grid.k[0]: given 0: should be greater than 0"),
        ("[4, 8]", "[4]\n  k: [1.5]", "6:7: grid.k[0]: given 1.5: should be a valid integer"),
        ("[4, 8]", "[4]\n  k: [24, 25]\n  model.variant: [relu, topk]", "4:3: grid: topk: k of 25 is more than the 24 latents of a dictionary"),
        ("[4, 8]", "[4, 8]\n  k: 4\n  model.variant: [relu, matryoshka]\nmodel: {prefixes: 6}", "4:3: grid: matryoshka: 6 prefixes, each half of the next, of 24 latents only"),
        ("[4, 8]", "[4]\n  prior_rate: [0.1, 1]\n  model.variant: [relu, variational]", "4:3: grid: variational: a prior_rate of 1 is no probability between 0 and 1"),
        ("[4, 8]", "[4]\n  prior_rate: 0\n  model.variant: [relu, variational]\nmodel: {prior: laplace}", "4:3: grid: variational: a Laplace prior has a prior_rate above 0"),
        # how they are trained
        ("name: toy", "train: {lp_end: 0.5}\nmodel: {variant: gated}", "5:3: grid: lp_end is for relu with `penalty: lp`"),
        ("name: toy", "train: {lp_end: 0.5}\nmodel: {penalty: tanh}", "5:3: grid: lp_end is for relu with `penalty: lp`"),
        ("name: toy", "train: {lp_end: 1}", "4:3: grid: lp_end 1 should be below lp 1"),
        ("name: toy", "train: {optimiser: sgd}", "1:20: train.optimiser: given \"sgd\": should be 'adam' or 'schedule_free'"),
        ("name: toy", "train: {revive: auxkk}", "1:17: train.revive: given \"auxkk\": should be 'none', 'resample', 'ghost_grads' or 'auxk'"),
        ("name: toy", "train: {average: 1}", "1:18: train.average: given 1: should be less than 1"),
        ("name: toy", "train: {lr_warmup: -0.1}", "1:20: train.lr_warmup: given -0.1: should be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_answered_at_its_place(old: str, new: str, problem: str) -> None:
    assert old in BASE
    found = problems(BASE.replace(old, new, 1))
    assert any(line.startswith(problem) for line in found), found


EVERYTHING_WRONG = """\
name: toy
sede: 1
data:
  activation_dim: 0
  n_features: 6
  mean_active: 7
  n_features: 8
  decya: 0.99
grid:
  l1: [-0.1, .nan, 0.1]
  dict_ratio: [1.1, 4]
  dict_size: [24]
train: {epochs: ten, lr: 0, batch_size: "4096"}
eval: {baselines: []}
jobs: {device: gpu, max_cells: 1}
"""


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    assert [line.split(": ", 2)[:2] for line in problems(EVERYTHING_WRONG)] == [
        ["2:1", "unknown key sede"],
        ["4:19", "data.activation_dim"],
        ["6:16", "data.mean_active"],
        ["7:3", "the key 'n_features' was given before at c.yaml:5:3"],
        ["8:3", "unknown key data.decya"],
        ["10:8", "grid.l1[0]"],
        ["10:14", "grid.l1[1]"],
        ["11:16", "grid.dict_ratio[0]"],
        ["12:14", "grid.dict_size"],
        ["13:17", "train.epochs"],
        ["13:26", "train.lr"],
        ["13:41", "train.batch_size"],
        ["15:16", "jobs.device"],
    ]


def test_nothing_is_said_that_follows_from_another_problem() -> None:
    # With n_features wrong nobody knows probabilities or sizes; with l1 wrong, how many cells.
    wrong = BASE.replace("6", "-6").replace("[4, 8]", "[1.1]").replace(": 1}", ": 7}")
    assert [line.split(":")[2].strip() for line in problems(wrong)] == ["data.n_features"]
    wrong = BASE.replace("[0.01, 0.1]", "[-1, 0.1]") + "jobs: {max_cells: 3}\n"
    assert [line.split(":")[2].strip() for line in problems(wrong)] == ["grid.l1[0]"]
    wrong = BASE.replace("[4, 8]", "[-4]")
    assert [line.split(":")[2].strip() for line in problems(wrong)] == ["grid.dict_ratio[0]"]


def test_thousands_of_problems_are_cut_short() -> None:
    found = problems(BASE + "".join(f"key{i}: 1\n" for i in range(1000)))
    assert len(found) == MOST_SHOWN + 1
    assert found[-1] == f" … and {1000 - MOST_SHOWN} problems more"


@pytest.mark.parametrize(
    ("text", "given"), [("", "nothing"), ("# hi\n", "nothing"), ("[1]", "[1]"), ("hi", '"hi"')]
)
def test_what_is_no_mapping_is_said_to_be_none(text: str, given: str) -> None:
    (problem,) = problems(text)
    assert problem.endswith(f": given {given}: should be a mapping with the keys {TOP}")


def test_a_file_with_tags_is_refused_before_anything_else() -> None:
    assert problems("name: !!python/name:os.system x\nzzz: 1\n") == [
        "1:7: the tag '!!python/name:os.system' is not allowed; write the value without it"
    ]


def test_numbers_that_pyyaml_reads_as_text_are_numbers() -> None:
    config = parse_config(BASE + "train: {lr: 1e-3, epochs: 1e4}\nsnapshot_every: 010\n")
    assert (config.train.lr, config.train.epochs, config.snapshot_every) == (0.001, 10_000, 10)


# Overrides


def overridden(*overrides: str, text: str = BASE, folder: Path) -> SweepConfig:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("train.lr=1e-4", ("train", "lr"), 1e-4),
        ("name=x", ("name",), "x"),
        ('name="1"', ("name",), "1"),
        ("name='a'", ("name",), "a"),
        ("seed=1 # a comment", ("seed",), 1),
        ("seed= 1 ", ("seed",), 1),
        ("data.rescale=false", ("data", "rescale"), False),
        ("eval.baselines=[pca, truth]", ("eval", "baselines"), ["pca", "truth"]),
        ("eval={n_samples: 10}", ("eval", "n_samples"), 10),
        ("grid.l1=0.5", ("grid", "l1"), [0.5]),
        ("grid.l1=[1,2]", ("grid", "l1"), [1.0, 2.0]),
        ("grid.l1={logspace: [1, 100, 3]}", ("grid", "l1"), [1.0, 10.0, 100.0]),
        ("grid.train.lr=[1e-3, 1e-4]", ("grid", "train.lr"), [1e-3, 1e-4]),
        ("grid={l1: 1, dict_size: 3}", ("grid", "dict_size"), [3]),
    ],
)
def test_an_override_is_put_on_top(
    override: str, keys: tuple[str, ...], value: Any, tmp_path: Path
) -> None:
    found: Any = overridden(override, folder=tmp_path).model_dump()
    for key in keys:
        found = found[key]
    assert found == value


def test_overrides_are_put_on_in_their_order(tmp_path: Path) -> None:
    config = overridden("train={epochs: 3}", "train.lr=1", "train.lr=2", folder=tmp_path)
    assert (config.train.epochs, config.train.lr) == (3, 2.0)
    assert overridden("train.lr=1", "train={epochs: 3}", folder=tmp_path).train.lr == 1e-3
    sizes = overridden("grid.dict_ratio=null", "grid.dict_size=[7]", folder=tmp_path)
    assert sizes.grid == {"l1": [0.01, 0.1], "dict_size": [7]}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.lr", "should be key.path=value, as in train.lr=1e-3"),
        ("", "should be key.path=value, as in train.lr=1e-3"),
        ("=3", "should be key.path=value"),
        ("train.=3", "should be key.path=value"),
        (".lr=3", "should be key.path=value"),
        ("train..lr=3", "should be key.path=value"),
        ("grid.=3", "should be key.path=value"),
        ("sede=3", "unknown key sede: did you mean seed? allowed: "),
        ("train.ephocs=3", "unknown key train.ephocs: did you mean epochs? allowed: "),
        ("grid.train=3", "unknown key grid.train: did you mean train.lr? allowed: "),
        ("a.b.c=3", "unknown key a: allowed: "),
        ("1=2", "unknown key 1: allowed: "),
        ("train.lr =3", "unknown key train.lr : did you mean lr? allowed: "),
        ("train.lr=-1", "train.lr: given -1: should be greater than 0"),
        ("train.lr=", "train.lr: given nothing: should be a valid number"),
        ("train=3", "train: given 3: should be a mapping"),
        ("train={lr: -1}", "train.lr: given -1: should be greater than 0"),
        ("grid={l1: 1, dict_ratio: 1.1}", "grid.dict_ratio[0]: 1.1 times 6 features makes 6.6"),
        ("grid.l1=[0.1, -1]", "grid.l1[1]: given -1: should be greater than or equal to 0"),
        ("grid.dict_size=[7]", "grid.dict_size: dict_ratio is given too; keep one of them"),
        ("name.x=3", "'name' is not a section of "),
        ("data.decay.x=3", 'data.decay: given {"x": 3}: should be a valid number'),
    ],
)
def test_a_wrong_override_is_said_to_be_the_one(
    override: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(override, folder=tmp_path)
    assert str(caught.value).startswith(f"--set {override}: {problem}")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("grid.l1=[", "1:2: not YAML: "),
        ("train.lr=!!int 3", "1:1: the tag '!!int' is not allowed"),
        ("train={lr: 1, lr: 2}", "1:9: the key 'lr' was given before at "),
        ("name=*a", "1:1: not YAML: found undefined alias 'a'"),
    ],
)
def test_an_override_that_is_no_value_is_answered_at_its_column(
    override: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(override, folder=tmp_path)
    assert str(caught.value).startswith(f"--set {override}:{problem}")


def test_problems_of_the_file_and_of_all_overrides_come_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(
            "train.lr=-1", "x", "grid.l1=[", "seed=-1", text=f"zzz: 1\n{BASE}", folder=tmp_path
        )
    heads = [line.split(": ")[0] for line in caught.value.problems]
    assert heads[0] == f"{tmp_path}/c.yaml:1:1"
    assert sorted(heads[1:]) == [
        "--set grid.l1=[:1:2",
        "--set seed=-1",
        "--set train.lr=-1",
        "--set x",
    ]


def test_an_override_may_make_the_grid_of_the_file_too_large(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"c\.yaml:4:3: grid: 4 cells are more than jobs\.max_cells: 3"
    ):
        overridden("jobs.max_cells=3", folder=tmp_path)


def test_an_override_mends_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    text = BASE.replace("6", "-6")
    assert overridden("data.n_features=5", text=text, folder=tmp_path).data.n_features == 5


def test_an_override_of_many_lines_stays_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden("seed=1\n---\n2", folder=tmp_path)
    assert len(str(caught.value).split("\n")) == 1


# Round trips


@st.composite
def configs(draw: st.DrawFn) -> SweepConfig:
    """Any config that is right."""
    n = draw(st.integers(1, 40))
    decay = draw(st.floats(0.05, 1))
    batch = draw(st.booleans())
    rescale = True if batch else draw(st.booleans())
    most = sum(decay**i for i in range(n)) if rescale else n
    positive = st.floats(1e-300, 1e300)
    axes: dict[str, Any] = {
        "l1": st.floats(0, 1e300),
        "seed": st.integers(0, 2**63 - 1),
        "train.lr": positive,
        "train.epochs": st.integers(1, 2**31),
        "train.loss": st.sampled_from(["sum", "mean"]),
        "model.decoder_bias": st.booleans(),
    }
    sizes = draw(st.sampled_from(["dict_ratio", "dict_size"]))
    axes[sizes] = st.integers(1, 10**6)
    chosen = {"l1", sizes} | draw(st.sets(st.sampled_from(sorted(axes))))
    grid = {
        axis: draw(st.lists(axes[axis], min_size=1, max_size=3, unique=True))
        for axis in draw(st.permutations(sorted(chosen)))
    }
    return SweepConfig.model_validate(
        {
            "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)),
            "seed": draw(axes["seed"]),
            "data": {
                "activation_dim": draw(st.integers(1, 2**20)),
                "n_features": n,
                "mean_active": draw(st.floats(0.01, 0.999)) * most,
                "decay": decay,
                "rescale": rescale,
                "correlation": "batch" if batch else draw(st.sampled_from(["none", "sample"])),
                "noise_std": draw(st.floats(0, 1e12)),
            },
            "grid": grid,
            "train": {"lr": draw(positive), "epochs": draw(st.integers(1, 2**31))},
            "eval": {"learned_threshold": draw(st.floats(1e-9, 1))},
            "jobs": {"stack": draw(st.just("auto") | st.integers(1, 99))},
        }
    )


@SOME
@given(configs())
def test_a_config_written_out_is_read_back(config: SweepConfig) -> None:
    text = dump_config(config)
    again = parse_config(text)
    assert again == config
    assert list(again.grid) == list(config.grid)  # their order decides the order of the cells
    assert dump_config(again) == text
    assert text.isascii()


@pytest.mark.parametrize("name", ["1e3", "08", "1.5e3", "null", "no", "1_000", "0x1F", "12", "1."])
def test_a_name_that_looks_like_something_else_stays_a_name(name: str) -> None:
    config = parse_config(BASE.replace("toy", f"'{name}'"))
    assert parse_config(dump_config(config)).name == name


def test_a_written_config_has_its_axes_and_defaults_written_out() -> None:
    text = dump_config(load_config(TOY))
    assert "logspace" not in text
    assert "0.0177827941" in text
    assert "max_cells: 10000" in text


def test_the_schema_is_json_and_knows_every_section() -> None:
    schema = json.loads(json_schema())
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert ", ".join(schema["properties"]) == TOP


# Nothing but a config or a ConfigError


def survives(text: str) -> None:
    try:
        config = parse_config(text, "c.yaml")
    except ConfigError as error:
        assert error.problems
        for line in str(error).split("\n"):
            assert line.startswith("c.yaml:"), line
            assert line.isprintable(), line
    else:
        assert parse_config(dump_config(config)) == config


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, 1, -1, 1e308, 10**99, "sum", "batch", "auto", "", "\ud800", "\x1b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        | st.tuples(st.sampled_from(["logspace", "linspace", "pow2", "l1", "train.lr"]), inner).map(
            lambda pair: dict([pair])
        )
    ),
    max_leaves=6,
)


def containers(data: Any) -> list[Any]:
    """Every mapping and list in ``data``, itself first."""
    if not isinstance(data, dict | list):
        return []
    inside = data.values() if isinstance(data, dict) else data
    return [data, *(found for item in inside for found in containers(item))]


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The toy config with one to three things replaced, renamed, added or removed."""
    data = copy.deepcopy(yaml_file.parse(TOY.read_text(encoding="utf-8"), "toy").data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([box for box in containers(data) if box] or [{"": 0}]))
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(list(keys)))
        match draw(st.sampled_from(["replace", "replace", "rename", "remove", "swap"])):
            case "replace":
                place[key] = draw(VALUES)
            case "rename" if isinstance(place, dict):
                place[draw(st.text(max_size=4) | st.sampled_from(["l1", "seed"]))] = place.pop(key)
            case "swap":
                other = draw(st.sampled_from(list(keys)))
                place[key], place[other] = place[other], place[key]
            case _:
                del place[key]
    return yaml_file.dump(data)


@settings(SOME, max_examples=300)
@given(mutations())
def test_a_config_with_anything_changed_is_right_or_refused(text: str) -> None:
    survives(text)


@SOME
@given(st.randoms(use_true_random=False), st.text("[]{},:-#&*!|>'\"%@`\n\t 0e.é", max_size=6))
def test_a_config_with_any_typing_error_is_right_or_refused(
    dice: random.Random, typed: str
) -> None:
    text = TOY.read_text(encoding="utf-8")
    first = dice.randrange(len(text))
    survives(text[:first] + typed + text[first + dice.randrange(8) :])


@SOME
@given(VALUES)
def test_anything_in_place_of_a_config_is_refused(data: Any) -> None:
    survives(yaml_file.dump(data))


@SOME
@given(
    st.lists(
        st.text(max_size=12)
        | st.tuples(
            st.sampled_from(["grid.l1", "train", "train.lr", "data.n_features", "grid", "a.b.c"]),
            VALUES.map(json.dumps) | st.text(max_size=6),
        ).map("=".join),
        max_size=3,
    )
)
def test_any_override_is_taken_or_refused(overrides: list[str]) -> None:
    try:
        load_config(TOY, overrides)
    except ConfigError as error:
        for line in str(error).split("\n"):
            assert line.startswith((f"{TOY}:", "--set ")), line
