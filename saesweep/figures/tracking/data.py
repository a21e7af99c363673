"""What the figures of tracked features show of each cell, read from its snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from saesweep.errors import RunError
from saesweep.figures.variants import Variant
from saesweep.files import Arrays
from saesweep.grid import Cell
from saesweep.metrics.changes import feature_changes, when_learned
from saesweep.metrics.tracking_table import tracking_columns
from saesweep.run_folder import Run

QUANTILES = (0.1, 0.9)
BANDS = 256
"""Into at most so many rows the features of a cell are put together: few panels are higher, in
pixels, and a run may have thousands of cells and features."""
MARKED = 128
"""With more features than that, marks at each would hide the colours."""
BLOCK = 4096
"""Features whose colours are made at once, which take 24 bytes a feature and snapshot."""

NOT_LEARNED = np.array([[250, 250, 250], [178, 178, 178]])
LEARNED = np.array([[107, 174, 214], [8, 48, 107]])
"""Colours of a best cosine: greys from 0 to the threshold, blues from there to 1."""


@dataclass(frozen=True)
class Course:
    """A point of the grid over its T snapshots; means over its seeds."""

    state: str
    """``done`` if any seed is; the arrays are empty if none is."""
    dict_size: int
    epoch: np.ndarray
    """[T]"""
    columns: Arrays
    """[T] each: those of ``metrics/tracking.csv``"""
    quantiles: np.ndarray
    """[2, T] of the best cosine, over the features of all seeds"""
    image: np.ndarray
    """[rows, T, 3] colours of the best cosines, features in the order of their probability"""
    moves: np.ndarray
    """[k, 2] which feature, in that order, moved to another atom at which snapshot"""
    for_good: np.ndarray
    """[n_features] the snapshot from which each, in that order, stays learned; or infinite.

    This and the moves are empty with more than `MARKED` features."""


def courses(run: Run, variant: Variant) -> Iterator[tuple[tuple[int, float], Course]]:
    """Read the cells of a variant: dictionary size and sparsity, and the course of that point."""
    truth = run.ground_truth()
    if "probabilities" not in truth:
        raise RunError(f"{run.path}: its ground truth is damaged: it has no probabilities")
    order = np.argsort(-truth["probabilities"], kind="stable")
    for place, cells in variant.cells.items():
        yield place, _course(run, cells, order)


def _course(run: Run, cells: Sequence[Cell], order: np.ndarray) -> Course:
    states = [run.folder(cell).state() for cell in cells]
    done = [cell for cell, state in zip(cells, states, strict=True) if state == "done"]
    read = [snapshots for snapshots in map(run.snapshots, done) if "best_cosine" in snapshots]
    if not read:
        state = next((s for s in ("damaged", "failed", "waiting") if s in states), "no records")
        return empty_course(state, cells[0].dict_size)
    return fold(read, run.config.eval.learned_threshold, order)


def empty_course(state: str, dict_size: int) -> Course:
    """The course of a point that has no records."""
    none = np.empty((0,))
    grid = np.empty((2, 0))
    return Course(state, dict_size, none, {}, grid, np.empty((0, 0, 3)), grid.T, none)


def fold(seeds: Sequence[Arrays], threshold: float, order: np.ndarray) -> Course:
    """One course from the snapshots of cells that differ only in their seed.

    ``order`` [n_features] are the features from the most to the least probable. A feature moves,
    and stays learned, where it does in most of the seeds.
    """
    columns = [tracking_columns(snapshots, threshold) for snapshots in seeds]
    cosines = [snapshots["best_cosine"][:, order] for snapshots in seeds]
    atoms = [snapshots["best_atom"][:, order[:MARKED]] for snapshots in seeds]
    moves, for_good = _marks(cosines, atoms, threshold) if len(order) <= MARKED else _no_marks()
    return Course(
        state="done",
        dict_size=seeds[0]["dead"].shape[1],
        epoch=seeds[0]["epoch"],
        columns={name: mean_of([c[name] for c in columns]) for name in columns[0]},
        quantiles=np.quantile(np.concatenate(cosines, axis=1), QUANTILES, axis=1),
        image=image(np.mean(cosines, axis=0), threshold),
        moves=moves,
        for_good=for_good,
    )


def _marks(
    cosines: Sequence[np.ndarray], atoms: Sequence[np.ndarray], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """`Course.moves` and `Course.for_good`, from best cosines and atoms [T, n_features] a seed."""
    moved, for_good = [], []
    for cosine, atom in zip(cosines, atoms, strict=True):
        masks = feature_changes(cosine, atom, threshold)
        moved.append(masks["moved"])
        for_good.append(when_learned(np.arange(len(cosine)), masks["learned"])[1])
    return np.argwhere(np.mean(moved, axis=0).T > 0.5), np.median(for_good, axis=0)


def _no_marks() -> tuple[np.ndarray, np.ndarray]:
    return np.empty((0, 2), int), np.empty(0)


def mean_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The mean [T] of arrays [T] where they are numbers; NaN where none is."""
    stacked = np.stack(arrays).astype(float)
    known = np.isfinite(stacked)
    total, number = np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0)
    means = np.full(total.shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means


def image(cosines: np.ndarray, threshold: float) -> np.ndarray:
    """Best cosines [T, n_features] as colours [rows, T, 3] of 8 bits, a row a feature.

    More features than `BANDS` share rows, whose colours are means over features: a row half of
    whose features are learned is neither grey nor blue.
    """
    features = cosines.shape[1]
    rows = min(BANDS, features)
    borders = np.arange(rows + 1) * features // rows
    step = max(1, BLOCK * rows // features)
    blocks = [borders[row : row + step + 1] for row in range(0, rows, step)]
    return np.concatenate([_fold_rows(cosines, block, threshold) for block in blocks])


def _fold_rows(cosines: np.ndarray, borders: np.ndarray, threshold: float) -> np.ndarray:
    """The rows of an image between these borders [rows + 1] of features."""
    colours = shade(cosines[:, borders[0] : borders[-1]].T, threshold)
    sums = np.add.reduceat(colours, borders[:-1] - borders[0], axis=0)
    return np.round(sums / np.diff(borders)[:, None, None]).astype(np.uint8)


def shade(cosines: np.ndarray, threshold: float) -> np.ndarray:
    """The colours [..., 3], from 0 to 255, of best cosines [...]; what is no number is as 0."""
    cosines = np.clip(np.nan_to_num(cosines), 0, 1)[..., None]
    learned = (cosines - threshold) / max(1 - threshold, 1e-9)
    below = cosines / max(threshold, 1e-9)
    colours: np.ndarray = np.where(
        cosines > threshold,
        LEARNED[0] + (LEARNED[1] - LEARNED[0]) * np.clip(learned, 0, 1),
        NOT_LEARNED[0] + (NOT_LEARNED[1] - NOT_LEARNED[0]) * np.clip(below, 0, 1),
    )
    return colours
