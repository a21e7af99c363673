from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from saesweep.catalogue import HISTORY, METRICS
from saesweep.config import SweepConfig
from saesweep.continuing import keep_ground_truth
from saesweep.data.synthetic import SyntheticSource
from saesweep.grid import Cell
from saesweep.run_folder import Run

Readable = Callable[[Figure], list[str]]
Write = Callable[..., Run]

ALL = ["relu", "topk", "batchtopk", "jumprelu", "gated", "matryoshka", "variational"]
SPARSITY = {
    "l1": [0.01, 0.03, 0.1, 0.3],
    "k": [1, 2, 4, 8],
    "l0_coefficient": [0.001, 0.01, 0.1],
    "prior_rate": [0.02, 0.05, 0.1],
}
EPOCHS = np.arange(0, 21, 5)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of all variants, whose records are written by hand. Tests only read it."""
    grid = {"model.variant": ALL, **SPARSITY, "dict_size": [16, 32]}
    return write_run(tmp_path_factory.mktemp("mixed"), grid)


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Writes the records of a run with a ``grid``, by hand."""
    return lambda grid: write_run(tmp_path, grid)


def write_run(out: Path, grid: dict[str, Any]) -> Run:
    """A run whose cells are all done, with values that look like those of trained ones."""
    data = {"activation_dim": 3, "n_features": 12, "mean_active": 3}
    rest = {"eval": {"n_samples": 100}, "model": {"prefixes": 3}} if ALL in grid.values() else {}
    config = SweepConfig.model_validate({"data": data, "grid": grid, **rest})
    run = Run.create(config, out)
    keep_ground_truth(run, SyntheticSource(config.data, config.seed))
    features = run.ground_truth()["features"]
    for cell in run.cells:
        metrics = metrics_of(cell)
        folder = run.folder(cell)
        folder.begin("by hand")
        folder.write_history(
            [
                {
                    "epoch": int(e),
                    "step": int(e),
                    **dict.fromkeys(HISTORY, 1 + metrics["l0"] / (1 + e)),
                }
                for e in EPOCHS
            ]
        )
        snapshots = {name: torch.from_numpy(a) for name, a in course_of(cell, features).items()}
        folder.finish({"W_dec": torch.eye(3)}, snapshots, metrics)
    return run


def metrics_of(cell: Cell) -> dict[str, float]:
    """L0 is k where there is one; otherwise it falls with the penalty, to the same counts."""
    values = SPARSITY[cell.axis.key]
    rank = values.index(cell.sparsity) / (len(values) - 1)
    rng = np.random.default_rng(cell.seed)
    noise, kind = 0.02 * rng.normal(), ALL.index(cell.variant)
    l0 = 0.8 * 10 ** (1.2 * (rank if cell.axis.key == "prior_rate" else 1 - rank)) + noise
    l0 = cell.sparsity if cell.axis.key == "k" else l0
    found = np.exp(-((np.log(l0 / 3)) ** 2)) * (0.95 - 0.03 * kind) + 16 / cell.dict_size / 50
    return {
        **dict.fromkeys(METRICS, 0.5 + 0.03 * kind + noise),
        "l0": float(l0), "true_l0": 3.0, "fvu": 0.6 / (1 + l0) + 0.02 * kind + noise / 5,
        "mmcs": 0.3 + 0.6 * found + noise, "f1": 0.1 + 0.7 * found + noise,
        "mmcs_larger": 0.4 + 0.4 * found if cell.dict_size == 16 else np.nan,
    }  # fmt: skip


def course_of(cell: Cell, features: np.ndarray) -> dict[str, np.ndarray]:
    """Atoms that go from random places to the features; the first one is dead."""
    start = np.random.default_rng(cell.seed).normal(size=(cell.dict_size, 3))
    goal = features[np.arange(cell.dict_size) % len(features)]
    share = np.linspace(0, 1, len(EPOCHS))[:, None, None]
    atoms = start * (1 - share) + goal * share
    atoms = (atoms / np.linalg.norm(atoms, axis=-1, keepdims=True)).astype(np.float32)
    cosines = features @ atoms.transpose(0, 2, 1)
    return {
        "epoch": EPOCHS,
        "step": EPOCHS.copy(),
        "best_cosine": cosines.max(axis=2).astype(np.float32),
        "best_atom": cosines.argmax(axis=2).astype(np.int32),
        "dead": np.tile(np.arange(cell.dict_size) == 0, (len(EPOCHS), 1)),
        "atoms": atoms,
    }


@pytest.fixture
def readable() -> Iterator[Readable]:
    """Checks that no drawn text overlaps another or leaves the canvas; returns all texts."""
    drawn: list[Text] = []
    original = Text.draw

    def draw(self: Text, renderer: object, *args: object, **kwargs: object) -> None:
        if self.get_visible() and self.get_text().strip():
            drawn.append(self)
        original(self, renderer, *args, **kwargs)

    def check(figure: Figure) -> list[str]:
        drawn.clear()
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn]
        width, height = figure.canvas.get_width_height()
        for words, box in boxes:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{words!r} leaves the canvas"
        for (one, a), (other, b) in combinations(boxes, 2):
            # Boxes include the room of accents and descenders, drawn or not: allow 2 pixels.
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            up = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(across, up) <= 2, f"{one!r} overlaps {other!r}"
        return [words for words, _ in boxes]

    with mock.patch.object(Text, "draw", draw):
        yield check
