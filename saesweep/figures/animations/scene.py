"""The sphere: true features in grey, atoms in colour as they move, seen by one fixed camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saesweep.figures.animations.canvas import Canvas, blend
from saesweep.figures.camera import Floats, graticule, project

# Okabe and Ito's palette without the yellow, which is lost on white, and two of Tol's.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#882255", "#6a5acd",
)  # fmt: skip
FEATURE, GRID, SHADE = "#4b5563", "#9aa5b4", "#c3ccd8"
FAR, DEAD = 0.35, 0.16
"""Opacity of what is on the far side, and of dead atoms."""
HORIZON = -0.02
"""Depth above which a tip counts as near: what lies on the outline does."""
REFERENCE = 210
"""Radius in pixels for which the sizes of dots and lines are given."""


@dataclass(frozen=True)
class Disc:
    """Where a sphere stands on the canvas, in pixels."""

    x: float
    y: float
    radius: float

    @property
    def scale(self) -> float:
        """How large dots and lines are: they shrink less than the sphere does."""
        return float((self.radius / REFERENCE) ** 0.6)

    def place(self, points: Floats) -> Floats:
        """Points as the camera sees them [..., 3] -> pixels [..., 2]."""
        return points[..., :2] * (self.radius, -self.radius) + (self.x, self.y)


@dataclass(frozen=True)
class Track:
    """One cell's atoms over T snapshots, as the camera sees them."""

    tips: Floats
    """[T, dict_size, 3]: right, up, towards the viewer; on the unit sphere."""
    dead: NDArray[np.bool_]
    """[T, dict_size]"""
    ends_at: NDArray[np.intp]
    """[dict_size]: the feature to which each atom is closest in the last snapshot."""


def follow(atoms: Floats, dead: NDArray[np.bool_], features: Floats, view: Floats) -> Track:
    """The track of atoms [T, dict_size, d] among features [n_features, d]."""
    closest = np.argmax(atoms[-1] @ features.T, axis=1)
    return Track(project(atoms, view).astype(np.float32), dead, closest)


class Spheres:
    """One or many spheres on a canvas, all of whose atoms are drawn with the same few strokes."""

    def __init__(
        self,
        canvas: Canvas,
        features: Floats,
        view: Floats,
        panels: Sequence[tuple[Disc, Track]],
    ) -> None:
        self._canvas, self._panels, self._view = canvas, panels, view
        self._features = project(features, view)
        self._round = features.shape[1] == 3
        sizes = [track.tips.shape[1] for _, track in panels]
        self._scale = panels[0][0].scale
        self._centres = np.repeat([(disc.x, disc.y) for disc, _ in panels], sizes, axis=0)
        ends = np.concatenate([track.ends_at for _, track in panels])
        self._colours = np.vstack([blend(colour) for colour in COLOURS])[ends % len(COLOURS)]
        self._trail: Floats | None = None

    def draw_still(self) -> None:
        """Draw what does not move: the spheres and the true features."""
        for disc, _ in self._panels:
            self._draw_globe(disc)
            self._draw_features(disc)

    def draw(self, t: int) -> None:
        """Draw the atoms at snapshot t; call in order of time, on the restored background.

        The path each atom takes stays on the background. Shorter tracks hold their last snapshot.
        """
        moments = [(disc, track, min(t, len(track.tips) - 1)) for disc, track in self._panels]
        points = np.concatenate([disc.place(track.tips[i]) for disc, track, i in moments])
        depth = np.concatenate([track.tips[i, :, 2] for _, track, i in moments])
        dead = np.concatenate([track.dead[i] for _, track, i in moments])
        self._lengthen_trails(points, dead)
        near = depth > HORIZON
        for half, alpha in ((~near, FAR), (near, 1.0)):
            order = np.flatnonzero(half)[np.argsort(depth[half])]
            self._draw_atoms(points, dead, order, alpha)

    def _draw_atoms(
        self, points: Floats, dead: NDArray[np.bool_], order: NDArray[np.intp], alpha: float
    ) -> None:
        """Draw atoms in this order: lines from the centre to discs, of the dead only pale rings."""
        alive = order[~dead[order]]
        stems = self._colours[alive] * (1, 1, 1, 0.45 * alpha)
        ends = np.stack([self._centres[alive], points[alive]], axis=1)
        self._canvas.lines(ends, stems, 1.4 * self._scale)
        faces, edges = self._colours[order], self._colours[order]
        faces[:, 3] = np.where(dead[order], DEAD, 1.0) * alpha
        edges[:, 3] = np.where(dead[order], 3 * DEAD, 1.0) * alpha
        edges[~dead[order], :3] = 1.0
        self._canvas.dots(points[order], 5.2 * self._scale, faces, edges, 0.9 * self._scale)

    def _lengthen_trails(self, points: Floats, dead: NDArray[np.bool_]) -> None:
        if self._trail is None:
            self._trail = points.copy()
            return
        moved = np.hypot(*(points - self._trail).T) > 1.0
        if moved.any():
            colours = self._colours[moved] * (1, 1, 1, 0.3)
            colours[dead[moved], 3] *= DEAD
            steps = np.stack([self._trail[moved], points[moved]], axis=1)
            self._canvas.lines(steps, colours, 1.2 * self._scale)
            self._trail[moved] = points[moved]
            self._canvas.save()

    def _draw_globe(self, disc: Disc) -> None:
        if self._round:
            _shade(self._canvas, disc)
            lines = graticule() @ self._view.T
            near = lines[..., 2].mean(axis=1) > 0
            for half, alpha in ((~near, 0.25), (near, 0.6)):
                self._canvas.lines(disc.place(lines[half]), blend(GRID, alpha), 0.8 * self._scale)
        turn = np.linspace(0, 2 * np.pi, 181)
        outline = disc.place(np.stack([np.cos(turn), np.sin(turn)], axis=1))
        self._canvas.lines([outline], blend(GRID), 1.2 * self._scale)

    def _draw_features(self, disc: Disc) -> None:
        """Grey arms with a ring around each tip, wide enough to show around the atoms on it."""
        seen = self._features[np.argsort(self._features[:, 2])]
        tips = disc.place(seen)
        colours = blend(FEATURE, np.where(seen[:, 2] > HORIZON, 1.0, FAR))
        arms = np.stack([np.broadcast_to((disc.x, disc.y), tips.shape), tips], axis=1)
        self._canvas.lines(arms, colours, 3.0 * self._scale)
        self._canvas.dots(tips, 4.0 * self._scale, colours)
        self._canvas.dots(tips, 10 * self._scale, "none", colours, 2.0 * self._scale)


def _shade(canvas: Canvas, disc: Disc) -> None:
    """Fill the disc as a ball with the light at its upper left."""
    top, left = int(disc.y - disc.radius) - 1, int(disc.x - disc.radius) - 1
    side = int(2 * disc.radius) + 3
    area = canvas.pixels[top : top + side, left : left + side, :3]
    rows, columns = np.mgrid[:side, :side] + 0.5
    x, y = (columns + left - disc.x) / disc.radius, (rows + top - disc.y) / disc.radius
    inside = np.clip((1 - np.hypot(x, y)) * disc.radius + 0.5, 0, 1)
    dark = np.clip(np.hypot(x + 0.3, y + 0.35) - 0.25, 0, None) * 0.42 * inside
    ink = blend(SHADE)[0, :3] * 255
    area[:] = np.rint(area + (ink - area) * dark[..., None])
