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

    `size` 0 means that nothing fits and the cells stay empty.
    """

    write: Callable[[float], str]
    size: float
    unit: str = ""


def fit(values: np.ndarray, width: float, height: float) -> CellText:
    """The most exact way to write all finite values in cells of this width and height (inches)."""
    finite = values[np.isfinite(values)]
    for size in SIZES:
        for write, unit in _ways(finite):
            if all(_fits(write(value), size, width * 0.9, height * 0.9) for value in finite):
                return CellText(write, size, unit)
    return CellText(number, 0)


def _fits(text: str, size: float, width: float, height: float) -> bool:
    lines = text.split("\n")
    wide = max(text_width(line, size) for line in lines)
    return wide <= width and len(lines) * size * 1.2 / 72 <= height


def _ways(finite: np.ndarray) -> Iterator[tuple[Callable[[float], str], str]]:
    """Ways to write the values, best first, each with the unit that must be told."""
    if not finite.size:
        yield number, ""
        return
    if np.all(finite == np.round(finite)) and np.abs(finite).max() < 1e6:
        yield lambda value: f"{value:.0f}", ""
        return
    power = int(np.floor(np.log10(np.abs(finite).max())))
    unit = f"cells in units of 10{str(power).translate(SUPERSCRIPTS)}"
    if wants_log(finite) or not -3 <= power < 4:
        yield from ((lambda value, n=n: number(value, n), "") for n in (3, 2))
        yield lambda value: _bare(number(value / 10.0**power, 2)), unit
        yield _stacked, ""
        return
    places = max(0, 2 - power)
    yield lambda value: f"{value:.{places}f}", ""
    yield lambda value: _bare(f"{value:.{places}f}"), ""
    if power < -1 or power > 1:
        yield lambda value: _bare(f"{value / 10.0**power:.1f}"), unit
    elif places:
        yield lambda value: _bare(f"{value:.{places - 1}f}"), ""


def _bare(text: str) -> str:
    """A decimal without its leading zero, as `.95`."""
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _stacked(value: float) -> str:
    """Two digits, with the power of ten on a line of its own where there is one."""
    if value == 0 or 0.01 <= abs(value) < 1000:
        return _bare(number(value, 2))
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}\ne{int(exponent)}"
