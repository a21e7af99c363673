"""A sweep of many tiny cells: what it takes beside the training, and how memory grows.

    python benchmarks/many.py [CELLS]

Prints, for a tenth of CELLS (2,000) and for CELLS, trained in stacks of 100: seconds until the
first cell trains, of training, of tables, of figures; of ``status``, and of a ``resume`` that finds
nothing to do; and the most memory that the sweep took.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

CONFIG = """
data: {{activation_dim: 3, n_features: 4, mean_active: 1}}
grid: {{l1: {{linspace: [0.001, 1, {l1}]}}, dict_size: [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]}}
train: {{epochs: 20, batch_size: 64}}
snapshot_every: 10
eval: {{n_samples: 500}}
jobs: {{device: cpu, stack: 100}}
"""
SAESWEEP = [sys.executable, "-m", "saesweep"]


def seconds(words: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run([*SAESWEEP, *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def sweep(folder: Path) -> dict[str, float]:
    """Times of the phases of a run, in seconds, and its memory, in MiB."""
    began = time.time()
    process = subprocess.Popen([*SAESWEEP, "run", "many.yaml", "-q"], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    ended = time.time()
    run = folder / "outputs" / "run1"
    first = min(path.stat().st_mtime for path in run.glob("cells/*/cell.json"))
    last = max(path.stat().st_mtime for path in run.glob("cells/*/result.json"))
    tables = max(path.stat().st_mtime for path in run.glob("metrics/*.csv"))
    return {
        "start": first - began,
        "train": last - first,
        "tables": tables - last,
        "figures": ended - tables,
        "MiB": usage.ru_maxrss / 1024,
    }


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(datetime.now().strftime("%Y-%m-%d"), f"{os.cpu_count()} cores")
    for cells in (most // 10, most):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "many.yaml").write_text(CONFIG.format(l1=cells // 10))
            row = sweep(folder)
            row["status"] = seconds(["status", "outputs/run1"], folder)
            row["resume"] = seconds(["resume", "outputs/run1", "-q"], folder)
        print(json.dumps({"cells": cells} | {key: round(value, 1) for key, value in row.items()}))


if __name__ == "__main__":
    main()
