"""Animations of a run: one a cell, its dictionary as it is learned, and one of the whole grid."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saesweep.errors import RunError
from saesweep.figures.animations.cell_frames import cell_frames
from saesweep.figures.animations.cosine_scene import colours
from saesweep.figures.animations.encoding import (
    Frame,
    Palette,
    check_format,
    durations,
    ramp,
    write_animation,
)
from saesweep.figures.animations.film import Truth, count_snapshots, read_film, read_truth
from saesweep.figures.animations.grid_frames import Plan, grid_frames, plan
from saesweep.figures.animations.scene import COLOURS, FEATURE, GRID, SHADE
from saesweep.figures.style import INK
from saesweep.figures.variants import ending
from saesweep.files import atomic_write

if TYPE_CHECKING:
    from saesweep.grid import Cell
    from saesweep.run_folder import Run
    from saesweep.sparsity import SparsityAxis

GRID_ATOMS = 128
"""Most atoms drawn in one panel of the grid."""
BLANKS = {"waiting": "not trained"}
"""What the grid says of cells without snapshots; other states stand for themselves."""


def draw_gifs(
    run: Run,
    cells: Sequence[Cell] | None = None,
    *,
    format: str = "gif",
    fps: float = 12,
    grid: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``gifs/<cell>.<format>`` for ``cells`` (None: all), and ``gifs/grid.<format>``.

    A frame is a snapshot, and the last stays for 2 s. The grid shows the whole run; if it has axes
    besides sparsity and dictionary size, at their values in the first of ``cells``. A run with
    several sparsity axes has a grid for each that ``cells`` are on, ``gifs/grid_k.<format>``. Cells
    without snapshots have no file, and a note in the grid. ``progress`` is told (frames done,
    frames in all). Returns the paths.

    Raises ``ValueError`` for a format other than gif, mp4 and webp or fps outside 1 to 50,
    ``RunError`` if there is nothing to draw, ``StorageError`` if the disk refuses.
    """
    check_format(format, fps)
    began = _now()
    chosen, counts = _chosen(run, run.cells if cells is None else cells)
    truth = read_truth(run)
    shots = [_shoot_cell(run, cell, truth, counts[cell.name]) for cell in chosen]
    if grid:
        shots += _shoot_grids(run, truth, chosen, counts)
    return _write_all(run, shots, format, fps, progress, began)


def draw_grid_gif(run: Run, axis: SparsityAxis) -> Path:
    """Write the GIF of the grid along ``axis`` alone; otherwise as `draw_gifs`."""
    began = _now()
    chosen, counts = _chosen(run, [cell for cell in run.cells if cell.axis == axis])
    shots = _shoot_grids(run, read_truth(run), chosen, counts)
    return _write_all(run, shots, "gif", 12, None, began)[0]


def _now() -> int:
    """Nanoseconds as the times of files have them, whose clock is some milliseconds behind."""
    return time.time_ns() - 10_000_000


def _chosen(run: Run, cells: Iterable[Cell]) -> tuple[list[Cell], dict[str, int]]:
    """Those of ``cells`` that have snapshots, and how many, by name."""
    counts: dict[str, int] = {}
    chosen = _with_snapshots(run, cells, counts)
    if not chosen:
        raise RunError(f"{run.path}: nothing to draw: none of these cells is done")
    return chosen, counts


def _shoot_grids(
    run: Run, truth: Truth, chosen: Sequence[Cell], counts: dict[str, int]
) -> list[_Shot]:
    firsts = {cell.axis: cell for cell in reversed(chosen)}
    return [
        _shoot_grid(run, truth, plan(run.cells, firsts[axis].extra), counts)
        for axis in run.sparsity_axes
        if axis in firsts
    ]


def _write_all(
    run: Run,
    shots: Sequence[_Shot],
    format: str,
    fps: float,
    progress: Callable[[int, int], None] | None,
    began: int,
) -> list[Path]:
    palette = _palette()
    done, total = count(1), sum(shot.length for shot in shots)
    tell = (lambda: progress(next(done), total)) if progress else (lambda: None)
    paths = []
    for shot in shots:
        path = run.gifs_dir / f"{shot.name}.{format}"
        _write(path, shot, fps, palette, tell)
        os.utime(path, ns=(began, began))  # a cell that ended since then is not in it
        paths.append(path)
    return paths


@dataclass(frozen=True)
class _Shot:
    """One animation to make. Nothing is read or drawn before `frames` is called."""

    name: str
    length: int
    frames: Callable[[], Iterator[Frame]]


def _with_snapshots(run: Run, cells: Iterable[Cell], counts: dict[str, int]) -> list[Cell]:
    """Those of the cells that have snapshots; how many goes into `counts`, by name."""
    cells = list(cells)
    for cell in cells:
        if cell.name not in counts:
            counts[cell.name] = count_snapshots(run, cell)
    return [cell for cell in cells if counts[cell.name]]


def _shoot_cell(run: Run, cell: Cell, truth: Truth, length: int) -> _Shot:
    def frames() -> Iterator[Frame]:
        return cell_frames(run, cell, read_film(run, cell, truth), truth)

    return _Shot(cell.name, length, frames)


def _shoot_grid(run: Run, truth: Truth, layout: Plan, counts: dict[str, int]) -> _Shot:
    panels = [cell for cell in run.cells if cell.name in layout.places]
    filmed = _with_snapshots(run, panels, counts)

    def frames() -> Iterator[Frame]:
        films = {cell.name: read_film(run, cell, truth, GRID_ATOMS) for cell in filmed}
        states = {str(row["cell"]): str(row["state"]) for row in run.metrics()}
        blanks = {
            cell.name: BLANKS.get(states[cell.name], states[cell.name])
            for cell in panels
            if cell.name not in films
        }
        return grid_frames(run, truth, layout, films, blanks)

    name = f"grid{ending(run.sparsity_axes, layout.axis)}"
    return _Shot(name, max(counts[cell.name] for cell in filmed), frames)


def _write(path: Path, shot: _Shot, fps: float, palette: Palette, tell: Callable[[], None]) -> None:
    def told() -> Iterator[Frame]:
        for frame in shot.frames():
            yield frame
            tell()

    stays = durations(shot.length, fps)
    atomic_write(path, lambda file: write_animation(file, told(), stays, fps, palette))


def _palette() -> Palette:
    """One for all animations of a run: the inks of both scenes in as many shades as they need."""
    shades = {**dict.fromkeys(COLOURS, 13), FEATURE: 20, GRID: 12, SHADE: 24, INK: 20}
    return Palette(np.vstack([colours(), *(ramp(ink, steps) for ink, steps in shades.items())]))
