"""The state of a stack's training: all that the next step depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from saesweep.dictionaries.stack import Stack
from saesweep.dictionaries.variants.relu import Relu
from saesweep.training.adam import Adam
from saesweep.training.annealing import Annealing
from saesweep.training.averaging import Average
from saesweep.training.reviving.windows import Windows
from saesweep.training.schedules import Schedule

OPTIMISER = "optimiser."
"""How the names of an optimiser's numbers begin among the parts of a cell."""


class Optimiser(Protocol):
    """Changes a stack's parameters by its gradients."""

    def step(self, factor: float = 1.0) -> None:
        """Take a step at ``factor`` times the learning rates."""

    def moments_by_name(self) -> dict[str, Tensor]:
        """What is kept of each parameter, [parameters] each; 0 for one that starts again."""

    def iterates(self) -> dict[str, Tensor]:
        """Second copies of the parameters, [parameters] each."""

    def numbers(self) -> dict[float, dict[str, float]]:
        """What is kept besides, for each learning rate."""

    def restore(self, step: int, numbers: dict[float, dict[str, float]]) -> None:
        """Go on after ``step`` steps with ``numbers``."""

    def measure(self) -> None:
        """Put those weights into the stack that are to be measured."""


class TrainingState:
    """``stack`` after ``step`` steps, with the optimiser that takes them.

    Batches are drawn by the number of their step, so there is nothing else to keep.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.train = stack.groups[0].cells[0].train
        self.schedule = Schedule(self.train)
        self.optimiser = _optimiser(stack, self.train.optimiser)
        self.average = Average(stack, self.train.average) if self.train.average else None
        anneals = self.train.lp_end > 0 and isinstance(stack.groups[0].variant, Relu)
        self.annealing = Annealing(stack, self.schedule) if anneals else None
        self.windows = Windows(stack, self.train) if self.train.revive != "none" else None
        self.step = self._imposed = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Let the stack hold the weights that are measured and kept, all atoms at norm 1."""
        if self.average is None and self.train.optimiser == "adam":
            if self.step != self._imposed:  # to normalise twice would round twice
                self.stack.impose()
                self._imposed = self.step
            yield
            return
        live = self.stack.parameters.clone()
        self.optimiser.measure()
        if self.average is not None:
            self.stack.parameters.copy_(self.average.parameters)
        self.stack.impose()
        try:
            yield
        finally:
            self.stack.parameters.copy_(live)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """For each cell, by name, the tensors of its state: views, no copies.

        Its parameters as in an `SAE`; ``mean.W_enc``, ``square.W_enc``, …: what the optimiser keeps
        of them; and what the variant, annealing and revival keep.
        """
        parts = self.stack.parts(self.stack.parameters)
        copies = {**self.optimiser.moments_by_name(), **self.copies()}
        for prefix, flat in copies.items():
            for name, own in self.stack.parts(flat).items():
                parts[name] |= {f"{prefix}.{key}": part for key, part in own.items()}
        for name, kept in self.stack.kept().items():
            parts[name] |= {f"kept.{key}": part for key, part in kept.items()}
        numbers = self.optimiser.numbers()
        for place, group in enumerate(self.stack.groups):
            for i, cell in enumerate(group.cells):
                if self.annealing is not None:
                    parts[cell.name]["annealing.scale"] = self.annealing.scales[place][i]
                if self.windows is not None:
                    parts[cell.name]["revive.fired"] = self.windows.fired[place][i]
                    parts[cell.name]["revive.dead"] = self.windows.dead[place][i]
                for key, value in numbers.get(cell.train.lr, {}).items():
                    parts[cell.name][f"{OPTIMISER}{key}"] = _number(value)
        return parts

    def copies(self) -> dict[str, Tensor]:
        """Second copies of the parameters, [parameters] each: those of averages."""
        average = {} if self.average is None else {"average": self.average.parameters}
        return {**self.optimiser.iterates(), **average}

    def restore(self, step: int, saved: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go back to ``step``, with the tensors of every cell as `parts` gave them then."""
        for name, parts in self.parts().items():
            for key, part in parts.items():
                part.copy_(saved[name][key])
        self.step = step
        numbers: dict[float, dict[str, float]] = {}
        for group in self.stack.groups:
            for cell in group.cells:
                own = saved[cell.name]
                numbers[cell.train.lr] = {
                    key.removeprefix(OPTIMISER): own[key].item()
                    for key in own
                    if key.startswith(OPTIMISER)
                }
        self.optimiser.restore(step, numbers)
        if self.windows is not None:
            self.windows.look()


def _optimiser(stack: Stack, name: str) -> Optimiser:
    if name == "schedule_free":
        from saesweep.training.schedule_free import ScheduleFree  # half a second to import

        return ScheduleFree(stack)
    return Adam(stack)


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
