"""Other libraries' trainers, one cell after another, each through its own training step.

They are fed with ready batches: drawing the data is not counted against them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

from torch import Tensor

from saesweep.config import SweepConfig
from saesweep.data.synthetic import SyntheticSource
from saesweep.grid import Cell, expand

POOL = 4
"""Ready batches."""

Step = Callable[[int, Tensor], object]
"""Trains on the batch of a step."""


class Peer:
    """One trainer a cell; ``make`` builds it and returns its step."""

    package: str

    def __init__(self, config: SweepConfig, source: SyntheticSource) -> None:
        self.steps_of_cells = [self.make(config, cell) for cell in expand(config)]
        self.name = f"{self.package} {version(self.package)}"
        self.pool = [source.batch(step, config.train.batch_size).x for step in range(POOL)]
        self.steps = 0

    def make(self, config: SweepConfig, cell: Cell) -> Step:
        """The training step of ``cell``; ``ImportError`` where the library is not installed."""
        raise NotImplementedError

    def run(self, steps: int) -> None:
        """Train each cell for ``steps`` steps, one after another."""
        for train in self.steps_of_cells:
            for step in range(self.steps, self.steps + steps):
                train(step, self.pool[step % POOL])
        self.steps += steps


class SAELens(Peer):
    """`SAETrainer.step` as `SAETrainer.fit` calls it, without progress bar and logs."""

    package = "sae-lens"

    def make(self, config: SweepConfig, cell: Cell) -> Step:
        """A standard SAE with the cell's L1; its clipping of gradients is part of its step."""
        from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        sae = StandardTrainingSAE(
            StandardTrainingSAEConfig(
                d_in=config.data.activation_dim, d_sae=cell.dict_size, l1_coefficient=cell.sparsity
            )
        )
        settings = SAETrainerConfig(
            total_training_samples=10**9,
            train_batch_size_samples=cell.train.batch_size,
            lr=cell.train.lr,
            lr_end=cell.train.lr,
        )
        trainer = SAETrainer(settings, sae, data_provider=iter(()))

        def step(_: int, x: Tensor) -> None:
            trainer.maybe_reset_sparsity()
            trainer.step(x)
            trainer.n_training_steps += 1

        return step


class DictionaryLearning(Peer):
    """`StandardTrainer.update` as `trainSAE` calls it, without logs."""

    package = "dictionary-learning"

    def make(self, config: SweepConfig, cell: Cell) -> Step:
        """A standard trainer with the cell's L1, without warm-up."""
        from dictionary_learning.trainers.standard import StandardTrainer

        return StandardTrainer(
            steps=10**6,
            activation_dim=config.data.activation_dim,
            dict_size=cell.dict_size,
            layer=0,
            lm_name="synthetic",
            lr=cell.train.lr,
            l1_penalty=cell.sparsity,
            warmup_steps=0,
            sparsity_warmup_steps=None,
            device="cpu",
        ).update


def installed(config: SweepConfig, source: SyntheticSource) -> Sequence[Peer]:
    """The peers that are installed, ready to train; a line on the screen for each that is not."""
    peers: list[Peer] = []
    for kind in (SAELens, DictionaryLearning):
        try:
            peers.append(kind(config, source))
        except ImportError as error:
            print(f"  {kind.package}: not timed, as it cannot be imported ({error});")
            print(f"    pip install {kind.package}")
    return peers
