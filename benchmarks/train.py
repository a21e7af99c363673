"""Times stacked training against training the same cells one after another.

    python benchmarks/train.py            # about two minutes on two cores
    python benchmarks/train.py --peers    # also sae-lens and dictionary-learning, where installed
    python benchmarks/train.py --quick    # three rounds instead of fifteen and nine
    python benchmarks/train.py --variants # each variant stacked and one cell after another

Everything is timed in this one process. A round times each trainer in turn, and the matrix rate
around the first, so that what slows the machine for a while slows all of them; ratios are taken
within rounds, and medians over rounds are printed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from saesweep.config import SweepConfig
from saesweep.config_file import load_config
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.stack import Stack
from saesweep.grid import expand
from saesweep.training.adam import Adam
from saesweep.training.fused import FusedGradient

TOY = Path(__file__).parents[1] / "configs" / "toy.yaml"
LARGE = {
    "data": {"activation_dim": 256, "n_features": 512, "mean_active": 5, "decay": 0.99},
    "grid": {"l1": {"logspace": [0.01, 0.177827941, 6]}, "dict_size": [512, 1024]},
    "train": {"batch_size": 4096},
}


@dataclass(frozen=True)
class Case:
    """A grid to train, how long each trainer runs in a round, and the floors of the project."""

    title: str
    config: SweepConfig
    steps: int
    rounds: int
    ratio_floor: float
    rate_floor: float | None

    @property
    def flops(self) -> float:
        """Of one step of all cells: five products of 2 · batch · d · dict_size each."""
        latents = sum(cell.dict_size for cell in expand(self.config))
        return 5 * 2 * self.config.train.batch_size * self.config.data.activation_dim * latents


class Trainer(Protocol):
    """Trains all cells of a grid."""

    name: str

    def run(self, steps: int) -> None:
        """Train every cell for ``steps`` more steps."""


class Stacked:
    """The trainer of this project: all cells in one step."""

    name = "saesweep, stacked"

    def __init__(self, config: SweepConfig, source: SyntheticSource) -> None:
        self.source, self.size, self.step = source, config.train.batch_size, 0
        self.stack = Stack(expand(config), config.data.activation_dim, config.seed)
        self.gradient = FusedGradient(self.stack, self.size, config.train.loss)
        self.adam = Adam(self.stack)

    @torch.no_grad()
    def run(self, steps: int) -> None:
        """Train every cell for ``steps`` more steps."""
        for _ in range(steps):
            self.gradient(self.source.batch(self.step, self.size).x)
            self.adam.step()
            self.step += 1

    def encoders(self) -> dict[str, Tensor]:
        """Each cell's W_enc."""
        groups = self.stack.groups
        return {c.name: g.sae(i).W_enc for g in groups for i, c in enumerate(g.cells)}


class Plain:
    """What one would write first: each cell alone, with autograd and `torch.optim.Adam`."""

    name = "plain loop, autograd"

    def __init__(self, config: SweepConfig, source: SyntheticSource) -> None:
        assert config.train.loss == "sum", "the loss that is written out below"
        self.source, self.size, self.step = source, config.train.batch_size, 0
        stack = Stack(expand(config), config.data.activation_dim, config.seed)
        self.cells = []
        for group in stack.groups:
            for place, cell in enumerate(group.cells):
                sae = group.sae(place)
                weights = [nn.Parameter(t.contiguous()) for t in (sae.W_enc, sae.b_enc, sae.W_dec)]
                self.cells.append((cell, weights, torch.optim.Adam(weights, lr=cell.train.lr)))

    def run(self, steps: int) -> None:
        """Train every cell for ``steps`` more steps, one cell after another."""
        for cell, (W_enc, b_enc, W_dec), optimiser in self.cells:
            for step in range(self.step, self.step + steps):
                x = self.source.batch(step, self.size).x
                with torch.no_grad():
                    W_dec.div_(W_dec.norm(dim=1, keepdim=True))
                latents = torch.relu(x @ W_enc + b_enc)
                x_hat = latents @ W_dec
                l1 = latents.abs().sum(dim=1).mean()
                loss = (x - x_hat).square().sum(dim=1).mean() + cell.sparsity * l1
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self.step += steps

    def encoders(self) -> dict[str, Tensor]:
        """Each cell's W_enc."""
        return {cell.name: weights[0].detach() for cell, weights, _ in self.cells}


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class MatrixRate:
    """The machine's float32 matrix rate now: products of 2048 × 2048 matrices, in FLOP/s."""

    def __init__(self, side: int = 2048, repeats: int = 4) -> None:
        self.a, self.b = torch.randn(2, side, side)
        self.out = torch.empty(side, side)
        self.flops, self.repeats = repeats * 2 * side**3, repeats

    def __call__(self) -> float:
        """Measure it."""
        products = range(self.repeats)
        return self.flops / seconds(
            lambda: [torch.mm(self.a, self.b, out=self.out) for _ in products]
        )


