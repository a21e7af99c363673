"""A sheet of pixels to draw moving pictures on: a fixed background, and quick pens for the rest."""

from __future__ import annotations

from functools import cache, lru_cache
from math import ceil
from pathlib import Path as FilePath
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, IdentityTransform
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from saesweep.figures.style import INK

# At 72 dots an inch a point is a pixel.
DPI = 72


class Canvas:
    """A white sheet, drawn on at once, in pixels from its top left corner (x right, y down).

    `save` keeps what stands on it, `restore` brings that back. Only what moves is then drawn anew,
    with the same two artists every time: a new figure a frame costs twenty times as much.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self._agg = FigureCanvasAgg(figure)
        self._agg.draw()
        self._figure = figure
        downwards = Affine2D().scale(1, -1).translate(0, height)
        self._lines = LineCollection([], transform=downwards, capstyle="round")
        self._dots = PathCollection(
            [Path.unit_circle()], offset_transform=downwards, transform=IdentityTransform()
        )
        self._dots.set_transform(IdentityTransform())  # the constructor replaces it
        for artist in (self._lines, self._dots):
            self._adopt(artist)
        self.pixels: NDArray[np.uint8] = np.asarray(self._agg.buffer_rgba())
        """[height, width, 4], always the current state; the next drawing changes it."""
        self._saved = self.pixels.copy()

    def _adopt(self, artist: Artist) -> None:
        self._figure.add_artist(artist)
        artist.set_clip_on(False)

    def save(self) -> None:
        """Keep the current pixels for `restore`."""
        np.copyto(self._saved, self.pixels)

    def restore(self) -> None:
        """Return to the pixels last saved."""
        np.copyto(self.pixels, self._saved)

    def lines(self, paths: Any, colours: ArrayLike, width: float) -> None:
        """Draw n open lines: `paths` n times [points, 2]; colours [n, 4] or one."""
        self._lines.set_segments(paths)
        self._lines.set_color(colours)  # type: ignore[arg-type]
        self._lines.set_linewidth(width)
        self._lines.draw(self._agg.get_renderer())

    def dots(
        self,
        centres: ArrayLike,
        radii: ArrayLike,
        faces: ArrayLike,
        edges: ArrayLike = "none",
        width: float = 0.0,
    ) -> None:
        """Draw discs at `centres` [n, 2], in order; radii [n] or one, colours [n, 4] or one."""
        self._dots.set_offsets(centres)
        self._dots.set_sizes(np.atleast_1d(np.square(np.asarray(radii, float))), DPI)
        self._dots.set_facecolor(faces)  # type: ignore[arg-type]
        self._dots.set_edgecolor(edges)  # type: ignore[arg-type]
        self._dots.set_linewidth(width)
        self._dots.draw(self._agg.get_renderer())

    def write(
        self,
        x: float,
        y: float,
        text: str,
        size: int = 12,
        colour: str = INK,
        *,
        bold: bool = False,
        align: Literal["left", "middle", "right"] = "left",
        upright: bool = False,
    ) -> None:
        """Write a line of text, y at its baseline; `upright` turns it to run up the page at x."""
        ink, lift = _ink(text, size, bold)
        shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[align] * ink.shape[1]
        if upright:
            ink = np.rot90(ink)
            left, top = round(x) - lift, round(y + shift) - ink.shape[0]
        else:
            left, top = round(x - shift), round(y) - lift
        area = self.pixels[max(0, top) : top + ink.shape[0], max(0, left) : left + ink.shape[1], :3]
        ink = ink[max(0, -top) :, max(0, -left) :][: area.shape[0], : area.shape[1], None]
        rgb = np.asarray(matplotlib.colors.to_rgb(colour)) * 255
        area[:] = np.rint(area + (rgb - area) * ink)

    def image(self, left: int, top: int, pixels: NDArray[np.uint8]) -> None:
        """Put an image [height, width, 3] down with its top left corner at (left, top)."""
        self.pixels[top : top + pixels.shape[0], left : left + pixels.shape[1], :3] = pixels


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = FilePath(matplotlib.get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _ink(text: str, size: int, bold: bool) -> tuple[NDArray[np.float64], int]:
    """How much of each pixel a line of text covers, and the row of its baseline.

    matplotlib takes 0.7 ms for each new text; Pillow 0.05, and none where it was written before.
    """
    ascent, descent = (font := _font(size, bold)).getmetrics()
    image = Image.new("L", (max(1, ceil(font.getlength(text))), ascent + descent))
    ImageDraw.Draw(image).text((0, ascent), text, fill=255, font=font, anchor="ls")
    return np.asarray(image, dtype=np.float64) / 255, ascent


def text_width(text: str, size: int = 12, *, bold: bool = False) -> float:
    """Width in pixels of one line of text."""
    return _font(size, bold).getlength(text)


def wrap(text: str, width: float, size: int = 12) -> list[str]:
    """Break text at its spaces into lines of at most `width` pixels (or one longer word)."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def blend(colour: str, alpha: ArrayLike = 1.0) -> NDArray[np.float64]:
    """RGBA [n, 4] of one colour at each of n opacities."""
    opacity = np.atleast_1d(np.asarray(alpha, dtype=float))
    rgb = np.broadcast_to(matplotlib.colors.to_rgb(colour), (len(opacity), 3))
    return np.column_stack([rgb, opacity])
