"""The numbers written in a heatmap's cells: how many digits, how large, or none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from saesweep.figures.style import TICK, number, text_width, wants_log

# Cells are written at the first of these sizes at which the widest number fits.
SIZES = (TICK, 6.0, 5.5)
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class CellText:
    """How values are written: `write` gives the words, `size` the points, `unit` what to say above.

    `exact` means three digits. `size` 0 means that nothing fits and the cells stay empty.
    """

    write: Callable[[float], str]
    size: float
    unit: str = ""
    exact: bool = False


@dataclass(frozen=True)
class _Way:
    write: Callable[[float], str]
    unit: str = ""
    exact: bool = True


def fit(values: np.ndarray, width: float, height: float) -> CellText:
    """The most exact way to write all finite values in cells of this width and height (inches)."""
    finite = values[np.isfinite(values)]
    ways = list(_ways(finite))
    for exact in (True, False):
        for size in SIZES:
            for way in ways:
                texts = (way.write(value) for value in finite)
                room = width * 0.9, height * 0.9
                if way.exact == exact and all(_fits(text, size, *room) for text in texts):
                    return CellText(way.write, size, way.unit, exact)
    return CellText(number, 0)


def _fits(text: str, size: float, width: float, height: float) -> bool:
    lines = text.split("\n")
    wide = max(text_width(line, size) for line in lines)
    return wide <= width and len(lines) * size * 1.2 / 72 <= height


def _ways(finite: np.ndarray) -> Iterator[_Way]:
    """Ways to write the values, best first, each with the unit that must be told."""
    if not finite.size:
        yield _Way(number)
        return
    if np.all(finite == np.round(finite)) and np.abs(finite).max() < 1e6:
        yield _Way(lambda value: f"{value:.0f}")
        return
    power = int(np.floor(np.log10(np.abs(finite).max())))
    tenth = 10.0**power
    unit = f"cells in units of 10{str(power).translate(SUPERSCRIPTS)}"
    if wants_log(finite) or not -3 <= power < 4:
        yield _Way(lambda value: _digits(value, 3))
        yield _Way(lambda value: _digits(value, 2), exact=False)
        yield _Way(lambda value: _bare(_digits(value / tenth, 2)), unit, exact=False)
        yield _Way(_stacked, exact=False)
        return
    places = max(0, 2 - power)
    yield _Way(lambda value: f"{value:.{places}f}")
    yield _Way(lambda value: _bare(f"{value:.{places}f}"))
    if power < -1 or power > 1:
        yield _Way(lambda value: _bare(f"{value / tenth:.2f}"), unit)
        yield _Way(lambda value: _bare(f"{value / tenth:.1f}"), unit, exact=False)
    elif places:
        yield _Way(lambda value: _bare(f"{value:.{places - 1}f}"), exact=False)


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
