from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from saesweep.figures.grid.curves import CurvePanel, Line, training_curves
from saesweep.figures.grid.trade_off import Front, trade_off
from saesweep.figures.style import LOSSES, rank_colours, wants_log
from saesweep.sparsity import AXES

ALPHA = AXES["l1"]
L1 = [0.01, 0.01778, 0.03162, 0.05623, 0.1, 0.1778]
MANY_L1 = [10 ** (k / 4) for k in range(-8, 9)]
SIZES = [64, 128, 256, 512, 1024, 2048, 4096, 8192]
CAPTION = [LOSSES["mean"]]
EPOCHS = np.arange(0, 101.0)


def falling(l1: float) -> np.ndarray:
    return np.exp(-EPOCHS / 30) * 0.5 + l1


def panels(sizes, l1=L1, variants=1, levels=None) -> list[CurvePanel]:
    return [
        CurvePanel(
            f"4× ({size})",
            [Line(EPOCHS, falling(a) + v / 50, a, v) for a in l1 for v in range(variants)],
            levels or {},
        )
        for size in sizes
    ]


def curves_of(figure: Figure, panel: int = 0) -> list:
    """The lines of a panel that are no reference levels (which have two points)."""
    return [line for line in figure.axes[panel].lines if len(line.get_xdata()) > 2]


def test_each_cell_is_a_line_coloured_by_its_penalty():
    figure = training_curves(panels([24, 48]), title="Loss over training", axis=ALPHA)
    colours = rank_colours(L1)
    for panel in (0, 1):
        lines = curves_of(figure, panel)
        assert [to_rgba(line.get_color()) for line in lines] == [colours[a] for a in L1]
        np.testing.assert_array_equal(lines[2].get_xdata(), EPOCHS)
        np.testing.assert_array_equal(lines[2].get_ydata(), falling(L1[2]))


def test_penalties_are_coloured_by_rank_so_that_zero_is_one_too():
    colours = rank_colours([1.0, 0.0, 1e-6])
    assert len(set(colours.values())) == 3
    brightness = [sum(colours[value][:3]) for value in (0.0, 1e-6, 1.0)]
    assert brightness == sorted(brightness)
    assert rank_colours([]) == {}


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([0.01, 1.0], False),
        ([0.0099, 1.0], True),
        ([0.0, 1e9], False),
        ([-1.0, 1e9], False),
        ([np.nan, 1.0, np.inf], False),
        ([], False),
    ],
)
def test_log_axes_only_when_warranted(values, logarithmic):
    assert wants_log(np.array(values)) == logarithmic
    line = Line(np.arange(len(values)), np.array(values), 0.1)
    figure = training_curves([CurvePanel("4× (24)", [line])], title="t", axis=ALPHA)
    assert figure.axes[0].get_yscale() == ("log" if logarithmic else "linear")


def test_all_panels_share_their_axes():
    low, high = Line(EPOCHS, falling(0), 0.1), Line(EPOCHS[:50], 9 + falling(0)[:50], 0.1)
    figure = training_curves(
        [CurvePanel("a", [low]), CurvePanel("b", [high])], title="t", axis=ALPHA
    )
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (0, 100)


def test_baselines_are_dashed_and_named(readable):
    levels = {"chance": 0.12, "true features": 1.0, "unknown": float("nan")}
    figure = training_curves(
        panels([24, 48], levels=levels), title="MMCS over training", axis=ALPHA
    )
    dashed = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert all(line.is_dashed() for line in dashed)
    assert [line.get_ydata()[0] for line in dashed] == [0.12, 1.0]
    assert {"chance 0.12", "true features 1.00"} <= set(readable(figure))


def test_levels_are_named_where_least_is_covered(readable):
    # The line runs just above the level on the right: its name belongs below, or to the left.
    line = Line(EPOCHS, np.where(EPOCHS > 20, 0.52, 0.9), 0.1)
    panel = CurvePanel("a", [line], {"chance": 0.5})
    figure = training_curves([panel], title="t", axis=ALPHA)
    readable(figure)
    axes, renderer = figure.axes[0], figure.canvas.get_renderer()
    points = axes.transData.transform(np.column_stack([line.x, line.y]))
    (text,) = axes.texts
    box = text.get_window_extent(renderer)
    assert not [x for x, y in points if box.x0 < x < box.x1 and box.y0 < y < box.y1]


def test_values_that_are_not_finite_are_gaps(readable):
    values = falling(0.1)
    values[10], values[20] = np.inf, np.nan
    figure = training_curves([CurvePanel("a", [Line(EPOCHS, values, 0.1)])], title="t", axis=ALPHA)
    assert np.flatnonzero(np.isnan(curves_of(figure)[0].get_ydata())).tolist() == [10, 20]
    nothing = CurvePanel("a", [Line(EPOCHS, EPOCHS * np.nan, 0.1)])
    assert "no values" in readable(training_curves([nothing], title="t", axis=ALPHA))
    assert "no values" in readable(training_curves([CurvePanel("a", [])], title="t", axis=ALPHA))


def test_variants_have_a_stroke_each_as_long_as_they_can_be_told_apart(readable):
    names = ["seed=0", "seed=1", "seed=2"]
    figure = training_curves(panels([24], variants=3), title="t", axis=ALPHA, variants=names)
    assert set(names) <= set(readable(figure))
    patterns = {str(line._unscaled_dash_pattern) for line in curves_of(figure)}
    assert len(patterns) == 3
    many = [f"seed={k}" for k in range(9)]
    figure = training_curves(panels([24], variants=9), title="t", axis=ALPHA, variants=many)
    assert not set(many) & set(readable(figure))


