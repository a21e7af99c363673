"""A sweep's config: what each key means, what it may be, and what it is when left out."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from saesweep.activations_config import ActivationsConfig
from saesweep.axes import distinct, grid_model
from saesweep.config_checks import MOST, Misfit, latents, refuse, size_misfits
from saesweep.data_config import DataConfig
from saesweep.fields import Count, NonNegative, Positive, Section, Seed, Share, whole
from saesweep.model_config import (
    ModelKeys,
    Options,
    ReluOptions,
    axes_of,
    axis_misfits,
    keys_of,
    offered,
    options_of,
    resolved,
    variants_of,
)
from saesweep.schedule import Schedule, check_schedule

Scalar = bool | int | float | str
"""What an axis of the grid may hold."""


NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What a sweep or a run may be called: a file name anywhere."""
NAME_RULE = "up to 100 letters, digits, '.', '_' and '-', the first a letter or a digit"


DEVICE, DEVICE_RULE = "auto|cpu|cuda(:[0-9]{1,3})?", "auto, cpu, cuda or cuda:N"
"""What a device may be called."""


def _text_like(pattern: str, allowed: str) -> Any:
    """The type of a text that matches ``pattern``; ``allowed`` says so in an error."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("allowed", "should be {allowed}", {"allowed": allowed})
        return text

    return Annotated[
        str, AfterValidator(check), WithJsonSchema({"type": "string", "pattern": pattern})
    ]


def _auto_or_count(given: Any) -> Any:
    count = whole(given)
    if given == "auto" or (type(count) is int and count > 0):
        return count
    raise PydanticCustomError("allowed", "should be auto or a whole number above 0")


LP_END = "lp_end is for relu with `penalty: lp`"


class TrainConfig(Section):
    """How each cell is trained, on fresh batches that all cells see alike."""

    epochs: Count = 1000
    """How many epochs."""
    steps_per_epoch: Count = 1
    """Optimiser steps in an epoch."""
    batch_size: Count = 4096
    """Samples in a batch. Every cell sees the same batches."""
    optimiser: Literal["adam", "schedule_free"] = "adam"
    """`adam`: betas 0.9, 0.999. `schedule_free`: AdamW of the package schedulefree, which averages
    weights instead of lowering the learning rate."""
    lr: Positive = 1e-3
    """Learning rate."""
    lr_warmup: Share = 0.0
    """The share of all steps over which the learning rate rises to lr in a straight line."""
    lr_decay: Literal["none", "linear", "cosine"] = "none"
    """How the learning rate falls to 0 after its warm-up."""
    clip_norm: NonNegative = 0.0
    """The norm to which a cell's gradient is shortened where it is longer; 0: never."""
    average: Share = 0.0
    """Measure and keep a running mean of the weights, to which each step adds 1 - average of its
    own, as 0.999; 0: the weights themselves."""
    loss: Literal["sum", "mean"] = "sum"
    """`sum`: mean over samples of ‖x - x_hat‖² + l1 * ‖latents‖₁.
    `mean`: mean over samples and dimensions of (x - x_hat)² + l1 * mean ‖latents‖₁ / dict_size."""
    penalty_warmup: Share = 0.0
    """The share of all steps over which the penalty rises to its full weight."""
    lp_end: NonNegative = 0.0
    """For relu: the power to which model.lp falls in a straight line, from the end of the penalty's
    warm-up to that of training, while the penalty keeps its size; 0: it stays."""
    revive: Literal["none", "resample", "ghost_grads", "auxk"] = "none"
    """What is done about latents that do not fire. `resample`: they start again from inputs with
    large errors. `ghost_grads`, `auxk`: they learn to make up for the error of the others."""
    dead_after: Annotated[float, Field(gt=0, lt=1)] = 0.0625
    """The share of all steps that makes a window: what fired in none of its steps is dead through
    the next one, until it fires."""
    resample_times: Count = 4
    """For `resample`: how often, at the end of every second window."""

    def misfits(self, model: Options) -> Iterator[str]:
        """What does not go together with the keys of a cell's ``model``."""
        if self.lp_end > 0 and isinstance(model, ReluOptions):
            if model.penalty != "lp":
                yield LP_END
            elif self.lp_end >= model.lp:
                yield f"lp_end {self.lp_end:g} should be below lp {model.lp:g}"
        if self.average > 0 and self.optimiser == "schedule_free":
            yield "schedule_free averages by itself; leave average at 0"


