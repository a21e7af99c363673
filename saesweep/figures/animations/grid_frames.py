"""The frames of the grid's animation: every cell as a small panel, all at the same epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from saesweep.figures.animations.canvas import Canvas, blend, wrap
from saesweep.figures.animations.cell_frames import extra_words
from saesweep.figures.animations.cosine_scene import Matrices, Mosaics, Square
from saesweep.figures.animations.encoding import Frame
from saesweep.figures.animations.film import Film, Truth
from saesweep.figures.animations.scene import Disc, Spheres, Track
from saesweep.figures.style import GREY, PALE, number

if TYPE_CHECKING:
    from saesweep.config import Scalar
    from saesweep.grid import Cell
    from saesweep.run_folder import Run
    from saesweep.sparsity import SparsityAxis

Value = TypeVar("Value", int, float)

LEFT, MARGIN, LINE, NUMBER = 78, 24, 16, 20
# A page of about a thousand pixels; with many cells it grows, up to these.
WIDE, HIGH, LEAST, LARGEST = 914, 720, 64, 360
MOST_COLUMNS, MOST_ROWS = 18, 12


@dataclass(frozen=True)
class Plan:
    """Which cells are shown and where, and what is said about the others."""

    places: Mapping[str, tuple[int, int]]
    """Row and column of each cell shown, by its name."""
    sizes: Sequence[int]
    sparsity: Sequence[float]
    axis: SparsityAxis
    notes: Sequence[str]

    @property
    def pitch(self) -> int:
        """Width of a panel in pixels."""
        across = max(LEAST, WIDE // len(self.sparsity))
        down = max(LEAST, HIGH // len(self.sizes) - NUMBER)
        return min(LARGEST, across, down)

    @property
    def inner(self) -> int:
        """Largest side of a matrix in a panel."""
        return int(self.pitch * 0.94)

    def place(self, cell: str, top: int) -> tuple[int, int]:
        """The top left corner of a cell's panel; `top` is where the first row begins."""
        row, column = self.places[cell]
        return LEFT + column * self.pitch, top + row * (self.pitch + NUMBER)


def plan(cells: Sequence[Cell], extra: Mapping[str, Scalar]) -> Plan:
    """Lay the cells out: rows dictionary sizes, columns values on a sparsity axis.

    Where the grid has further axes, the cells at the values in `extra` are shown; of too many rows
    or columns, some that are evenly spread, with both ends.
    """
    same = [cell for cell in cells if cell.extra == extra]
    axis = same[0].axis  # cells on another one differ in model.variant
    sizes = sorted({cell.dict_size for cell in same})
    values = sorted({cell.sparsity for cell in same})
    rows, columns = _spread(sizes, MOST_ROWS), _spread(values, MOST_COLUMNS)
    places = {
        cell.name: (rows.index(cell.dict_size), columns.index(cell.sparsity))
        for cell in same
        if cell.dict_size in rows and cell.sparsity in columns
    }
    notes = []
    if len(places) < len(cells):
        which = ", ".join(extra_words(extra))
        parts = [f"only {which}"] if len(same) < len(cells) else []
        if len(rows) < len(sizes):
            parts.append(f"{len(rows)} of {len(sizes)} dictionary sizes")
        if len(columns) < len(values):
            parts.append(f"{len(columns)} of {len(values)} {axis.plural}")
        notes.append(f"{len(places)} of {len(cells):,} cells: {', '.join(parts)}.")
    return Plan(places, rows, columns, axis, notes)


def _spread(values: Sequence[Value], most: int) -> list[Value]:
    count = min(most, len(values))
    return [values[round(i)] for i in np.linspace(0, len(values) - 1, count)]


