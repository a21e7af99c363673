"""What all still figures share: sizes, colours, words, and text measured before it is placed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from io import BytesIO
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import Formatter, MaxNLocator

from saesweep.files import atomic_write

# Inches. A full text column, and the least width in which a title and a caption stay readable.
WIDTH, NARROW, MARGIN = 6.5, 3.6, 0.09
DPI = 200

# Points.
TITLE, LABEL, TICK = 9.5, 7.5, 7.0
LEADING = 1.35

INK, GREY, PALE = "#222222", "#6b6b6b", "#d9d9d9"
# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, GREEN, RED = "#0072b2", "#009e73", "#d55e00"
TELLING = (BLUE, RED, GREEN, "#000000", "#e69f00", "#cc79a7", "#56b4e9")
"""All of them but yellow, which is too light on white."""
Colour = tuple[float, float, float, float]
VALUES = "viridis"
SIGNED = "RdBu_r"

LOSSES = {
    "sum": "loss: sum — mean over samples of ‖x−x̂‖² + α‖latents‖₁",
    "mean": "loss: mean — mean over samples and dimensions of (x−x̂)², "
    "plus α · mean over samples of ‖latents‖₁ / dict_size",
}
OTHER_LOSSES = {
    "sum": "loss: sum — mean over samples of ‖x−x̂‖², plus what the variant adds to it",
    "mean": "loss: mean — mean over samples and dimensions of (x−x̂)², "
    "plus what the variant adds to it",
}
"""Where cells are trained otherwise than with the plain L1 norm."""


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)


@lru_cache(maxsize=8192)
def text_width(text: str, size: float = TICK, weight: str = "normal") -> float:
    """Width in inches of one line of text set at `size` points."""
    font = FontProperties(size=size, weight=weight)
    measure = _renderer().get_text_width_height_descent
    return float(measure(text, font, False)[0]) / DPI  # type: ignore[no-untyped-call]


def line_height(size: float = TICK) -> float:
    """Distance in inches between the baselines of two lines at `size` points."""
    return LEADING * size / 72


def wrap(text: str, width: float, size: float = TICK, weight: str = "normal") -> list[str]:
    """Break text at its spaces into lines of at most `width` inches (or one longer word)."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def as_png(figure: Figure) -> tuple[bytes, int]:
    """An image for a screen, and how many of its pixels wide to show it.

    Texts are measured at `DPI`; at fewer the same letters are wider, and lines end beyond the edge.
    """
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue(), round(figure.get_figwidth() * DPI * 0.6)


class Picture(Figure):
    """A figure that notebooks show without being asked: none of them is made by pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content, width = as_png(self)
        return content, {"width": width}


class Sheet:
    """A figure laid out in inches: title and note on top, a body, a caption underneath.

    `body` is the height of the space between them. `axes` and `text` place things in that space,
    measured from its top left corner, so that nothing needs a layout engine's repeated passes.
    """

    def __init__(
        self, title: str, note: str, body: float, caption: Sequence[str], width: float = WIDTH
    ) -> None:
        self.width = width
        room = width - 2 * MARGIN
        head = [(line, TITLE, "bold", INK) for line in wrap(title, room, TITLE, "bold")]
        head += [(line, TICK, "normal", GREY) for line in wrap(note, room)]
        foot = [line for part in caption for line in wrap(part, room)]
        self._top = MARGIN + sum(line_height(size) for _, size, _, _ in head) + 0.06
        self.height = self._top + body + 0.06 + len(foot) * line_height() + MARGIN
        self.figure = Picture(figsize=(width, self.height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        y = MARGIN
        for line, size, weight, colour in head:
            y += line_height(size)
            self._line(y, line, fontsize=size, fontweight=weight, color=colour)
        y = self._top + body + 0.06
        for line in foot:
            y += line_height()
            self._line(y, line, fontsize=TICK, color=GREY)

    def _line(self, y: float, text: str, **kwargs: Any) -> None:
        # Lifted by the share of a line that lies under the baseline.
        x, y = MARGIN / self.width, 1 - (y - 0.03) / self.height
        self.figure.text(x, y, text, parse_math=False, **kwargs)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """New axes of this size, their top left corner at (left, top) of the body."""
        bottom = self.height - self._top - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return tidy(self.figure.add_axes(box))

    def text(self, left: float, top: float, text: str, **kwargs: Any) -> Text:
        """Text at a point of the body; 7 points and dark unless told otherwise.

        A dollar sign is one: names of users are no formulas.
        """
        x, y = left / self.width, 1 - (self._top + top) / self.height
        style = {"fontsize": TICK, "color": INK, "parse_math": False, **kwargs}
        return self.figure.text(x, y, text, **style)


def tidy(axes: Axes) -> Axes:
    """The axes with small ticks, thin lines, and no frame on the top and the right."""
    axes.tick_params(labelsize=TICK, length=2.5, width=0.6, pad=2, color=GREY, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set(linewidth=0.6, edgecolor=GREY, visible=side in ("left", "bottom"))
    return axes


class PlainNumbers(Formatter):
    """Tick labels with as many decimals as their step needs, and no offset beside the axis."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        """One label, for where the others are not known."""
        return number(value)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels of all ticks."""
        steps = np.diff(np.sort(values))
        largest = float(np.abs(values).max()) if len(values) else 0.0
        if not steps.size or not steps.min() > 0:
            return [number(value) for value in values]
        power = int(np.floor(np.log10(steps.min()) + 1e-6))
        if largest >= 1e5 or largest < 1e-3:
            digits = 1 + max(0, int(np.floor(np.log10(largest))) - power)
            return [number(value, digits) for value in values]
        return [f"{value:.{max(0, -power)}f}".replace("-", "−") for value in values]


def ticks(axis: Axis, most: int, whole: bool = False) -> None:
    """At most about `most` ticks, at multiples of 1, 2 or 5 times a power of ten."""
    axis.set_major_locator(
        MaxNLocator(most, integer=whole, steps=[1, 2, 5, 10], min_n_ticks=1 if whole else 2)
    )
    axis.set_major_formatter(PlainNumbers())


def number(value: float, digits: int = 3) -> str:
    """A number with up to `digits` significant digits, as `0.0178`, `24` or `1.2e-5`."""
    if 1000 <= abs(value) < 1e5:
        return f"{value:.0f}"
    text = f"{value:.{digits}g}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else text


def level(value: float) -> str:
    """A reference value in few digits, with both decimals where it is about one, as `0.70`."""
    if isnan(value):
        return "–"
    return f"{value:.2f}" if 0.1 <= abs(value) < 10 else number(value, 3 if abs(value) > 1 else 2)


def wants_log(values: np.ndarray, factor: float = 100) -> bool:
    """Whether the finite values are all positive and span more than ``factor``: two decades."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() / factor > finite.min())


def rank_colours(values: Sequence[float]) -> dict[float, Colour]:
    """A colour for each value, dark to light by rank, none too light for a line on white."""
    ordered = sorted(set(values))
    step = 0.88 / max(1, len(ordered) - 1)
    return {value: colormaps[VALUES](rank * step) for rank, value in enumerate(ordered)}


def name_colours(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each name that has no rank, as many as `TELLING` has, and then again."""
    return {name: to_rgba(TELLING[i % len(TELLING)]) for i, name in enumerate(names)}


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG in one step, so that no reader ever sees half a file."""
    atomic_write(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI))
    return path
