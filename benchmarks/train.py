"""Times stacked training against training the same cells one after another.

    python benchmarks/train.py            # about two minutes on two cores
    python benchmarks/train.py --peers    # also sae-lens and dictionary-learning, where installed
    python benchmarks/train.py --quick    # fewer repetitions, noisier

Everything is timed in this one process. A round times each trainer in turn, and the matrix rate
between them, so that what slows the machine slows all of them; medians over rounds are printed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from saesweep.config import SweepConfig
from saesweep.config_file import load_config
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import Cell, expand
from saesweep.training.fused import FusedGradient
from saesweep.training.loop import adam

TOY = Path(__file__).parents[1] / "configs" / "toy.yaml"
LARGE = {
    "data": {"activation_dim": 256, "n_features": 512, "mean_active": 5, "decay": 0.99},
    "grid": {"l1": {"logspace": [0.01, 0.177827941, 6]}, "dict_size": [512, 1024]},
    "train": {"batch_size": 4096},
}
POOL = 4
"""Ready batches that the peers are fed with."""


@dataclass(frozen=True)
class Case:
    """A grid to train, how long each trainer runs in a round, and the floors of the project."""

    title: str
    config: SweepConfig
    steps: int
    ratio_floor: float
    rate_floor: float | None

    @property
    def cells(self) -> list[Cell]:
        return expand(self.config)

    @property
    def flops(self) -> float:
        """Of one step of all cells: five products of 2 · batch · d · dict_size each."""
        latents = sum(cell.dict_size for cell in self.cells)
        return 5 * 2 * self.config.train.batch_size * self.config.data.activation_dim * latents


class Stacked:
    """This project's trainer: all cells in one step."""

    name = "saesweep, stacked"

    def __init__(self, case: Case, source: SyntheticSource) -> None:
        train = case.config.train
        self.source, self.size, self.step = source, train.batch_size, 0
        self.stack = Stack(case.cells, case.config.data.activation_dim, case.config.seed)
        self.gradient = FusedGradient(self.stack, self.size, train.loss)
        self.adam = adam(self.stack)

    @torch.no_grad()
    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.gradient(self.source.batch(self.step, self.size).x)
            self.adam.step()
            self.step += 1

    def weights(self) -> dict[str, Tensor]:
        """Each cell's encoder, as trained so far."""
        return {
            cell.name: group.sae(place).W_enc
            for group in self.stack.groups
            for place, cell in enumerate(group.cells)
        }


class Plain:
    """What one would write first: each cell alone, with autograd and `torch.optim.Adam`."""

    name = "plain loop, autograd"

    def __init__(self, case: Case, source: SyntheticSource) -> None:
        train = case.config.train
        assert train.loss == "sum"
        self.source, self.size, self.step = source, train.batch_size, 0
        stack = Stack(case.cells, case.config.data.activation_dim, case.config.seed)
        self.cells = []
        for group in stack.groups:
            for place, cell in enumerate(group.cells):
                sae = group.sae(place)
                parameters = [nn.Parameter(t) for t in (sae.W_enc, sae.b_enc, sae.W_dec)]
                self.cells.append(
                    (cell, parameters, torch.optim.Adam(parameters, lr=cell.train.lr))
                )

    def run(self, steps: int) -> None:
        for cell, (W_enc, b_enc, W_dec), optimiser in self.cells:
            for step in range(self.step, self.step + steps):
                x = self.source.batch(step, self.size).x
                with torch.no_grad():
                    W_dec /= W_dec.norm(dim=1, keepdim=True)
                latents = torch.relu(x @ W_enc + b_enc)
                x_hat = latents @ W_dec
                loss = (x - x_hat).square().sum(dim=1).mean() + cell.l1 * latents.abs().sum(
                    dim=1
                ).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self.step += steps

    def weights(self) -> dict[str, Tensor]:
        return {cell.name: parameters[0].detach() for cell, parameters, _ in self.cells}


class Peer:
    """Another library, a trainer a cell, fed with ready batches: drawing them costs nothing."""

    def __init__(self, case: Case, source: SyntheticSource) -> None:
        self.pool = [source.batch(step, case.config.train.batch_size).x for step in range(POOL)]
        self.trainers = [self.trainer(case, cell) for cell in case.cells]
        self.steps = 0

    def trainer(self, case: Case, cell: Cell) -> Callable[[int, Tensor], object]:
        raise NotImplementedError

    def run(self, steps: int) -> None:
        for trainer in self.trainers:
            for step in range(self.steps, self.steps + steps):
                trainer(step, self.pool[step % POOL])
        self.steps += steps


class SAELens(Peer):
    """`SAETrainer.step`, as `SAETrainer.fit` calls it, without its progress bar and logs."""

    name = "sae-lens"

    def trainer(self, case: Case, cell: Cell) -> Callable[[int, Tensor], object]:
        from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        size, d_in = cell.train.batch_size, case.config.data.activation_dim
        sae = StandardTrainingSAE(
            StandardTrainingSAEConfig(d_in=d_in, d_sae=cell.dict_size, l1_coefficient=cell.l1)
        )
        config = SAETrainerConfig(
            total_training_samples=10**9, train_batch_size_samples=size, lr=cell.train.lr
        )
        trainer = SAETrainer(config, sae, data_provider=iter(()))

        def step(_: int, x: Tensor) -> None:
            trainer.maybe_reset_sparsity()
            trainer.step(x)
            trainer.n_training_steps += 1

        return step


