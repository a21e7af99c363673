"""What it costs to share the cores with another program: see docs/benchmarks.md.

    python benchmarks/crowded.py [SPINS ...]

Trains a shorter `configs/toy.yaml` alone, and two of it at once, each with as many threads as there
are cores: with OpenMP threads that spin as long as they do by default, as `saesweep` has them, and
SPINS times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from saesweep.__main__ import SPINS
from saesweep.run_folder import Run

CONFIG = Path(__file__).parents[1] / "configs" / "toy.yaml"
ROUNDS = 3
DEFAULT = "300000"
"""Of GNU's OpenMP, where nothing is said."""


def seconds(folder: Path, spins: str, at_once: int) -> float:
    """The mean time that training took in ``at_once`` sweeps that began together."""
    words = [sys.executable, "-m", "saesweep", "run", str(CONFIG), "--quiet", "--out", str(folder)]
    words += ["--set", "train.epochs=100", "--set", "snapshot_every=1"]
    words += ["--set", "jobs.plot=false", "--set", "eval.baselines=[truth]"]
    environment = {**os.environ, "GOMP_SPINCOUNT": spins}
    names = [f"{spins}_{len(list(folder.iterdir())) + i}" for i in range(at_once)]
    started = [subprocess.Popen([*words, "--name", name], env=environment) for name in names]
    assert not any(process.wait() for process in started)
    runs = [Run(folder / name) for name in names]
    return sum(run.folder(run.cells[0]).result()["seconds"] for run in runs) / at_once


def main() -> None:
    print(f"{'':<22}{'alone s':>9}{'two at once s':>15}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times: dict[str, list[tuple[float, float]]] = {
            spins: [] for spins in (DEFAULT, SPINS, *sys.argv[1:])
        }
        for _ in range(ROUNDS):
            for spins, taken in times.items():
                taken.append((seconds(folder, spins, 1), seconds(folder, spins, 2)))
    names = {DEFAULT: "spinning by default", SPINS: "as saesweep has it"}
    for spins, taken in times.items():
        words = names.get(spins, f"{spins} times")
        alone, both = (median(column) for column in zip(*taken, strict=True))
        print(f"{words:<22}{alone:>9.2f}{both:>15.2f}{both / alone:>8.1f}")
    ratio = median(a[0] / b[0] for a, b in zip(times[SPINS], times[DEFAULT], strict=True))
    print(f"alone it takes {ratio:.2f} times as long")


if __name__ == "__main__":
    main()
