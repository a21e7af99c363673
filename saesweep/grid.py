"""From a config to cells, and from cells to jobs: which SAEs are trained, and which together."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from saesweep.config import Scalar, SweepConfig, TrainConfig
from saesweep.config_checks import flat
from saesweep.model_config import Options
from saesweep.schedule import snapshot_count
from saesweep.sparsity import AXES, SparsityAxis

STACK_BYTES = 4 << 30
"""What a job of stacked cells may take in memory. A constant, so that the plan does not depend on
the machine of the moment."""

CHUNK_LATENTS = {"cpu": 3 << 17, "cuda": 1 << 27}
"""How many latents of a group are computed at a time, on each kind of device. On a CPU two buffers
of them should stay in the cache as far as that goes; on a GPU they take 1 GiB at most."""

SHOWN_FEATURES = 64
"""Features whose cosines are recorded in full for cells too large to keep their atoms."""


@dataclass(frozen=True)
class Cell:
    """One point of the grid: one SAE and its hyperparameters."""

    name: str
    """Its axes: ``l1=0.01_dict=24``."""
    sparsity: float
    """Its value on the axis that makes it sparse: the L1 penalty α, k, …"""
    dict_size: int
    """How many latents it has."""
    seed: int
    """Seeds its initial weights, under the seed of the run."""
    train: TrainConfig
    model: Options
    extra: dict[str, Scalar]
    """Its values on the axes other than sparsity and dictionary size."""
    variant: str = "relu"
    """What it computes (`dictionaries/variants/`)."""

    @property
    def axis(self) -> SparsityAxis:
        """The axis that makes it sparse."""
        return AXES[self.model.sparsity]

    def describe(self) -> dict[str, Any]:
        """All of its hyperparameters, for ``cell.json``."""
        return {
            "name": self.name,
            self.axis.column: self.sparsity,
            "dict_size": self.dict_size,
            "seed": self.seed,
            "train": self.train.model_dump(),
            "model": {"variant": self.variant, **self.model.model_dump()},
        }

    def differences(self, described: Mapping[str, Any]) -> list[str]:
        """What is not as ``described`` in a ``cell.json``, in words.

        Keys that came into saesweep later were as they are by default.
        """
        now = self.describe()
        before = {**described}
        for section, kind in (("train", TrainConfig), ("model", type(self.model))):
            given = described.get(section)
            if isinstance(given, Mapping):
                defaults = {k: f.default for k, f in kind.model_fields.items() if k in now[section]}
                before[section] = {**defaults, **given}
        return differences(flat(before), flat(now))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys whose values are not the same, with both.

    >>> differences({"seed": 0, "train.lr": 0.001}, {"seed": 0, "train.lr": 0.01})
    ['train.lr was 0.001 and is 0.01']
    """
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{key} was {before.get(key)} and is {now.get(key)}" for key in keys]


@dataclass(frozen=True)
class Job:
    """What is launched on a device: one cell, or several that are trained stacked."""

    cells: tuple[Cell, ...]
    bytes: int
    """An estimate of the memory it takes."""


def expand(config: SweepConfig) -> list[Cell]:
    """The cells of the grid, variant by variant: the last axis runs fastest."""
    labels = {axis: _labels(axis, values, config) for axis, values in config.grid.items()}
    return [
        _cell(config, variant, dict(zip(axes, values, strict=True)), labels)
        for variant, axes in config.axes().items()
        for values in itertools.product(*axes.values())
    ]