class EvalConfig(Section):
    """How cells are measured: one evaluation set a run, the same for every cell."""

    n_samples: Count = 65_536
    """Samples in the evaluation set."""
    learned_threshold: Annotated[float, Field(gt=0, le=1)] = 0.9
    """A feature counts as learned when an atom's cosine with it is above this."""
    model_tokens: Annotated[int, BeforeValidator(whole), Field(ge=0, le=MOST)] = 0
    """For activations that were harvested, with their model at hand: on how many tokens the model's
    loss is measured with reconstructions in the place of activations; 0: on none."""
    baselines: Annotated[
        list[Literal["pca", "ica", "kmeans", "random", "truth"]], AfterValidator(distinct)
    ] = Field(default=["pca", "ica", "kmeans", "random", "truth"])
    """What the cells are compared with, on the same data and through the same metrics; `saesweep
    baselines` has more."""


class RayConfig(Section):
    """Jobs as tasks of a Ray cluster (`pip install 'saesweep[ray]'`)."""

    address: str | None = None
    """Of a cluster that runs, as `10.0.0.1:6379` or `auto`; without one, one is started here."""
    cpus: Count = 1
    """CPU cores that a job takes, where it trains on CPUs."""


class SlurmConfig(Section):
    """Jobs as tasks of one SLURM array (`pip install 'saesweep[slurm]'`)."""

    partition: str | None = None
    """Partition to submit to; without one, the cluster's own default."""
    account: str | None = None
    """Account that pays."""
    minutes: Count = 24 * 60
    """Time limit of a task. Checkpoints are written before it runs out, and the task goes on."""
    cpus: Count = 4
    """CPU cores that a task takes."""
    memory_gb: Count | None = None
    """Memory that a task takes; without a number, the cluster's own default."""
    gpus: Annotated[int, BeforeValidator(whole), Field(ge=0, le=8)] = 1
    """GPUs that a task takes: 1, or 0 to train on CPUs."""
    at_once: Count = 16
    """Tasks that run at one time, at most."""
    detach: bool = False
    """Return when the tasks are submitted; `saesweep status --watch` follows."""
    setup: list[str] = Field(default=[])
    """Shell commands before a task, as `module load cuda`."""
    options: dict[str, Scalar] = Field(default={})
    """Any other options of sbatch, as `{constraint: h100, qos: long}`."""


class JobsConfig(Section):
    """Where and how cells are run."""

    backend: Literal["local", "ray", "slurm"] = "local"
    """`local`: on this machine. `ray`, `slurm`: on a cluster that shares the run's folder."""
    device: _text_like(DEVICE, DEVICE_RULE) = "auto"  # type: ignore[valid-type]
    """`auto` (every CUDA device there is, else the CPU), `cpu`, `cuda` (every one), `cuda:1`."""
    per_device: Annotated[int, BeforeValidator(whole), Field(ge=1, le=1024)] = 1
    """Jobs at once on one device. Where more than one runs, each has a process of its own."""
    stack: Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)] = "auto"
    """How many cells are trained stacked in one job. `auto`: those that can share batches, spread
    over the devices, as far as they fit into 4 GiB. `1`: every cell has a process of its own."""
    checkpoint_every: Positive = 60.0
    """Seconds from one checkpoint of a cell to the next."""
    retries: Annotated[int, BeforeValidator(whole), Field(ge=0, le=1000)] = 2
    """How often a job that was killed is started again, from its checkpoints."""
    fail_fast: bool = False
    """Stop the sweep at the first cell that fails."""
    plot: bool = True
    """Draw the figures when the sweep is over. `saesweep plot` draws them at any time."""
    loggers: list[Literal["tensorboard", "wandb"]] = Field(default=[])
    """Where histories go besides the run's folder: extras of the same names."""
    ray: RayConfig = RayConfig()
    """For `backend: ray`."""
    slurm: SlurmConfig = SlurmConfig()
    """For `backend: slurm`."""
    max_cells: Count = 10_000
    """A grid with more cells than this is refused, as it is more likely a slip."""


