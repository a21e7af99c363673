"""A sweep's config: what each key means, what it may be, and what it is when left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from saesweep.axes import distinct, grid_model
from saesweep.config_checks import Misfit, refuse, size_misfits
from saesweep.data_config import DataConfig
from saesweep.fields import Count, NonNegative, Positive, Section, Seed, whole
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


class ModelConfig(Section):
    """The sparse autoencoder."""

    variant: Literal["relu"] = "relu"
    """latents = ReLU(x W_enc + b_enc), x_hat = latents W_dec, rows of W_dec of norm 1."""
    decoder_bias: bool = False
    """Learn b_dec: x_hat = latents W_dec + b_dec, and the encoder sees x - b_dec."""


class TrainConfig(Section):
    """How each cell is trained: Adam (betas 0.9, 0.999) on fresh batches."""

    epochs: Count = 1000
    """How many epochs."""
    steps_per_epoch: Count = 1
    """Optimiser steps in an epoch."""
    batch_size: Count = 4096
    """Samples in a batch. Every cell sees the same batches."""
    lr: Positive = 1e-3
    """Learning rate."""
    loss: Literal["sum", "mean"] = "sum"
    """`sum`: mean over samples of ‖x - x_hat‖² + l1 * ‖latents‖₁.
    `mean`: mean over samples and dimensions of (x - x_hat)² + l1 * mean ‖latents‖₁ / dict_size."""


class EvalConfig(Section):
    """How cells are measured: one evaluation set a run, the same for every cell."""

    n_samples: Count = 65_536
    """Samples in the evaluation set."""
    learned_threshold: Annotated[float, Field(gt=0, le=1)] = 0.9
    """A feature counts as learned when an atom's cosine with it is above this."""
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
    ray: RayConfig = RayConfig()
    """For `backend: ray`."""
    slurm: SlurmConfig = SlurmConfig()
    """For `backend: slurm`."""
    max_cells: Count = 10_000
    """A grid with more cells than this is refused, as it is more likely a slip."""


_GridModel = grid_model(
    {
        "l1": NonNegative,
        "dict_ratio": Positive,
        "dict_size": Count,
        "seed": Seed,
        **{
            f"{section}.{name}": Annotated[
                field.annotation,
                *field.metadata,
                Field(description=field.description),
            ]
            for section, model in (("train", TrainConfig), ("model", ModelConfig))
            for name, field in model.model_fields.items()
        },
    },
    required={"l1"},
)


def _grid(given: Any) -> dict[str, list[Scalar]]:
    """The grid's axes, written out, in the order in which they were given."""
    axes = _GridModel.model_validate(given).model_dump(exclude_none=True)
    return {key: axes[key] for key in given if key in axes}


class SweepConfig(Section):
    """One sweep: the data, the grid of cells, and how they are trained and measured."""

    name: _text_like(NAME, NAME_RULE) = "sweep"  # type: ignore[valid-type]
    """What the sweep is called in figures and tables."""
    seed: Seed = 0
    """The seed of everything random in the run."""
    data: DataConfig
    """The activations."""
    grid: Annotated[
        dict[str, list[Any]],
        BeforeValidator(_grid),
        WithJsonSchema(_GridModel.model_json_schema()),
    ]
    """The axes. `l1` and one of `dict_ratio` (times n_features) and `dict_size`; also `seed` and
    any key of `train` and `model`, as `train.lr`. An axis is a list, `{logspace: [a, b, n]}`,
    `{linspace: [a, b, n]}` or `{pow2: [a, b]}`."""
    model: ModelConfig = ModelConfig()
    """The autoencoder."""
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
            *size_misfits(self.grid, self.data.n_features),
            *self._cell_misfits(),
        )
        refuse("config", misfits)
        return self

    def _cell_misfits(self) -> Iterator[Misfit]:
        cells = math.prod(len(values) for values in self.grid.values())
        if cells > self.jobs.max_cells:
            text = f"{cells:,} cells are more than jobs.max_cells: {self.jobs.max_cells:,}"
            yield Misfit(("grid",), text, ("grid", "jobs.max_cells"))
