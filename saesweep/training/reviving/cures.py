"""The cures for dead latents, by their names in `train.revive`."""

from __future__ import annotations

from torch import Tensor

from saesweep.data.batch import Source
from saesweep.training.reviving.resample import Resample
from saesweep.training.reviving.residual import LOSSES, ResidualCure
from saesweep.training.state import TrainingState


class Cure:
    """What is done about the dead latents of ``state``, step by step."""

    def __init__(self, state: TrainingState, source: Source) -> None:
        self.state, train = state, state.train
        self.resample = Resample(state, source) if train.revive == "resample" else None
        self.residual: ResidualCure | None = None
        if train.revive in LOSSES:
            assert state.windows is not None
            samples = train.batch_size * (state.stack.d_in if train.loss == "mean" else 1)
            self.residual = ResidualCure(
                state.stack, state.windows, LOSSES[train.revive], 1 / samples
            )

    @property
    def fired(self) -> list[Tensor] | None:
        """Where the gradient counts firing: [cells, dict_size] for each group."""
        return None if self.state.windows is None else self.state.windows.fired

    def add_gradient(self, x: Tensor) -> None:
        """Add what the dead latents learn from ``x`` [batch, d_in] to the gradients."""
        if self.residual is not None:
            self.residual.add_gradient(x)

    def after_step(self) -> None:
        """Look after a step whether a window is over, and latents start again."""
        windows = self.state.windows
        over = windows is not None and windows.turn(self.state.step)
        if over and self.resample is not None and self.resample.is_due():
            self.resample()
