"""The `data` section of a config for activations on disk: which, how scaled, what is held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from saesweep.config_checks import MOST, Misfit
from saesweep.fields import Section, Width, whole

LEAST_BUFFER = 64
"""Rows that are read at a time."""


class ActivationsConfig(Section):
    """Activations of a real model, from the shards that `saesweep harvest` or others wrote."""

    source: Literal["activations"]
    """Where activations come from."""
    path: Annotated[str, Field(min_length=1)]
    """A folder of shards, or one file: .safetensors, .npy or .pt."""
    activation_dim: Width
    """d: how many numbers an activation has; shards of another width are refused."""
    normalize: Literal["none", "mean", "scale", "both"] = "both"
    """What is done to activations before anything sees them. `mean`: their mean is subtracted.
    `scale`: they are multiplied so that the mean of ‖x‖² is d. `both`: first the one, then the
    other. Exported SAEs have it folded in."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of the rows that is only measured on, never trained on."""
    buffer_rows: Annotated[int, BeforeValidator(whole), Field(ge=LEAST_BUFFER, le=MOST)] = 131_072
    """Rows that are mixed at a time; two such buffers are in memory."""

    n_features: ClassVar[int] = 0
    """No true feature is known."""

    @property
    def ratio_unit(self) -> tuple[int, str]:
        """What `grid.dict_ratio` is a multiple of, and its key."""
        return self.activation_dim, "activation_dim"

    def probabilities(self) -> Iterator[float]:
        """Those of the features: there are none."""
        return iter(())

    def evaluation_bytes(self) -> int:
        """What a sample of the evaluation set takes in memory."""
        return 4 * self.activation_dim

    def source_bytes(self) -> int:
        """What the source of batches takes in memory."""
        return 2 * 4 * self.buffer_rows * self.activation_dim

    def misfits(self) -> Iterator[Misfit]:
        """Nothing here depends on anything else."""
        return iter(())