@pytest.mark.parametrize(
    ("sizes", "l1"),
    [(SIZES[:1], L1[:1]), (SIZES[:2], L1), (SIZES[:3], L1), (SIZES[:5], L1[:2]), (SIZES, MANY_L1)],
)
def test_curves_are_readable(sizes, l1, readable):
    levels = {"chance": 0.2, "true features": 1.0}
    title = "Fraction of Variance Unexplained over training"
    variants = ["seed=0", "seed=1", "seed=2"] if len(sizes) < 3 else [""]
    figure = training_curves(
        panels(sizes, l1, len(variants), levels),
        title=title,
        axis=ALPHA,
        caption=CAPTION,
        variants=variants,
    )
    words = readable(figure)
    assert words.count("epoch") >= 1
    assert figure.get_figwidth() == 6.5


def front(size: int, l1=L1, variant: int = 0, others: str = "") -> Front:
    penalties = np.array(l1)
    l0 = 3 * size**0.3 / (penalties + 0.01) ** 0.2 + variant
    y = penalties / (1 + penalties) + 8 / size
    return Front(size, ALPHA, penalties, l0, y, others=others)


def points_of(figure: Figure) -> list[np.ndarray]:
    found = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    return [np.asarray(c.get_offsets()) for c in found]


def test_trade_off_shows_each_cell_and_the_truth(readable):
    fronts = [front(24), front(48)]
    figure = trade_off(fronts, title="L0 and FVU", true_l0=1.35, caption=CAPTION)
    for expected, points in zip(fronts, points_of(figure), strict=True):
        np.testing.assert_allclose(points, np.column_stack([expected.l0, expected.y]))
    assert {"24 latents", "48 latents", "true L0 1.35"} <= set(readable(figure))
    (dashed,) = (line for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1)
    assert dashed.get_xdata()[0] == 1.35


def test_trade_off_connects_points_by_penalty_whatever_their_order():
    given = front(24)
    shuffled = Front(24, ALPHA, given.sparsity[::-1], given.l0[::-1], given.y[::-1])
    np.testing.assert_allclose(
        *(points_of(trade_off([f], title="t"))[0] for f in (given, shuffled))
    )


def test_trade_off_leaves_out_cells_without_numbers(readable):
    given = front(24)
    given.y[1], given.l0[3] = np.nan, np.inf
    assert len(points_of(trade_off([given], title="t"))[0]) == 4
    given.y[:] = np.nan
    words = readable(trade_off([given], title="t", true_l0=1.35))
    assert {"no cell has a value", "true L0 1.35"} <= set(words)


@pytest.mark.parametrize(
    ("count", "l1", "variants"),
    [(1, L1[:1], 1), (1, L1, 3), (2, L1, 1), (2, MANY_L1, 3), (8, MANY_L1, 1), (8, L1, 3)],
)
def test_trade_off_is_readable(count, l1, variants, readable):
    names = [f"seed={v}" for v in range(variants)] if variants > 1 else [""]
    fronts = [front(size, l1, v, name) for size in SIZES[:count] for v, name in enumerate(names)]
    figure = trade_off(fronts, title="t", true_l0=5, caption=CAPTION)
    words = readable(figure)
    assert all(f"{size} latents" in words for size in SIZES[:count])
    assert all(name in words for name in names if name)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_bands_are_filled_from_end_to_end_in_the_colour_of_their_line(logarithmic, readable):
    y = falling(0.01) if logarithmic else falling(0.01) + 1
    line = Line(EPOCHS, y, 0.1, 0, np.stack([y / 2, y * 3]))
    other = Line(EPOCHS, y, 0.2)
    figure = training_curves([CurvePanel("a", [line, other])], title="t", axis=ALPHA)
    readable(figure)
    axes = figure.axes[0]
    assert axes.get_yscale() == ("log" if logarithmic else "linear")
    low, high = axes.get_ylim()
    assert low < y.min() / 2 < y.max() * 3 < high
    fill, edge = (c for c in axes.collections if isinstance(c, PolyCollection))
    for band in (fill, edge):
        (path,) = band.get_paths()
        assert (path.vertices[:, 1].min(), path.vertices[:, 1].max()) == pytest.approx(
            ((y / 2).min(), (y * 3).max())
        )
    assert tuple(fill.get_facecolor()[0][:3]) == rank_colours([0.1, 0.2])[0.1][:3]


def test_bars_go_through_the_points_of_the_trade_off(readable):
    given = front(24)
    l0_bars, fvu_bars = np.stack([given.l0 - 1, given.l0 + 2]), given.y * [[0.5], [1.5]]
    given.y[2] = np.nan
    barred = Front(24, ALPHA, given.sparsity, given.l0, given.y, "relu", "", l0_bars, fvu_bars)
    figure = trade_off([barred, front(48)], title="t")
    words = readable(figure)
    assert {"24 latents", "48 latents"} <= set(words)
    axes = figure.axes[0]
    assert axes.get_xlim()[1] > l0_bars.max()
    drawn = [c for c in axes.collections if isinstance(c, LineCollection)]
    segments = [segment for c in drawn for segment in c.get_segments()]
    across = [s for s in segments if s[0, 1] == s[1, 1]]
    upright = [s for s in segments if s[0, 0] == s[1, 0]]
    kept = np.isfinite(given.y)
    np.testing.assert_allclose([s[:, 0] for s in across], l0_bars.T[kept])
    np.testing.assert_allclose([s[:, 1] for s in upright if len(s)], fvu_bars.T)
