"""Times each variant stacked against the same cells one after another, by the same code."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import groupby

import torch

from saesweep.config import SweepConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell, expand, shares_batches
from saesweep.training.loop import gradient_of, step
from saesweep.training.reviving.cures import Cure
from saesweep.training.state import TrainingState

VARIANTS = {
    "l1": ["relu", "gated"],
    "k": ["topk", "batchtopk", "matryoshka"],
    "l0_coefficient": ["jumprelu"],
    "prior_rate": ["variational"],
}
GRIDS = {
    "12 cells, d = 3, dictionaries of 24 and 48, batches of 4,096": {
        "data": {"activation_dim": 3, "n_features": 6, "mean_active": 1},
        "grid": {"dict_size": [24, 48]},
        "train": {"batch_size": 4096},
    },
    "12 cells, d = 64, dictionaries of 128 and 256, batches of 1,024": {
        "data": {"activation_dim": 64, "n_features": 128, "mean_active": 4},
        "grid": {"dict_size": [128, 256]},
        "train": {"batch_size": 1024},
    },
}
SPARSITY = {
    "l1": {"logspace": [0.01, 0.2, 6]},
    "k": [1, 2, 3, 4, 5, 6],
    "l0_coefficient": {"logspace": [0.001, 0.1, 6]},
    "prior_rate": {"linspace": [0.01, 0.1, 6]},
}


class Trained:
    """Cells that are trained in one stack."""

    def __init__(self, config: SweepConfig, cells: Sequence[Cell], source: SyntheticSource) -> None:
        self.source, self.size = source, config.train.batch_size
        self.state = TrainingState(Stack(cells, config.data.activation_dim, config.seed))
        self.gradient = gradient_of(self.state, config.train)
        self.cure = Cure(self.state, source)

    @torch.no_grad()
    def run(self, steps: int) -> float:
        """Seconds a step, the drawing of batches included."""
        start = time.perf_counter()
        for _ in range(steps):
            x = self.source.batch(self.state.step, self.size).x
            step(self.state, self.gradient, self.cure, x)
        return (time.perf_counter() - start) / steps


def report(rounds: int) -> None:
    """Time every variant on both grids."""
    for title, grid in GRIDS.items():
        print(f"\n{title}")
        print(f"  {'':14}{'stacked, ms a step':>20}{'one by one':>12}{'ratio':>8}")
        for axis, variants in VARIANTS.items():
            axes = {"model.variant": variants, axis: SPARSITY[axis], **grid["grid"]}
            config = SweepConfig.model_validate({**grid, "grid": axes})
            for _, cells in groupby(expand(config), key=shares_batches):
                _report(config, [*cells], rounds)


def _report(config: SweepConfig, cells: Sequence[Cell], rounds: int) -> None:
    source = SyntheticSource(config.data, config.seed)
    stacked = Trained(config, cells, source)
    alone = [Trained(config, [cell], source) for cell in cells]
    for one in (stacked, *alone):
        one.run(3)
    times = [(stacked.run(10), sum(one.run(4) for one in alone)) for _ in range(rounds)]
    together, apart = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(one / all_at_once for all_at_once, one in times)
    print(f"  {cells[0].variant:14}{together:20.2f}{apart:12.2f}{ratio:8.1f}", flush=True)
