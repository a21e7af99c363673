"""One fixed orthographic camera: from directions in at most three dimensions to places on paper."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def camera(azimuth: float, elevation: float) -> Floats:
    """Rotation [3, 3] whose rows are right, up and towards the viewer; angles in degrees.

    >>> camera(0, 0).round()  # from the x axis: y to the right, z up
    array([[0., 1., 0.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """
    (sin_a, sin_e), (cos_a, cos_e) = (
        turn(np.radians([azimuth, elevation])) for turn in (np.sin, np.cos)
    )
    return (
        np.array(
            [
                [-sin_a, cos_a, 0.0],
                [-sin_e * cos_a, -sin_e * sin_a, cos_e],
                [cos_e * cos_a, cos_e * sin_a, sin_e],
            ]
        )
        + 0.0
    )  # no negative zeros


def choose_view(features: Floats) -> Floats:
    """The camera [3, 3] for features [n, d], d ≤ 3, from which they are best told apart.

    In fewer than three dimensions the plane itself is looked at.
    """
    if features.shape[1] < 3:
        return camera(-90, 90)
    # The first are the most probable; more than a few dozen overlap from everywhere.
    points = features[:32]
    views = [camera(a, e) for e in range(-50, 51, 10) for a in range(0, 360, 6)]
    return max(views, key=lambda view: _separation(points @ view.T))


def _separation(seen: Floats) -> float:
    """Least distance between tips, and from the centre; ties go to tips turned to the viewer."""
    points = np.vstack([seen[:, :2], np.zeros(2)])
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min() + 0.15 * seen[:, 2].mean())


def project(points: Floats, view: Floats) -> Floats:
    """Directions [..., d], d ≤ 3, as unit vectors in the camera's coordinates [..., 3]."""
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    flat = [(0, 0)] * (points.ndim - 1)
    full = np.pad(points / np.maximum(length, 1e-12), [*flat, (0, 3 - points.shape[-1])])
    return np.asarray(full @ view.T)


@cache
def graticule() -> Floats:
    """Circles of latitude and longitude every 30°, in short pieces [pieces, points, 3]."""
    steps = np.radians(np.arange(0, 361, 5)).reshape(-1)
    latitudes = [
        np.stack(
            [np.cos(lat) * np.cos(steps), np.cos(lat) * np.sin(steps), 0 * steps + np.sin(lat)]
        )
        for lat in np.radians([-60, -30, 0, 30, 60])
    ]
    longitudes = [
        np.stack([np.cos(steps) * np.cos(lon), np.cos(steps) * np.sin(lon), np.sin(steps)])
        for lon in np.radians(range(0, 180, 30))
    ]
    circles = np.stack([*latitudes, *longitudes]).transpose(0, 2, 1)
    pieces = np.stack([circles[:, :-1], circles[:, 1:]], axis=2)
    return np.asarray(pieces.reshape(-1, 2, 3))
