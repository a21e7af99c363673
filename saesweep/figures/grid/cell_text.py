"""The numbers written in a heatmap's cells: how many digits, how large, or none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from saesweep.figures.style import TICK, number, text_width, wants_log

# Cells are written at the first of these sizes at which the widest number fits.
SIZES = (TICK, 6.0, 5.5)
# A spread, in the line below its number, is set smaller by the first, down to the second.
SMALLER, SMALLEST = 1.0, 5.0
# Height of a line over the points of its text.
LINE = 1.2
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Write = Callable[[float], str]


@dataclass(frozen=True)
class CellText:
    """How values are written: `write` gives the words, `size` the points, `unit` what to say above.

    `exact` means three digits. `size` 0 means that nothing fits and the cells stay empty.
    `write_spread` gives the words of a standard deviation; None where there is no room for it.
    """

    write: Write
    size: float
    unit: str = ""
    exact: bool = False
    write_spread: Write | None = None

    @property
    def spread_size(self) -> float:
        """The points of a spread."""
        return max(SMALLEST, self.size - SMALLER)

    def lines(self, value: float, spread: float = np.nan) -> list[tuple[str, float]]:
        """The lines of one cell, each with its points; without a spread where that is NaN."""
        lines = [(line, self.size) for line in self.write(value).split("\n")]
        if self.write_spread is not None and np.isfinite(spread):
            lines.append((f"±{self.write_spread(spread)}", self.spread_size))
        return lines


@dataclass(frozen=True)
class _Way:
    write: Write
    unit: str = ""
    exact: bool = True
    write_spread: Write | None = None


def fit(
    values: np.ndarray, width: float, height: float, spreads: np.ndarray | None = None
) -> CellText:
    """The most exact way to write all finite values in cells of this width and height (inches).

    `spreads`, shaped like `values`, are written below them wherever there is room for all.
    """
    finite = np.isfinite(values)
    shown = values[finite]
    below = np.full(shown.shape, np.nan) if spreads is None else spreads[finite]
    ways = list(_ways(shown, below[np.isfinite(below)]))
    with_spread = [True, False] if np.isfinite(below).any() else [False]
    for spread, exact, size, way in product(with_spread, (True, False), SIZES, ways):
        if way.exact != exact or (spread and way.write_spread is None):
            continue
        text = CellText(way.write, size, way.unit, exact, way.write_spread if spread else None)
        cells = (text.lines(*pair) for pair in zip(shown, below, strict=True))
        if all(_fits(lines, width * 0.9, height * 0.9) for lines in cells):
            return text
    return CellText(number, 0)


def _fits(lines: list[tuple[str, float]], width: float, height: float) -> bool:
    wide = max(text_width(words, size) for words, size in lines)
    return wide <= width and sum(size for _, size in lines) * LINE / 72 <= height


def _ways(values: np.ndarray, spreads: np.ndarray) -> Iterator[_Way]:
    """Ways to write finite values, best first, each with the unit that must be told."""
    largest = np.abs(values).max(initial=0.0)
    whole = all(np.all(numbers == np.round(numbers)) for numbers in (values, spreads))
    if not largest or (whole and largest < 1e6):
        yield _same(lambda value: f"{value:.0f}")
        return
    power = int(np.floor(np.log10(largest)))
    tenth = 10.0**power
    unit = f"cells in units of 10{str(power).translate(SUPERSCRIPTS)}"
    if wants_log(values) or not -3 <= power < 4:
        yield _Way(lambda value: _digits(value, 3), write_spread=lambda value: _digits(value, 2))
        yield _Way(lambda value: _digits(value, 2), "", False, lambda value: _digits(value, 1))
        yield _same(lambda value: _bare(_digits(value / tenth, 2)), unit, exact=False)
        yield _Way(_stacked, exact=False)
        return
    places = max(0, 2 - power)
    yield _same(lambda value: f"{value:.{places}f}")
    yield _same(lambda value: _bare(f"{value:.{places}f}"))
    if power < -1 or power > 1:
        yield _same(lambda value: _bare(f"{value / tenth:.2f}"), unit)
        yield _same(lambda value: _bare(f"{value / tenth:.1f}"), unit, exact=False)
    elif places:
        yield _same(lambda value: _bare(f"{value:.{places - 1}f}"), exact=False)


def _same(write: Write, unit: str = "", exact: bool = True) -> _Way:
    """A way that writes a spread as it writes its value: to the same decimal."""
    return _Way(write, unit, exact, write)


def _digits(value: float, digits: int) -> str:
    """A number with all of its significant digits, as `11.0` or `1.20e-5`."""
    if value == 0:
        return "0"
    text = f"{value:#.{digits}g}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa.rstrip('.')}e{int(exponent)}" if mark else text.rstrip(".")


def _bare(text: str) -> str:
    """A decimal without its leading zero, as `.95`."""
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _stacked(value: float) -> str:
    """Two digits, with the power of ten on a line of its own where there is one."""
    if value == 0 or 0.01 <= abs(value) < 100:
        return _bare(_digits(value, 2))
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}\ne{int(exponent)}"
