"""What all still figures share."""

from __future__ import annotations

import numpy as np

from saesweep.figures.grid.curves import CurvePanel, Line, training_curves
from saesweep.figures.style import Sheet
from saesweep.sparsity import AXES

NAME = "runs/a$x_$/b$\\frac$"


def test_names_with_dollars_are_no_formulas(readable):
    sheet = Sheet(NAME, f"note {NAME}", 1.0, [f"caption {NAME}"])
    sheet.text(0.1, 0.5, f"body {NAME}")
    words = readable(sheet.figure)
    assert words == [NAME, f"note {NAME}", f"caption {NAME}", f"body {NAME}"]


def test_nor_are_those_of_variants(readable):
    lines = [Line(np.arange(3.0), np.arange(3.0) + k, 0.1, k) for k in range(2)]
    figure = training_curves(
        [CurvePanel("8", lines)], title="t", axis=AXES["l1"], variants=["a=$x_$", "a=y"]
    )
    assert "a=$x_$" in readable(figure)