class DictionaryLearning(Peer):
    """`StandardTrainer.update`, as `trainSAE` calls it, without its logs."""

    name = "dictionary-learning"

    def trainer(self, case: Case, cell: Cell) -> Callable[[int, Tensor], object]:
        from dictionary_learning.trainers.standard import StandardTrainer

        return StandardTrainer(
            steps=10**6,
            activation_dim=case.config.data.activation_dim,
            dict_size=cell.dict_size,
            layer=0,
            lm_name="synthetic",
            lr=cell.train.lr,
            l1_penalty=cell.l1,
            warmup_steps=0,
            sparsity_warmup_steps=None,
            device="cpu",
        ).update


Trainer = Stacked | Plain | Peer


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class MatrixRate:
    """The machine's float32 matrix rate now: one product of 2048 × 2048 matrices, in FLOP/s."""

    def __init__(self, side: int = 2048) -> None:
        self.a, self.b = torch.randn(2, side, side)
        self.out = torch.empty(side, side)
        self.flops = 2 * side**3

    def __call__(self) -> float:
        repeats = 4
        spent = seconds(lambda: [torch.mm(self.a, self.b, out=self.out) for _ in range(repeats)])
        return self.flops * repeats / spent


def largest_difference(stacked: Stacked, plain: Plain) -> float:
    """Both should have trained the same autoencoders: how far their encoders are apart."""
    theirs = plain.weights()
    return max((W - theirs[name]).abs().max().item() for name, W in stacked.weights().items())


def measure(
    trainers: Sequence[Trainer], steps: int, rounds: int
) -> tuple[list[list[float]], list[float]]:
    """For each round the seconds a step of each trainer, and the matrix rate around it."""
    rate = MatrixRate()
    for trainer in trainers:
        trainer.run(1)
    rate()
    times, rates = [], []
    for _ in range(rounds):
        before, row = rate(), []
        for trainer in trainers:
            row.append(seconds(lambda trainer=trainer: trainer.run(steps)) / steps)
            if trainer is trainers[0]:
                # The mean of the rates right before and after: the machine as the stack had it.
                rates.append((before + rate()) / 2)
        times.append(row)
    return times, rates


def verdict(value: float, floor: float) -> str:
    return f"floor {floor:g}: {'met' if value >= floor else 'NOT MET'}"


def report(case: Case, kinds: Sequence[type[Trainer]], rounds: int) -> None:
    source = SyntheticSource(case.config.data, case.config.seed)
    trainers: list[Trainer] = []
    print(f"\n{case.title}")
    for kind in kinds:
        try:
            trainers.append(kind(case, source))
        except ImportError as error:
            print(f"  {kind.name}: not timed, it cannot be imported ({error})")
            print("    pip install sae-lens dictionary-learning")
    stacked, plain = trainers[:2]
    assert isinstance(stacked, Stacked) and isinstance(plain, Plain)
    stacked.run(1)
    plain.run(1)
    difference = largest_difference(stacked, plain)
    times, rates = measure(trainers, case.steps, rounds)

    size = case.config.train.batch_size
    drawing = statistics.median(seconds(lambda: source.batch(0, size)) for _ in range(20))
    print(f"  {'':22} {'ms a step, all cells':>21} {'slowest, fastest':>18} {'times stacked':>14}")
    for place, trainer in enumerate(trainers):
        column = sorted(1e3 * row[place] for row in times)
        ratio = statistics.median(row[place] / row[0] for row in times)
        spread = f"{column[-1]:.2f}, {column[0]:.2f}"
        print(f"  {trainer.name:22} {statistics.median(column):21.2f} {spread:>18} {ratio:14.1f}")
    ratio = statistics.median(row[1] / row[0] for row in times)
    fraction = statistics.median(
        case.flops / row[0] / rate for row, rate in zip(times, rates, strict=True)
    )
    rate = statistics.median(rates)
    print(
        f"  drawing a batch: {1e3 * drawing:.2f} ms, once a step stacked, once a cell in the loop"
    )
    print(f"  after one step the encoders of the two differ by at most {difference:.1e}")
    print(f"  faster than the loop: {ratio:.1f} times ({verdict(ratio, case.ratio_floor)})")
    print(
        f"  matrix products: {case.flops / 1e9:.4g} GFLOP a step, {1e3 * case.flops / rate:.3g} ms "
        f"at this machine's float32 rate of {rate / 1e9:.0f} GFLOP/s"
    )
    floor = "no floor" if case.rate_floor is None else verdict(fraction, case.rate_floor)
    print(f"  fraction of the matrix rate: {fraction:.2f} ({floor})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="time other libraries as well")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    arguments = parser.parse_args()
    kinds: list[type[Trainer]] = [Stacked, Plain]
    if arguments.peers:
        kinds += [SAELens, DictionaryLearning]
    print(
        f"torch {torch.__version__} with {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    cases = [
        Case("(a) the toy grid: 12 cells, d = 3", load_config(TOY), 50, 10, None),
        Case(
            "(b) 12 cells, d = 256, dictionaries of 512 and 1,024, batches of 4,096",
            SweepConfig.model_validate(LARGE),
            2,
            2.5,
            0.7,
        ),
    ]
    for case, rounds in zip(cases, (3, 3) if arguments.quick else (15, 9), strict=True):
        report(case, kinds, rounds)


if __name__ == "__main__":
    main()
