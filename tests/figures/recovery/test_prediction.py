"""The figure of what predicts MMCS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from scipy.stats import spearmanr

from saesweep.catalogue import METRICS
from saesweep.figures.recovery.prediction import draw_prediction, prediction_figure
from saesweep.metrics.prediction import PREDICTORS


def table(penalties: int, sizes: int, failed: int = 0) -> list[dict[str, Any]]:
    """Rows with metrics of their own; the largest size has no mmcs_larger."""
    rng = np.random.default_rng(0)
    rows = []
    for size in [8 * 2**k for k in range(sizes)]:
        for l1 in np.logspace(-2, 2, penalties).tolist():
            row = {"cell": f"l1={l1:.4g}_dict={size}", "l1_penalty": l1, "dict_size": size}
            values = dict(zip(METRICS, rng.uniform(0.1, 1, len(METRICS)).tolist(), strict=True))
            rows.append({**row, "state": "done", **values})
            if size == 8 * 2 ** (sizes - 1):
                rows[-1] |= {"mmcs_larger": math.nan, "mmcs_next_larger": math.nan}
    for row in rows[:failed]:
        row |= {"state": "failed", **dict.fromkeys(METRICS, math.nan)}
    return rows


def dots(axes: Any) -> np.ndarray:
    found = [c.get_offsets() for c in axes.collections if isinstance(c, PathCollection)]
    return np.concatenate([np.empty((0, 2)), *found])


@pytest.mark.parametrize(("penalties", "sizes"), [(1, 1), (17, 8), (20, 12)])
def test_it_is_readable(penalties, sizes, readable):
    words = readable(prediction_figure(table(penalties, sizes)))
    assert "recon_loss (lower is better)" in words
    assert ("mmcs_next_larger (higher is better)" in words) == (sizes > 1)
    assert ("no cell has both" in words) == (sizes == 1)


def test_each_cell_is_a_dot_those_without_a_value_in_a_strip(readable):
    rows = table(6, 3, failed=2)
    figure = prediction_figure(rows)
    readable(figure)
    main, strip = figure.axes[:2]
    known = [(r["mmcs_larger"], r["mmcs"]) for r in rows[2:12]]
    np.testing.assert_allclose(sorted(dots(main).tolist()), sorted(map(list, known)))
    np.testing.assert_allclose(sorted(dots(strip)[:, 1]), sorted(r["mmcs"] for r in rows[12:]))
    assert main.get_ylim() == strip.get_ylim()


def test_the_chosen_and_the_best_cell_are_marked_and_named():
    rows = table(6, 3)
    figure = prediction_figure(rows)
    chosen = max(rows[:12], key=lambda row: row["mmcs_larger"])
    best = max(rows, key=lambda row: row["mmcs"])
    marks = {line.get_gid(): line for axes in figure.axes for line in axes.lines if line.get_gid()}
    assert marks["chosen"].get_xydata().tolist() == [[chosen["mmcs_larger"], chosen["mmcs"]]]
    assert marks["best"].get_ydata() == [best["mmcs"]]
    said = " ".join(text.get_text() for text in figure.texts)
    assert f"would choose {chosen['cell']}" in said
    assert f"best is {best['cell']}" in said


def test_it_is_drawn_of_a_run(finished, readable):
    ((stem, figure),) = draw_prediction(finished)
    assert stem == "prediction"
    words = " ".join(readable(figure))
    assert "over 2 cells with mmcs_larger: Spearman's ρ n/a" in words


def test_nothing_done_is_no_crash(readable):
    assert "no cell has both" in readable(prediction_figure(table(3, 2, failed=6)))


def test_correlations_are_turned_where_lower_is_better():
    rows = table(6, 3)
    figure = prediction_figure(rows)
    axes = next(a for a in figure.axes if "Spearman" in a.get_xlabel())
    for key, sign in (("fvu", -1), ("mmcs_larger", 1)):
        known = [row for row in rows if math.isfinite(row[key])]
        level = PREDICTORS.index(key)
        parts = [known, *([r for r in known if r["dict_size"] == size] for size in (8, 16, 32))]
        expected = [
            sign * spearmanr([r[key] for r in part], [r["mmcs"] for r in part]).statistic
            if part
            else math.nan
            for part in parts
        ]
        rings, dot = (line for line in axes.lines if set(line.get_ydata()) == {level})
        np.testing.assert_allclose([*dot.get_xdata(), *rings.get_xdata()], expected)
    assert METRICS["fvu"].direction == "lower"
    assert METRICS["mmcs_larger"].direction == "higher"