def grid_frames(
    run: Run, truth: Truth, plan: Plan, films: Mapping[str, Film], blanks: Mapping[str, str]
) -> Iterator[Frame]:
    """Yield one frame a snapshot of the longest film; each is overwritten by the next.

    `films` by cell name; `blanks` says what stands in place of a film that is missing.
    """
    caption = wrap(_caption(truth, plan, films), _width(plan) - 2 * MARGIN)
    top = 106
    bottom = top + len(plan.sizes) * (plan.pitch + NUMBER)
    height = bottom + 12 + LINE * len(caption)
    canvas = Canvas(_width(plan), -(-height // 16) * 16)
    _draw_head(canvas, run, truth, plan, top)
    for i, line in enumerate(caption):
        canvas.write(MARGIN, bottom + 16 + LINE * i, line, colour=GREY)
    for name, words in blanks.items():
        _draw_blank(canvas, plan, plan.place(name, top), words)
    scenes = _scenes(canvas, truth, plan, films, top)
    for scene in scenes:
        scene.draw_still()
    canvas.save()
    word = "MMCS " if plan.pitch >= 100 else ""
    longest = max(films.values(), key=len)
    for t in range(len(longest)):
        canvas.restore()
        for scene in scenes:
            scene.draw(t)
        canvas.write(
            canvas.width - MARGIN, 38, f"{longest.epochs[t]}", 24, bold=True, align="right"
        )
        for name, film in films.items():
            left, y = plan.place(name, top)
            mmcs = f"{word}{film.mmcs[min(t, len(film) - 1)]:.2f}"
            canvas.write(left + plan.pitch / 2, y + plan.pitch + 12, mmcs, 12, align="middle")
        yield canvas.pixels


def _width(plan: Plan) -> int:
    least = LEFT + len(plan.sparsity) * plan.pitch + MARGIN
    return -(-max(480, least) // 16) * 16


def _draw_head(canvas: Canvas, run: Run, truth: Truth, plan: Plan, top: int) -> None:
    """Title, names of the axes, and the value of each column and row."""
    losses = sorted({cell.train.loss for cell in run.cells if cell.name in plan.places})
    parts = [truth.words, f"loss: {' and '.join(losses)}"]
    canvas.write(MARGIN, 34, run.config.name, 20, bold=True)
    canvas.write(MARGIN, 54, " · ".join(parts), colour=GREY)
    canvas.write(canvas.width - MARGIN, 54, "epoch", colour=GREY, align="right")
    middle = LEFT + len(plan.sparsity) * plan.pitch / 2
    canvas.write(middle, top - 28, plan.axis.short, colour=GREY, align="middle")
    size = 13 if plan.pitch >= 100 else 11
    for column, value in enumerate(plan.sparsity):
        x = LEFT + (column + 0.5) * plan.pitch
        canvas.write(x, top - 10, number(value), size, bold=True, align="middle")
    rows = len(plan.sizes) * (plan.pitch + NUMBER)
    canvas.write(
        MARGIN + 10, top + rows / 2, "dictionary", colour=GREY, align="middle", upright=True
    )
    for row, dict_size in enumerate(plan.sizes):
        y = top + row * (plan.pitch + NUMBER) + plan.pitch / 2
        ratio = number(dict_size / len(truth.features))
        canvas.write(LEFT - 10, y, f"{dict_size}", size, bold=True, align="right")
        canvas.write(LEFT - 10, y + 15, f"{ratio}×", 11, GREY, align="right")


def _scenes(
    canvas: Canvas, truth: Truth, plan: Plan, films: Mapping[str, Film], top: int
) -> list[Spheres | Mosaics]:
    spheres: list[tuple[Disc, Track]] = []
    mosaics: list[tuple[Square, Matrices]] = []
    half, inner = plan.pitch / 2, plan.inner
    for name, film in films.items():
        left, y = plan.place(name, top)
        if isinstance(film.picture, Matrices):
            # At least two pixels a cosine: fewer features where there is no room.
            picture = film.picture.first(inner // 2)
            side = inner // picture.levels.shape[1] * picture.levels.shape[1]
            edge = (plan.pitch - side) // 2
            mosaics.append((Square(left + edge, y + edge, side), picture))
        else:
            spheres.append((Disc(left + half, y + half, plan.pitch * 0.46), film.picture))
    # Spheres lengthen the paths on the background first.
    return [
        *([Spheres(canvas, truth.features, truth.view, spheres)] if spheres else []),
        *([Mosaics(canvas, mosaics)] if mosaics else []),
    ]


def _draw_blank(canvas: Canvas, plan: Plan, place: tuple[int, int], words: str) -> None:
    """A cell without a film: an empty box with what has become of it."""
    inset = plan.pitch * 0.06
    low, high = inset, plan.pitch - inset
    corners = np.array([(low, low), (high, low), (high, high), (low, high), (low, low)]) + place
    canvas.lines([corners], blend(PALE), 1.0)
    middle = plan.pitch / 2
    lines = words.split() if plan.pitch < 100 else [words]
    for i, line in enumerate(lines):
        y = place[1] + middle + 4 + 13 * (i - (len(lines) - 1) / 2)
        canvas.write(place[0] + middle, y, line, 11, GREY, align="middle")


def _caption(truth: Truth, plan: Plan, films: Mapping[str, Film]) -> str:
    pictures = [film.picture for film in films.values()]
    parts = list(plan.notes)
    if any(isinstance(picture, Track) for picture in pictures):
        parts.append(
            "Grey: true features. Colour: atoms and their paths, by the feature that each ends "
            f"closest to; {truth.shades}."
        )
    left_out = max(film.atoms_left_out for film in films.values())
    if left_out:
        parts.append("Of large dictionaries some atoms are drawn, evenly chosen.")
    rows = {min(p.levels.shape[1], plan.inner // 2) for p in pictures if isinstance(p, Matrices)}
    if rows:
        parts.append(
            f"Matrices: cosine of {truth.which(max(rows))} (rows) with the atom closest to each "
            "(columns), blue −1, white 0, red 1."
        )
    parts.append("Number: MMCS, mean over true features of the largest cosine with an atom.")
    return " ".join(parts)