def measure(
    trainers: Sequence[Trainer], steps: int, rounds: int
) -> tuple[list[list[float]], list[float]]:
    """For each round the seconds a step of each trainer, and the matrix rate around the first."""
    rate = MatrixRate()
    for trainer in trainers:
        trainer.run(1)
    rate()
    times, rates = [], []
    for _ in range(rounds):
        before = rate()
        row = [seconds(lambda: trainers[0].run(steps)) / steps]
        rates.append((before + rate()) / 2)
        for trainer in trainers[1:]:
            row.append(seconds(lambda trainer=trainer: trainer.run(steps)) / steps)
        times.append(row)
    return times, rates


def verdict(value: float, floor: float | None) -> str:
    """Whether ``value`` reaches ``floor``."""
    if floor is None:
        return "no floor"
    return f"floor {floor:g}: {'met' if value >= floor else 'NOT MET'}"


def report(case: Case, rounds: int, *, with_peers: bool) -> None:
    """Time the trainers on ``case`` and print what came out."""
    print(f"\n{case.title}")
    source = SyntheticSource(case.config.data, case.config.seed)
    stacked, plain = Stacked(case.config, source), Plain(case.config, source)
    trainers: list[Trainer] = [stacked, plain]
    if with_peers:
        import peers

        trainers += peers.installed(case.config, source)
    stacked.run(1)
    plain.run(1)
    theirs = plain.encoders()
    apart = max((W - theirs[name]).abs().max().item() for name, W in stacked.encoders().items())
    times, rates = measure(trainers, case.steps, rounds)

    ratios = [[spent / row[0] for spent in row] for row in times]
    print(f"  {'':26}{'ms a step, all cells':>21}{'fastest … slowest':>22}{'× stacked':>12}")
    for place, trainer in enumerate(trainers):
        column = [1e3 * row[place] for row in times]
        ratio = statistics.median(row[place] for row in ratios)
        spread = f"{min(column):.2f} … {max(column):.2f}"
        print(f"  {trainer.name:26}{statistics.median(column):21.2f}{spread:>22}{ratio:12.1f}")
    ratio = statistics.median(row[1] for row in ratios)
    rate, flops = statistics.median(rates), case.flops
    fraction = statistics.median(flops / row[0] / r for row, r in zip(times, rates, strict=True))
    draws = (seconds(lambda: source.batch(0, case.config.train.batch_size)) for _ in range(20))
    print(f"  faster than the loop: {ratio:.1f} times ({verdict(ratio, case.ratio_floor)})")
    print(f"  fraction of the matrix rate: {fraction:.2f} ({verdict(fraction, case.rate_floor)})")
    print(
        f"  its products alone: {flops / 1e9:.3g} GFLOP, {1e3 * flops / rate:.3g} ms at the "
        f"{rate / 1e9:.0f} GFLOP/s of this machine"
    )
    print(f"  drawing a batch: {1e3 * statistics.median(draws):.2f} ms, in the loop once a cell")
    print(f"  after one step the encoders of stack and loop differ by at most {apart:.0e}")


def main() -> None:
    """Run both cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="time other libraries as well")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--variants", action="store_true", help="every variant, and no other case")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    if arguments.variants:
        import variants

        variants.report(3 if arguments.quick else 9)
        return
    toy, large = load_config(TOY), SweepConfig.model_validate(LARGE)
    for case in (
        Case("(a) the toy grid: 12 cells, d = 3, batches of 4,096", toy, 50, 15, 10, None),
        Case(
            "(b) 12 cells, d = 256, dictionaries of 512 and 1,024, batches of 4,096",
            large,
            steps=2,
            rounds=9,
            ratio_floor=2.5,
            rate_floor=0.7,
        ),
    ):
        report(case, 3 if arguments.quick else case.rounds, with_peers=arguments.peers)


if __name__ == "__main__":
    main()
