"""Where the activations of a config come from."""

from __future__ import annotations

from pathlib import Path

from saesweep.activations_config import ActivationsConfig
from saesweep.config import SweepConfig
from saesweep.data.activations import ActivationSource, Normalization, split_of
from saesweep.data.batch import Source
from saesweep.data.shards import Shards
from saesweep.data.synthetic import SyntheticSource
from saesweep.data_config import DataConfig
from saesweep.errors import RunError, UsageError


def source_of(
    config: SweepConfig, device: str = "cpu", normalization: Normalization | None = None
) -> Source:
    """The source of batches on ``device``; ``normalization`` is that of activations, if it is
    known already.

    ``RunError`` where the shards of activations are not there, damaged, or of another width.
    """
    if isinstance(config.data, DataConfig):
        return SyntheticSource(config.data, config.seed, device)
    shards = open_shards(config.data)
    known = normalization or Normalization.of(config.data.normalize, shards)
    return ActivationSource(
        shards,
        config.seed,
        held_out=config.data.held_out,
        normalization=known,
        buffer_rows=config.data.buffer_rows,
        device=device,
    )


def open_shards(data: ActivationsConfig) -> Shards:
    """The shards at `data.path`, of the width that the config says."""
    shards = Shards.open(Path(data.path))
    if shards.d_in != data.activation_dim:
        raise RunError(
            f"{data.path}: its activations have {shards.d_in} dimensions, and "
            f"data.activation_dim is {data.activation_dim}"
        )
    return shards


def rows_of(data: ActivationsConfig) -> tuple[int, int]:
    """How many rows there are to train on, and held out: by the headers of the shards alone."""
    split = split_of(open_shards(data), data.held_out)
    return split.train_rows, split.held_rows


def at_home(config: SweepConfig) -> SweepConfig:
    """``config`` with an absolute path to its shards, which are there: a run may be continued from
    any folder.
    """
    if isinstance(config.data, DataConfig):
        return config
    rows_of(config.data)
    data = config.data.model_copy(update={"path": str(Path(config.data.path).absolute())})
    return config.model_copy(update={"data": data})


def synthetic_of(config: SweepConfig, what: str) -> SyntheticSource:
    """The source of synthetic data; ``UsageError`` for others, which cannot give ``what``."""
    if not isinstance(config.data, DataConfig):
        raise UsageError(
            f"{config.name}: {what} needs known features, and its data are activations"
        )
    return SyntheticSource(config.data, config.seed)
