"""What an animation shows of one cell, read from its snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saesweep.errors import RunError
from saesweep.figures.animations.cosine_scene import Matrices, from_atoms, from_cosines
from saesweep.figures.animations.scene import Track, follow
from saesweep.figures.camera import Floats, choose_view
from saesweep.grid import SHOWN_FEATURES

if TYPE_CHECKING:
    from saesweep.grid import Cell
    from saesweep.run_folder import Run

NEEDED = {"epoch", "best_cosine", "best_atom", "dead"}
DEAD_ARE = "faded rings when dead"


@dataclass(frozen=True)
class Truth:
    """The true features of a run, and how they are looked at."""

    features: Floats
    """[n_features, d], unit rows."""
    likeliest: NDArray[np.intp]
    """The features in a cosine matrix, the most probable first."""
    view: Floats
    """The camera [3, 3]; without meaning where d > 3."""

    @property
    def dimensions(self) -> int:
        """Length of a feature, d."""
        return int(self.features.shape[1])

    @property
    def words(self) -> str:
        """How many features there are in how many dimensions."""
        (n, d) = self.features.shape
        return f"{n:,} feature{'s' * (n != 1)} in {d} dimension{'s' * (d != 1)}"

    def which(self, count: int) -> str:
        """Which features a matrix of `count` rows shows."""
        n = len(self.features)
        return f"the {count} most probable of {n:,} features" if count < n else f"all {n} features"

    @property
    def shades(self) -> str:
        """What pale colours mean, for captions."""
        return f"paler on the far side, {DEAD_ARE}" if self.dimensions == 3 else DEAD_ARE


@dataclass(frozen=True)
class Film:
    """One cell over T snapshots."""

    epochs: NDArray[np.int64]
    """[T]"""
    mmcs: Floats
    """[T]: mean over features of the largest cosine with an atom."""
    dead: NDArray[np.intp]
    """[T]: how many neurons are dead."""
    picture: Track | Matrices
    atoms_left_out: int = 0
    """Atoms that are not drawn as there are too many."""

    def __len__(self) -> int:
        return len(self.epochs)


def read_truth(run: Run) -> Truth:
    """The features of a run and the view of them; the same for all of its cells."""
    arrays = run.ground_truth()
    features = arrays["features"].astype(np.float64)
    likeliest = np.argsort(-arrays["probabilities"], kind="stable")[:SHOWN_FEATURES]
    view = choose_view(features[likeliest]) if features.shape[1] <= 3 else np.eye(3)
    return Truth(features, likeliest, view)


def count_snapshots(run: Run, cell: Cell) -> int:
    """How many snapshots a cell has; 0 where there are none or they cannot be read."""
    try:
        arrays = run.snapshots(cell)
    except RunError:
        return 0
    whole = arrays.keys() >= NEEDED and not arrays.keys().isdisjoint({"atoms", "cosines"})
    return len(arrays["epoch"]) if whole else 0


def read_film(run: Run, cell: Cell, truth: Truth, most_atoms: int | None = None) -> Film:
    """The film of a cell, of every so many atoms if there are more than `most_atoms`."""
    arrays = run.snapshots(cell)
    dead = arrays["dead"].astype(bool)
    picture: Track | Matrices
    step = 1
    if "atoms" in arrays and truth.dimensions <= 3:
        step = ceil(dead.shape[1] / most_atoms) if most_atoms else 1
        atoms = arrays["atoms"][:, ::step]
        picture = follow(atoms, dead[:, ::step], truth.features, truth.view)
    elif "atoms" in arrays:
        best = arrays["best_atom"][:, truth.likeliest]
        picture = from_atoms(arrays["atoms"], best, truth.features[truth.likeliest])
    else:
        picture = from_cosines(arrays["cosines"])
    return Film(
        arrays["epoch"].astype(np.int64),
        arrays["best_cosine"].astype(np.float64).mean(axis=1),
        dead.sum(axis=1),
        picture,
        dead.shape[1] - len(range(0, dead.shape[1], step)),
    )