def plan(
    config: SweepConfig,
    cells: Iterable[Cell],
    stack: Literal["auto"] | int = "auto",
    slots: int = 1,
) -> list[Job]:
    """Jobs for ``cells``: stacked where they can share batches, as far as ``stack`` allows.

    With ``auto`` they are spread over ``slots``, the jobs that run at once, while none takes more
    than `STACK_BYTES`, unless it is a single cell.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(shares_batches(cell), []).append(cell)
    shared = shared_bytes(config)
    return [
        Job(tuple(one), shared + memory(config, one))
        for group in groups.values()
        for one in _stacks(config, group, stack, slots, STACK_BYTES - shared)
    ]


def _stacks(
    config: SweepConfig,
    group: Sequence[Cell],
    stack: Literal["auto"] | int,
    slots: int,
    room: int,
) -> list[list[Cell]]:
    """Largest first, each cell goes to the stack that takes least, so that all take as long.

    Where it does not fit into ``room`` bytes there, it fits nowhere, and starts one of its own.
    """
    most = len(group) if stack == "auto" else stack
    least = slots if stack == "auto" else math.ceil(len(group) / stack)
    stacks: list[list[Cell]] = [[] for _ in range(min(least, len(group)))]
    taken = [(0, 0, i) for i in range(len(stacks))]  # a heap: fixed bytes, latents, which stack
    for cell in sorted(group, key=lambda cell: -_fixed_bytes(config, cell)):
        fixed, latents, place = taken[0]
        fixed, latents = fixed + _fixed_bytes(config, cell), latents + cell.dict_size
        too_much = stack == "auto" and fixed + _buffer_bytes(cell, latents) > room
        if too_much and stacks[place]:
            fixed, latents, place = _fixed_bytes(config, cell), cell.dict_size, len(stacks)
            stacks.append([])
        else:
            heapq.heappop(taken)
        stacks[place].append(cell)
        if len(stacks[place]) < most:
            heapq.heappush(taken, (fixed, latents, place))
    order = {cell.name: i for i, cell in enumerate(group)}
    chosen = [sorted(one, key=lambda cell: order[cell.name]) for one in stacks]
    return sorted(chosen, key=lambda one: order[one[0].name])


def memory(config: SweepConfig, cells: Sequence[Cell]) -> int:
    """Roughly what training ``cells`` stacked takes at most, in bytes."""
    latents = sum(cell.dict_size for cell in cells)
    fixed = sum(_fixed_bytes(config, cell) for cell in cells)
    return fixed + _buffer_bytes(cells[0], latents)


def _fixed_bytes(config: SweepConfig, cell: Cell) -> int:
    """What a cell takes in any stack.

    Parameters, gradients and what the optimiser keeps in float32, cosines with the true features,
    and recorded snapshots.
    """
    d, n = config.data.activation_dim, config.data.n_features
    copies = 4 + (cell.train.average > 0) + 2 * (cell.train.optimiser == "schedule_free")
    parameters = copies * cell.dict_size * (2 * d + 1) * 4
    return parameters + 2 * cell.dict_size * n * 4 + snapshot_bytes(config, cell)


def _buffer_bytes(cell: Cell, latents: int) -> int:
    """Latents and their gradient, for a part of the batch; autograd keeps steps between them."""
    kept = 2 if cell.variant == "relu" else 8
    buffers = kept * min(latents * cell.train.batch_size, CHUNK_LATENTS["cuda"]) * 4
    # Those that look at a whole batch do it cell by cell.
    return buffers + 2 * cell.dict_size * cell.train.batch_size * 4 * (cell.model.sparsity == "k")


def shared_bytes(config: SweepConfig) -> int:
    """What the evaluation set and the source of batches take at most, in bytes."""
    return config.eval.n_samples * config.data.evaluation_bytes() + config.data.source_bytes()


def chunk_size(latents: int, batch_size: int, device: str) -> int:
    """Samples on which a group with ``latents`` latents in all is computed at once.

    Measured on two cores with 2 MiB of L2 each, ms for the gradient of all cells: the toy grid 1.06
    in chunks of 2,048 (24 latents) and 1,024 (48), and 1.34 for the whole batch of 4,096; six SAEs
    each of 512 and 1,024 latents at d = 256, 288 in chunks of 512, and 312 for the whole batch.
    """
    fits = CHUNK_LATENTS[device] / latents
    if device == "cpu":
        return min(batch_size, 1 << max(9, min(11, round(math.log2(max(1, fits))))))
    return min(batch_size, max(512, int(fits)))


ATOMS_BYTES = 16 << 20
"""Cells whose atoms over all snapshots take at most this record them whole."""


def keeps_atoms(config: SweepConfig, cell: Cell) -> bool:
    """Whether ``cell`` is small enough for its snapshots to hold every atom."""
    atoms = 4 * cell.dict_size * config.data.activation_dim
    return atoms * _snapshots(config, cell) <= ATOMS_BYTES


def snapshot_bytes(config: SweepConfig, cell: Cell) -> int:
    """Roughly what the snapshots of ``cell`` take, in bytes."""
    shown = min(SHOWN_FEATURES, config.data.n_features)
    atoms = 4 * cell.dict_size * config.data.activation_dim
    each = 8 * config.data.n_features + (atoms if keeps_atoms(config, cell) else 2 * shown**2)
    return _snapshots(config, cell) * (each + cell.dict_size)


def _snapshots(config: SweepConfig, cell: Cell) -> int:
    return snapshot_count(config.snapshot_every, cell.train.epochs)


def shares_batches(cell: Cell) -> tuple[Any, ...]:
    """What cells must have in common to be stacked: they see the same batches for as long."""
    train = cell.train.model_dump(exclude={"lr"})
    return (*train.values(), cell.variant, *cell.model.model_dump().values())


_SHORT = {"dict_ratio": "dict", "dict_size": "dict", "model.variant": "variant"}
"""Axes that have a shorter name in the names of cells."""


def _labels(axis: str, values: list[Scalar], config: SweepConfig) -> dict[Scalar, str]:
    """Each value of an axis with its text in names: as few digits as tell all values apart."""
    if axis == "dict_ratio":
        sizes = [config.size_at({axis: ratio}) for ratio in values]
        return {ratio: str(size) for ratio, size in zip(values, sizes, strict=True)}
    if not any(isinstance(value, float) for value in values):
        return {value: str(value).lower() for value in values}
    for digits in range(4, 18):
        labels = [f"{value:.{digits}g}" for value in values]
        if len(set(labels)) == len(values):
            break
    return dict(zip(values, labels, strict=True))


def _cell(
    config: SweepConfig,
    variant: str,
    point: Mapping[str, Scalar],
    labels: Mapping[str, Mapping[Scalar, str]],
) -> Cell:
    model, size = config.model_at(variant, point), config.size_at(point)
    assert size is not None  # as the config was checked
    apart = {*AXES, "dict_ratio", "dict_size"}
    return Cell(
        name="_".join(f"{_SHORT.get(axis, axis)}={labels[axis][x]}" for axis, x in point.items()),
        sparsity=float(point[model.sparsity]),
        dict_size=size,
        seed=int(point.get("seed", 0)),
        train=config.train_at(point),
        model=model,
        extra={axis: value for axis, value in point.items() if axis not in apart},
        variant=variant,
    )
