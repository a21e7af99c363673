"""The frames of one cell's animation: what it is, where it stands, and its dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from saesweep.figures.animations.canvas import Canvas, blend, text_width, wrap
from saesweep.figures.animations.cosine_scene import LEVELS, Matrices, Mosaics, Square, colours
from saesweep.figures.animations.encoding import Frame
from saesweep.figures.animations.film import Film, Truth
from saesweep.figures.animations.scene import Disc, Spheres
from saesweep.figures.style import BLUE, GREY, PALE, number

if TYPE_CHECKING:
    from saesweep.config import Scalar
    from saesweep.grid import Cell
    from saesweep.run_folder import Run

WIDTH, MARGIN, LINE = 560, 24, 16
ROOM = WIDTH - 2 * MARGIN
RADIUS, SIDE = 212, 448
# Left edges of the numbers that change, and of the curve beside the last.
EPOCH, DEAD, MMCS, CURVE = MARGIN, 140, 262, 356

MMCS_MEANS = "MMCS: mean over all true features of the largest cosine with an atom."


def cell_frames(run: Run, cell: Cell, film: Film, truth: Truth) -> Iterator[Frame]:
    """Yield one frame a snapshot; each is overwritten by the next."""
    title, subtitle = _titles(run, cell, truth)
    caption = wrap(" ".join((_key(cell, film, truth), MMCS_MEANS)), ROOM)
    top = 40 + LINE * len(subtitle)  # of the numbers
    body = top + 56
    size = 2 * RADIUS + 14 if not isinstance(film.picture, Matrices) else SIDE + 30
    height = body + size + 14 + LINE * len(caption)
    canvas = Canvas(WIDTH, -(-height // 16) * 16)
    canvas.write(MARGIN, 34, title, _largest(title), bold=True)
    for i, line in enumerate(subtitle):
        canvas.write(MARGIN, 52 + LINE * i, line, colour=GREY)
    for i, line in enumerate(caption):
        canvas.write(MARGIN, body + size + 20 + LINE * i, line, colour=GREY)
    for left, label in ((EPOCH, "epoch"), (DEAD, "dead neurons"), (MMCS, "MMCS")):
        canvas.write(left, top + 18, label, 11, GREY)
    curve = _draw_curve(canvas, film, top)
    scene = _scene(canvas, film, truth, body)
    scene.draw_still()
    canvas.save()
    for t in range(len(film)):
        canvas.restore()
        scene.draw(t)
        canvas.write(EPOCH, top + 42, f"{film.epochs[t]}", 22, bold=True)
        canvas.write(DEAD, top + 42, f"{film.dead[t]}", 22, bold=True)
        canvas.write(MMCS, top + 42, f"{film.mmcs[t]:.3f}", 22, bold=True)
        canvas.dots(curve[t : t + 1], 4.0, blend(BLUE), "white", 1.0)
        yield canvas.pixels


def _titles(run: Run, cell: Cell, truth: Truth) -> tuple[str, list[str]]:
    ratio = number(cell.dict_size / len(truth.features))
    title = f"{cell.axis.short} {number(cell.sparsity, 4)} · dictionary {cell.dict_size} ({ratio}×)"
    others = {axis: value for axis, value in cell.extra.items() if axis != "train.loss"}
    parts = [
        run.config.name,
        truth.words,
        *extra_words(others),
        f"loss: {cell.train.loss}",
    ]
    return title, wrap(" · ".join(parts), ROOM)


def extra_words(values: Mapping[str, Scalar]) -> list[str]:
    """The values of further axes: ``train.lr 0.001``; the name of a variant stands for itself."""
    return [
        str(value) if axis == "model.variant" else f"{axis} {value}"
        for axis, value in values.items()
    ]


def _largest(title: str) -> int:
    return next((s for s in (20, 17, 14) if text_width(title, s, bold=True) <= ROOM), 11)


def _key(cell: Cell, film: Film, truth: Truth) -> str:
    if isinstance(film.picture, Matrices):
        which = truth.which(film.picture.levels.shape[1])
        return (
            f"Rows: {which}; columns: the atom that is closest to each, at this epoch. "
            "A feature is learned where the diagonal comes to 1."
        )
    repeat = " (colours repeat)" if len(truth.features) > 8 else ""
    return (
        f"Grey: true features. Colour: the {cell.dict_size} atoms and their paths, by the feature "
        f"that each ends closest to{repeat}; {truth.shades}."
    )


def _scene(canvas: Canvas, film: Film, truth: Truth, top: int) -> Spheres | Mosaics:
    if not isinstance(film.picture, Matrices):
        disc = Disc(WIDTH / 2, top + 7 + RADIUS, RADIUS)
        return Spheres(canvas, truth.features, truth.view, [(disc, film.picture)])
    k = film.picture.levels.shape[1]
    square = Square(MARGIN + 22, top + 24, SIDE // k * k)
    canvas.write(square.left + square.side / 2, top + 16, "closest atoms", align="middle")
    middle = square.top + square.side / 2
    canvas.write(MARGIN + 12, middle, "features", align="middle", upright=True)
    _draw_scale(canvas, square)
    return Mosaics(canvas, [(square, film.picture)])


def _draw_scale(canvas: Canvas, square: Square) -> None:
    """The cosine of each colour, as a bar to the right of the matrix."""
    left, step = square.left + square.side + 16, 4
    bar = colours()[::-1].repeat(step, axis=0)[:, None].repeat(10, axis=1)
    top = square.top + (square.side - len(bar)) // 2
    canvas.image(left, top, bar)
    for value in (1, 0, -1):
        y = top + (LEVELS - 1) / 2 * (1 - value) * step + step / 2
        canvas.write(left + 15, y + 4, f"{value}".replace("-", "−"), 11, GREY)
    canvas.write(left + 6, top - 10, "cosine", 11, GREY, align="middle")


def _draw_curve(canvas: Canvas, film: Film, top: int) -> np.ndarray:
    """MMCS over the epochs, small, from a tenth below its least value to 1; its points [T, 2]."""
    low = min(0.9, np.floor(np.nanmin(film.mmcs) * 10 + 1e-9) / 10)
    left, right = CURVE, WIDTH - MARGIN - 24
    over, under = top + 12, top + 42
    share = film.epochs / max(1, film.epochs[-1])
    height = (np.nan_to_num(film.mmcs) - low) / (1 - low)
    points = np.stack([left + share * (right - left), under - height * (under - over)], axis=1)
    for y, value in ((over, 1.0), (under, low)):
        canvas.lines([np.array([(left, y), (right, y)])], blend(PALE), 1.0)
        canvas.write(WIDTH - MARGIN, y + 4, f"{value:.1f}", 10, GREY, align="right")
    canvas.lines([points], blend(BLUE, 0.55), 1.6)
    return points
