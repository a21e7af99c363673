"""The cosine matrix of features and their best atoms, for what no sphere can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from saesweep.figures.animations.canvas import Canvas, blend
from saesweep.figures.style import GREY, SIGNED

LEVELS = 51
"""Shades from cosine -1 to 1. In steps of 0.04 small changes do not flicker, nor fill the file."""


@dataclass(frozen=True)
class Square:
    """Where a matrix stands on the canvas: its top left corner and its side, in pixels."""

    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Matrices:
    """Cosines of k features (rows) with their k best atoms (columns) over T snapshots."""

    levels: NDArray[np.uint8]
    """[T, k, k]: 0 for cosine -1, LEVELS - 1 for cosine 1."""

    def first(self, count: int) -> Matrices:
        """The same for the first `count` features only."""
        return Matrices(self.levels[:, :count, :count].copy())


def from_cosines(cosines: NDArray[np.floating]) -> Matrices:
    """Matrices from cosines [T, k, k]; an atom without a direction counts as 0."""
    known = np.nan_to_num(cosines.astype(np.float32)).clip(-1, 1)
    return Matrices(np.rint((known + 1) / 2 * (LEVELS - 1)).astype(np.uint8))


def from_atoms(
    atoms: NDArray[np.floating], best_atom: NDArray[np.integer], features: NDArray[np.floating]
) -> Matrices:
    """Matrices from atoms [T, dict_size, d], each feature's best [T, k], and features [k, d]."""
    best = np.take_along_axis(atoms, best_atom[:, :, None].astype(np.intp), axis=1)
    length = np.linalg.norm(best, axis=2, keepdims=True)
    return from_cosines(features @ (best / np.maximum(length, 1e-12)).transpose(0, 2, 1))


class Mosaics:
    """One or many matrices on a canvas."""

    def __init__(self, canvas: Canvas, panels: Sequence[tuple[Square, Matrices]]) -> None:
        self._canvas, self._panels = canvas, panels

    def draw_still(self) -> None:
        """Draw a frame around each matrix."""
        for square, _ in self._panels:
            low, high = -1.0, square.side + 1.0
            corners = np.array([(low, low), (high, low), (high, high), (low, high), (low, low)])
            place = corners + np.array([square.left, square.top])
            self._canvas.lines([place], blend(GREY, 0.6), 1.0)

    def draw(self, t: int) -> None:
        """Draw the matrices at snapshot t; shorter ones hold their last."""
        for square, matrices in self._panels:
            levels = matrices.levels[min(t, len(matrices.levels) - 1)]
            size = square.side // len(levels)
            pixels = colours()[levels].repeat(size, axis=0).repeat(size, axis=1)
            self._canvas.image(square.left, square.top, pixels)


@cache
def colours() -> NDArray[np.uint8]:
    """The colour of each level [LEVELS, 3]: blue below 0, red above."""
    return np.asarray(colormaps[SIGNED](np.linspace(0, 1, LEVELS), bytes=True))[:, :3].copy()
