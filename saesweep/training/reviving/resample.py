"""Resampling (Bricken et al. 2023): dead latents start again from inputs with large errors."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data.batch import Source
from saesweep.dictionaries.stack import Group
from saesweep.seeding import stream
from saesweep.training.state import TrainingState

SAMPLES = 65_536
"""Inputs, of the last batches, from which new atoms are drawn."""
EVERY = 2
"""Windows from one resampling to the next: the recipe's 25,000 steps, of which it counts firing
over the last 12,500."""
SMALLEST = 1e-300
"""The chance of an input without an error: there may be fewer with one than dead latents."""
ENCODER_NORM = 0.2
"""Of a new latent's encoder, in the mean norm of those that are alive."""


class Resample:
    """Gives the dead latents of every cell of ``state`` new weights, now and then."""

    def __init__(self, state: TrainingState, source: Source) -> None:
        self.state, self.source = state, source

    def is_due(self) -> bool:
        """Whether this is a step at which dead latents start again."""
        assert self.state.windows is not None
        period = EVERY * self.state.windows.length
        turns, between = divmod(self.state.step, period)
        # What starts again needs as long to learn.
        in_time = self.state.step + period <= self.state.schedule.steps
        return between == 0 and turns <= self.state.train.resample_times and in_time

    def __call__(self) -> None:
        """Draw inputs for the dead latents of every cell, and start them from these."""
        windows = self.state.windows
        assert windows is not None
        if not any(len(dead) for places in windows.places for dead in places):
            return
        count = min(self.state.step, -(-SAMPLES // self.state.train.batch_size))
        steps = range(self.state.step - count, self.state.step)
        x = torch.cat([self.source.batch(step, self.state.train.batch_size).x for step in steps])
        for place, group in enumerate(self.state.stack.groups):
            for cell, dead in enumerate(windows.places[place]):
                if len(dead):
                    self._restart(group, cell, dead, x)
            windows.dead[place].zero_()
        windows.look()

    def _restart(self, group: Group, cell: int, dead: Tensor, x: Tensor) -> None:
        """Start the latents ``dead`` [dead] of one ``cell`` from inputs among ``x`` [n, d_in]."""
        w = {name: part[cell] for name, part in group.parameters.items()}
        errors = group.residual(cell, x).square().sum(dim=1)
        own = group.cells[cell]
        generator = stream(
            self.state.stack.seed, "resample", own.seed, own.dict_size, self.state.step
        )
        # Drawn on the CPU, where the same numbers come whatever the device.
        chances = errors.nan_to_num(0, 0, 0).double().square().cpu() + SMALLEST
        drawn = torch.multinomial(chances, len(dead), len(dead) > len(x), generator=generator)
        inputs = x[drawn.to(x.device)] - w.get("b_dec", 0)
        norms = torch.linalg.vector_norm(inputs, dim=1, keepdim=True)
        atoms = inputs / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        alive = torch.ones(group.dict_size, dtype=torch.bool, device=x.device)
        alive[dead] = False
        size = torch.linalg.vector_norm(w["W_enc"], dim=0)[alive].mean().nan_to_num(nan=1.0)
        fresh = {
            "W_dec": atoms,
            "W_enc": ENCODER_NORM * size * atoms.T,
            "b_enc": torch.zeros_like(atoms[:, 0]),
            **{
                name: start[: len(dead)].to(x)
                for name, start in group.variant.learned(group.dict_size).items()
            },
        }
        self._write(own.name, dead, fresh)

    def _write(self, cell: str, dead: Tensor, fresh: dict[str, Tensor]) -> None:
        """Put the ``fresh`` weights of latents ``dead`` into a cell, and forget their moments."""
        state = self.state
        for flat in (state.stack.parameters, *state.copies().values()):
            parts = state.stack.parts(flat)[cell]
            for name, values in fresh.items():
                parts[name].index_copy_(1 if name == "W_enc" else 0, dead, values)
        for flat in state.optimiser.moments_by_name().values():
            parts = state.stack.parts(flat)[cell]
            for name in fresh:
                parts[name].index_fill_(1 if name == "W_enc" else 0, dead, 0)