def _axes_of_section(section: str, model: type[Section]) -> dict[str, Any]:
    """The kinds of the axes that the keys of a section make."""
    return {
        f"{section}.{name}": Annotated[
            field.annotation,
            *field.metadata,
            Field(description=field.description),
        ]
        for name, field in model.model_fields.items()
    }


_AXES: dict[str, Any] = {
    "l1": NonNegative,
    "k": Count,
    "l0_coefficient": NonNegative,
    "prior_rate": NonNegative,
    "dict_ratio": Positive,
    "dict_size": Count,
    "seed": Seed,
    **_axes_of_section("train", TrainConfig),
    **_axes_of_section("model", ModelKeys),
}
_GridModel = grid_model(_AXES)


def _grid(given: Any) -> dict[str, list[Scalar]]:
    """The grid's axes, written out, in the order in which they were given."""
    model = _GridModel
    foreign = {*given} - {*_AXES} if isinstance(given, dict) else set()
    if offered() and any(str(key).startswith("model.") for key in foreign):
        model = grid_model({**_AXES, **_axes_of_section("model", keys_of([*offered()]))})
    axes = model.model_validate(given).model_dump(exclude_none=True)
    return {key: axes[key] for key in given if key in axes}


def _model(given: Any, info: ValidationInfo) -> dict[str, Any]:
    """The keys of `model`, for the variants of the grid."""
    return resolved(given, info.data.get("grid", {}))


SOURCES: dict[str, type[DataConfig | ActivationsConfig]] = {
    "synthetic": DataConfig,
    "activations": ActivationsConfig,
}


def data_kind(given: Any) -> type[DataConfig | ActivationsConfig]:
    """The kind of `data` that the ``given`` section is, by its `source`; else synthetic."""
    source = given.get("source") if isinstance(given, Mapping) else None
    return SOURCES.get(source, DataConfig) if isinstance(source, str) else DataConfig


def _data(given: Any) -> Any:
    if isinstance(given, Mapping) and given.get("source", "synthetic") not in [*SOURCES]:
        text = f"given {given['source']!r}: should be {' or '.join(SOURCES)}"
        refuse("data", [Misfit(("source",), text, ("data.source",))])
    return data_kind(given).model_validate(given)


