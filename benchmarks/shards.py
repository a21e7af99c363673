"""Times the reader of activation shards against what a trainer takes from it.

    python benchmarks/shards.py           # 1 GB of shards; about two minutes on one core
    python benchmarks/shards.py --quick   # 100 MB

The shards are written to a temporary folder first, so they are read from the page cache: a disk
that is slower than the reader sets the rate, and a cold one cannot be timed without the rights to
empty the cache. All is timed in this one process, in rounds; medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from saesweep.config import SweepConfig
from saesweep.data.activations import ActivationSource, Normalization
from saesweep.data.shards import Shards
from saesweep.dictionaries.stack import Stack
from saesweep.grid import expand
from saesweep.training.adam import Adam
from saesweep.training.fused import FusedGradient

D, BATCH, SHARD_ROWS = 576, 2048, 65_536
CONFIG = {
    "data": {"activation_dim": D, "n_features": D, "mean_active": 5},
    "grid": {"l1": {"logspace": [0.01, 0.1, 4]}, "dict_size": [1152, 2304]},
    "train": {"batch_size": BATCH},
}


def write(folder: Path, size: int) -> Shards:
    """Float16 shards of ``size`` bytes in all, or a little more."""
    for number in range(-(-size // (SHARD_ROWS * D * 2))):
        x = torch.randn(SHARD_ROWS, D).half()
        save_file({"activations": x}, folder / f"{number:05d}.safetensors")
    return Shards.open(folder)


def rate(rows: int, work: Callable[..., object], *words: object) -> float:
    """Rows a second of ``work``, called with ``words``."""
    start = time.perf_counter()
    work(*words)
    return rows / (time.perf_counter() - start)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 MB instead of 1 GB")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        shards = write(Path(name), 100_000_000 if quick else 1_000_000_000)
        size = shards.rows * D * 2 / 1e9
        print(f"{shards.rows:,} rows of {D} in float16, {size:.2f} GB, from the page cache")
        normalization = Normalization.of("both", shards)
        buffer_rows = min(1 << 17, shards.rows // 4)
        source = ActivationSource(
            shards, 0, held_out=0.01, normalization=normalization, buffer_rows=buffer_rows
        )
        compare(source, rounds=3, train_steps=2 if quick else 4)
        source.close()


def compare(source: ActivationSource, rounds: int, train_steps: int) -> None:
    config = SweepConfig.model_validate(CONFIG)
    stack = Stack(expand(config), D, seed=0)
    gradient, adam = FusedGradient(stack, BATCH, "sum"), Adam(stack)
    steps = source.train_rows // BATCH
    x = source.batch(0, BATCH).x

    def read(start: int, count: int) -> None:
        for step in range(start, start + count):
            source.batch(step, BATCH)

    def train(start: int, count: int, own: bool) -> None:
        for step in range(start, start + count):
            gradient(source.batch(step, BATCH).x if own else x)
            adam.step()

    train(0, 1, own=False)
    rates: dict[str, list[float]] = {"reader alone": [], "trainer alone": [], "both": []}
    for number in range(rounds):
        start = number * (steps + train_steps)
        rates["reader alone"].append(rate(steps * BATCH, read, start, steps))
        source.close()
        rows = train_steps * BATCH
        rates["trainer alone"].append(rate(rows, train, start, train_steps, False))
        source.batch(start + steps, BATCH)  # the buffer that it begins in
        rates["both"].append(rate(rows, train, start + steps, train_steps, True))
    for name, values in rates.items():
        print(f"{name:15s} {statistics.median(values):12,.0f} rows/s")
    pairs = list(zip(rates["reader alone"], rates["trainer alone"], rates["both"], strict=True))
    print(f"reader / trainer: {statistics.median(r / t for r, t, _ in pairs):.1f}")
    print(f"both / trainer:   {statistics.median(b / t for _, t, b in pairs):.2f}")


if __name__ == "__main__":
    main()
