"""How well each feature is found against how often it fires: a small scatter for each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from matplotlib.figure import Figure

from saesweep.errors import RunError
from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.recovery.probability_page import draw_page
from saesweep.figures.recovery.probability_scale import Scale
from saesweep.figures.style import number
from saesweep.figures.variants import MOST_VARIANTS, variants
from saesweep.files import Row
from saesweep.grid import Cell
from saesweep.run_folder import Run
from saesweep.sparsity import SparsityAxis

SHARE = 8
"""The running mean is over one in so many of the points."""
FLOOR = 1e-6
"""Features that fire less often than this share of the most probable stand at the left edge."""

Floats = np.ndarray


@dataclass(frozen=True)
class Found:
    """What became of one cell, or of those that differ in their seed only.

    ``cosines`` [cells, n_features]: each feature's largest cosine with an atom; no rows where no
    cell is done, and then ``state`` says why.
    """

    cosines: Floats
    state: str = "done"


def draw_probability(run: Run) -> Iterator[tuple[str, Figure]]:
    """``mmcs_by_probability``: one figure, or one for each combination of further axes.

    Cells that differ in their seed only share a panel.
    """
    probabilities = run.ground_truth()["probabilities"]
    rows = run.metrics()
    every = variants(run.cells)
    states = {row["cell"]: row["state"] for row in rows}
    for variant in every[:MOST_VARIANTS]:
        yield (
            variant.stem("mmcs_by_probability"),
            probability_figure(
                probabilities,
                {place: _found(run, same, states) for place, same in variant.cells.items()},
                _grid(rows, variant.axis),
                run.config.eval.learned_threshold,
                title=variant.name,
                caption=_left_out(len(every)),
            ),
        )


def probability_figure(
    probabilities: Floats,
    found: Mapping[tuple[int, float], Found],
    grid: Grid,
    threshold: float,
    *,
    title: str = "",
    caption: Sequence[str] = (),
) -> Figure:
    """A scatter for each cell of ``grid``, with shared axes.

    ``probabilities`` [n_features]; ``found`` by dictionary size and sparsity; ``threshold`` is
    the cosine above which a feature counts as learned.
    """
    ratio = _ratio(probabilities)
    equal = ratio < 1 + 1e-6
    x = np.arange(len(probabilities), dtype=float) if equal else _floored(probabilities)
    curves = {place: (x, one.cosines) for place, one in found.items()}
    scales = Scale.of(x, log=not equal), _cosine_scale(found.values())
    return draw_page(
        grid,
        {place: running_points(x, cosines) for place, (x, cosines) in curves.items()},
        {place: running_mean(*curve, scales[0].log) for place, curve in curves.items()},
        {place: one.state for place, one in found.items() if not one.cosines.size},
        scales,
        threshold,
        title="Recovery of each feature by how often it fires" + (f": {title}" if title else ""),
        note=_note(probabilities, ratio),
        x_name="feature" if equal else "probability",
        caption=[*_caption(found, probabilities, equal, threshold), *caption],
    )


def _cosine_scale(found: Iterable[Found]) -> Scale:
    """From a quarter below all cosines, at most 0.5, to 1."""
    known = [float(np.nanmin(one.cosines)) for one in found if np.isfinite(one.cosines).any()]
    return Scale(float(np.floor(min([0.5, *known]) * 4) / 4), 1.0)


def running_points(x: Floats, cosines: Floats) -> Floats:
    """The points (x, cosine) of one panel, [points, 2]; ``cosines`` [cells, n_features]."""
    points = np.column_stack([np.tile(x, len(cosines)), cosines.reshape(-1)])
    kept: Floats = points[np.isfinite(points).all(axis=1)]
    return kept


def running_mean(x: Floats, cosines: Floats, log: bool) -> Floats:
    """The running mean of ``cosines`` [cells, n_features] along ``x`` [n_features], [k, 2].

    Each point is the mean of `window` neighbours in x, of their cosines and of x (of its logarithm
    where ``log``); only whole windows count, and points of one x count with their mean. Where x
    says nothing (not ``log``) it is the mean of all, from end to end.

    >>> running_mean(np.array([1.0, 1.0, 1.0]), np.array([[0.0, 0.5, 1.0]]), log=True)
    array([[1. , 0.5]])
    """
    points = running_points(x, cosines)
    if not len(points):
        return points
    if not log:
        return np.array([[end, points[:, 1].mean()] for end in (x.min(), x.max())])
    points = points[np.argsort(points[:, 0], kind="stable")]
    _, tied, counts = np.unique(points[:, 0], return_inverse=True, return_counts=True)
    points[:, 1] = (np.bincount(tied, points[:, 1]) / counts)[tied]
    points[:, 0] = np.log(points[:, 0])
    wide = min(window(len(points)), len(points))
    sums = np.cumsum(np.vstack([np.zeros(2), points]), axis=0)
    means = (sums[wide:] - sums[:-wide]) / wide
    return np.column_stack([np.exp(means[:, 0]), means[:, 1]])


def window(points: int) -> int:
    """How many neighbours the running mean of so many points is over: an odd number from 3 on.

    >>> window(6), window(64), window(512)
    (3, 9, 65)
    """
    return max(3, points // SHARE // 2 * 2 + 1)


# From the run


def _grid(rows: Sequence[Row], axis: SparsityAxis) -> Grid:
    """All sizes of the run, and all values on a sparsity axis."""
    ratios = {row["dict_size"]: row["dict_ratio"] for row in rows}
    sizes = sorted(ratios)
    values = sorted({row[axis.column] for row in rows if not isnan(row[axis.column])})
    return Grid(sizes, [ratios[size] for size in sizes], values, axis)


def _found(run: Run, cells: Sequence[Cell], states: Mapping[str, str]) -> Found:
    """The last snapshot of each cell that is done."""
    cosines = []
    why = [states[cell.name] for cell in cells if states[cell.name] != "done"]
    for cell in cells:
        if states[cell.name] == "done":
            try:
                cosines.append(run.snapshots(cell)["best_cosine"][-1])
            except (RunError, LookupError):
                why.append("damaged")
    return Found(np.array(cosines), "done") if cosines else Found(np.empty((0, 0)), why[0])


# What is said


def _ratio(probabilities: Floats) -> float:
    """How many times more often the most probable feature fires than the least."""
    floored = _floored(probabilities)
    return float(floored.max() / floored.min())


def _floored(probabilities: Floats) -> Floats:
    return np.asarray(np.maximum(probabilities, FLOOR * probabilities.max()), dtype=float)


def _note(probabilities: Floats, ratio: float) -> str:
    low, high = number(float(probabilities.min())), number(float(probabilities.max()))
    if ratio < 1 + 1e-6:
        return f"all features are equally likely (p = {high}): from left to right by their number"
    close = f", so nearly equal: they differ by {100 * (ratio - 1):.0f} %" if ratio < 1.5 else ""
    return f"probabilities from {low} to {high}{close}"


def _caption(
    found: Mapping[tuple[int, float], Found], probabilities: Floats, equal: bool, threshold: float
) -> list[str]:
    line = (
        "the mean over all features"
        if equal
        else f"the running mean of {_windows(found.values(), len(probabilities))} "
        "(means of log p and of the cosine, whole windows only)"
    )
    dots = (
        "Dots: the true features; height: the largest signed cosine of the feature with an atom at "
        "the end of training, whose mean over features is mmcs"
    )
    parts = [
        f"{dots}. Line: {line}. Dashed: {number(threshold)}, above which a feature counts as "
        "learned. Probability: that of the data's law, before empty samples are filled."
    ]
    floored = int((probabilities < FLOOR * probabilities.max()).sum())
    if floored:
        parts.append(
            f"At the left edge: features less probable than {number(FLOOR)} of the most probable "
            f"({floored})."
        )
    cells = max((len(one.cosines) for one in found.values()), default=1)
    if cells > 1:
        parts.append(f"Cells that differ in their seed only, up to {cells}, are pooled in a panel.")
    states = Counter(one.state for one in found.values() if not one.cosines.size)
    if states:
        words = ", ".join(f"{count} {state}" for state, count in states.items())
        parts.append(f"Grey panels are empty: {words}.")
    return parts


def _windows(found: Iterable[Found], n: int) -> str:
    """Of how many neighbours the running means are: of one number, or by how full panels are."""
    dots = {int(np.isfinite(one.cosines).sum()) for one in found} - {0} or {n}
    low, high = window(min(dots)), window(max(dots))
    if low == high:
        return f"{high} neighbours in probability"
    return f"{low} to {high} neighbours in probability, about 1 in {SHARE} of a panel's dots"


def _left_out(count: int) -> list[str]:
    if count <= MOST_VARIANTS:
        return []
    return [f"The first {MOST_VARIANTS} of {count} combinations of further axes are drawn."]