class SweepConfig(Section):
    """One sweep: the data, the grid of cells, and how they are trained and measured."""

    name: _text_like(NAME, NAME_RULE) = "sweep"  # type: ignore[valid-type]
    """What the sweep is called in figures and tables."""
    seed: Seed = 0
    """The seed of everything random in the run."""
    data: Annotated[DataConfig | ActivationsConfig, BeforeValidator(_data)]
    """The activations."""
    grid: Annotated[
        dict[str, list[Any]],
        BeforeValidator(_grid),
        WithJsonSchema(_GridModel.model_json_schema()),
    ]
    """The axes: what makes each variant sparse (`l1` for relu and gated, `k` for topk,
    batchtopk and matryoshka, `l0_coefficient` for jumprelu, `prior_rate` for variational) and
    one of `dict_ratio` (times n_features, or times activation_dim where no feature is known)
    and `dict_size`; also `seed` and any key of `train` and `model`, as `train.lr` and
    `model.variant`. An axis is a list, `{logspace: [a, b, n]}`, `{linspace: [a, b, n]}` or
    `{pow2: [a, b]}`. A variant takes part in those axes that it has."""
    model: Annotated[
        dict[str, Any],
        BeforeValidator(_model),
        WithJsonSchema(ModelKeys.model_json_schema()),
    ] = Field(default={}, validate_default=True)
    """The autoencoder: its variant, and the keys that the variant has."""
    train: TrainConfig = TrainConfig()
    """The training."""
    snapshot_every: Annotated[Schedule, BeforeValidator(check_schedule)] = 10
    """Record metrics and atoms every so many epochs (and before the first and after the last).
    `{log: 50}`: up to 50 times, evenly over their logarithm. `[1, 10, 100]`: after these."""
    eval: EvalConfig = EvalConfig()
    """The evaluation."""
    jobs: JobsConfig = JobsConfig()
    """The execution."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        misfits = (
            *self.data.misfits(),
            *size_misfits(self.grid, *self.data.ratio_unit),
            *axis_misfits(self.grid, self.model),
            *self._eval_misfits(),
            *self._cell_misfits(),
        )
        refuse("config", misfits)
        return self

    def axes(self) -> dict[str, dict[str, Sequence[Any]]]:
        """For each variant the axes of the grid that it takes part in."""
        names = variants_of(self.grid, self.model)
        return {name: axes_of(name, self.grid) for name in names}

    def train_at(self, point: Mapping[str, Any]) -> TrainConfig:
        """`train` at a ``point`` of the grid: values by axis."""
        return self.train.model_copy(update=_of_section("train", point))

    def model_at(self, variant: str, point: Mapping[str, Any]) -> Options:
        """The keys of ``variant`` at a ``point`` of the grid."""
        options = options_of(variant)
        keys = {**self.model, **_of_section("model", point)}
        return options(**{key: keys[key] for key in options.model_fields})

    def size_at(self, point: Mapping[str, Any]) -> int | None:
        """The dictionary size at a ``point`` of the grid; None where a ratio makes none."""
        if "dict_size" in point:
            return int(point["dict_size"])
        return latents(point["dict_ratio"], self.data.ratio_unit[0])

    def _eval_misfits(self) -> Iterator[Misfit]:
        if self.eval.model_tokens and isinstance(self.data, DataConfig):
            text = "is for activations of a model, and the data are synthetic"
            yield Misfit(("eval", "model_tokens"), text, ("eval.model_tokens", "data.source"))

    def _cell_misfits(self) -> Iterator[Misfit]:
        cells = sum(math.prod(map(len, axes.values())) for axes in self.axes().values())
        if cells > self.jobs.max_cells:
            text = f"{cells:,} cells are more than jobs.max_cells: {self.jobs.max_cells:,}"
            yield Misfit(("grid",), text, ("grid", "jobs.max_cells"))
            return
        found: dict[str, None] = {}
        if max([self.train.lp_end, *self.grid.get("train.lp_end", [])]) > 0 and not any(
            issubclass(options_of(name), ReluOptions) for name in self.axes()
        ):
            found[LP_END] = None
        for variant, axes in self.axes().items():
            sparsity = options_of(variant).sparsity
            if sparsity not in axes or not {"dict_size", "dict_ratio"} & {*axes}:
                continue  # said already
            for values in itertools.product(*axes.values()):
                point = dict(zip(axes, values, strict=True))
                size, model = self.size_at(point), self.model_at(variant, point)
                if size is not None:
                    texts = model.misfits(point[sparsity], size)
                    found |= {f"{variant}: {text}": None for text in texts}
                found |= dict.fromkeys(self.train_at(point).misfits(model))
        yield from (Misfit(("grid",), text, ("grid", "model", "train")) for text in found)


def _of_section(section: str, point: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the axes of a section, by its keys."""
    pairs = ((axis.partition("."), value) for axis, value in point.items())
    return {key: value for (first, _, key), value in pairs if first == section}
