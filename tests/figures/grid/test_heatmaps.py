from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from saesweep.figures.grid.cell_text import fit
from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.grid.heatmaps import Panel, best_cells, colour_norm, heatmap
from saesweep.figures.labels import spread
from saesweep.figures.style import LOSSES, PlainNumbers, level, number, text_width, wrap
from saesweep.metrics.references import References
from saesweep.sparsity import AXES


def grid_of(sizes: list[int], ratios: list[float], l1: list[float]) -> Grid:
    return Grid(sizes, ratios, l1, AXES["l1"])


TOY = grid_of([24, 48], [4, 8], [0.01, 0.01778, 0.03162, 0.05623, 0.1, 0.1778])
LARGE = grid_of(
    [2**k for k in range(6, 14)],
    [2.0**k for k in range(-3, 5)],
    [10 ** (k / 4) for k in range(-8, 9)],
)
CAPTION = [
    "mmcs: mean over true features of the largest signed cosine with an atom.",
    LOSSES["sum"],
]


def panel(values: np.ndarray, title: str = "") -> Panel:
    return Panel(values, np.full(values.shape, "done", dtype="<U8"), title)


def draw(values: np.ndarray, grid: Grid = TOY, direction: str | None = "lower", **kwargs) -> Figure:
    return heatmap([panel(values)], grid, title="A title", direction=direction, **kwargs)


def outlined(figure: Figure) -> list[tuple[int, int]]:
    """Rows and columns of the outlined cells of the first panel."""
    frames = [p for p in figure.axes[0].patches if p.get_gid() == "best black"]
    return [(int(f.get_y() + 0.5), int(f.get_x() + 0.5)) for f in frames]


def cell_words(figure: Figure) -> dict[tuple[int, int], str]:
    texts = figure.axes[0].texts
    return {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in texts}


def hatchings(figure: Figure) -> dict[tuple[int, int], str]:
    """The hatching of each hatched cell of the first panel."""
    found = {}
    for patch in figure.axes[0].patches:
        if patch.get_hatch():
            corners = patch.get_path().vertices.reshape(-1, 5, 2).min(axis=1) + 0.5
            found |= {(int(row), int(column)): patch.get_hatch() for column, row in corners}
    return found


def values_like(grid: Grid, low: float = 0.7, high: float = 0.99) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(low, high, (len(grid.sizes), len(grid.sparsity)))


@pytest.mark.parametrize(
    ("direction", "best"), [("lower", [(1, 2)]), ("higher", [(0, 5)]), (None, [])]
)
def test_the_best_cell_is_outlined(direction, best, readable):
    values = np.full((2, 6), 0.5)
    values[1, 2], values[0, 5] = 0.1, 0.9
    figure = draw(values, direction=direction)
    assert outlined(figure) == best
    said = f"{direction} is better, best outlined"
    assert (said in readable(figure)) == (direction is not None)


def test_ties_are_all_outlined_and_equal_cells_are_not(readable):
    values = np.array([[0.0, 0, 1, 2, 3, 4], [5.0, 6, 7, 8, 9, 9]])
    assert outlined(draw(values)) == [(0, 0), (0, 1)]
    assert outlined(draw(values, direction="higher")) == [(1, 4), (1, 5)]
    equal = draw(np.full((2, 6), 3.0))
    assert outlined(equal) == []
    assert "lower is better; all cells equal" in readable(equal)
    assert len(equal.axes) == 1  # no colour bar: there is nothing to scale


@pytest.mark.parametrize(("ties", "told"), [(45, True), (46, False), (8, True)])
def test_of_many_that_tie_for_the_best_none_is_outlined(ties, told, readable):
    values = np.arange(1.0, 137.0).reshape(8, 17)
    values.flat[:ties] = 0.0
    figure = draw(values, LARGE)
    assert len(outlined(figure)) == (ties if told else 0)
    said = f"best outlined ({ties} tie)" if told else f"lower is better; {ties} tie for best"
    assert said in " ".join(readable(figure))


def test_few_that_tie_are_outlined_also_in_a_small_grid():
    values = np.array([[0.0, 0, 0, 0, 1, 2], [0, 0, 0, 0, np.nan, 3]])
    assert len(outlined(draw(values))) == 8  # more than a third, but no more than eight
    values[1, 4] = 0
    assert outlined(draw(values)) == []


def test_cells_without_a_number_are_never_the_best():
    values = np.array([[np.nan, -np.inf, 2.0], [np.inf, 1.0, 3.0]])
    assert np.argwhere(best_cells(values, "lower")).tolist() == [[1, 1]]
    assert np.argwhere(best_cells(values, "higher")).tolist() == [[1, 2]]
    assert not best_cells(np.full((2, 2), np.nan), "lower").any()


def test_cells_without_a_number_are_hatched_and_say_why(readable):
    values = values_like(TOY)
    states = np.full(values.shape, "done", dtype="<U8")
    values[0, 0] = np.nan
    values[0, 1] = np.inf
    # What a failed or waiting cell holds must not be drawn, whatever it is.
    states[0, 2], states[1, 3], states[1, 4], states[1, 5] = (
        "failed",
        "waiting",
        "absent",
        "damaged",
    )
    values[0, 2], values[1, 3] = 0.0, 1e9
    figure = heatmap([Panel(values, states)], TOY, title="t", direction="lower")
    words = readable(figure)
    hatched = hatchings(figure)
    assert set(hatched) == {(0, 0), (0, 1), (0, 2), (1, 3), (1, 5)}
    assert len(set(hatched.values())) == 5
    said = cell_words(figure)
    assert [said[0, 0], said[0, 1], said[0, 2], said[1, 3]] == ["n/a", "∞", "failed", "–"]
    assert (1, 4) not in said
    assert "n/a: not defined for this cell" in words
    assert "–: not trained yet" in words
    colours = figure.axes[0].images[0].get_array()
    assert np.all(colours[0, 0] == 1)  # white under the hatching, not the colour of zero
    assert outlined(figure) not in ([(0, 2)], [])


def test_cells_hold_their_values():
    values = values_like(TOY)
    written = cell_words(draw(values))
    assert written == {(r, c): f"{values[r, c]:.3f}" for r, c in np.ndindex(values.shape)}
    counts = np.arange(12.0).reshape(2, 6)
    assert cell_words(draw(counts)) == {(r, c): str(r * 6 + c) for r, c in np.ndindex(2, 6)}


@pytest.mark.parametrize(
    ("low", "high"), [(0.1, 0.99), (1e-9, 1e9), (2e-4, 7e-3), (3e5, 8e5), (-4.0, 30.0)]
)
@pytest.mark.parametrize("width", [0.75, 0.28, 0.2])
def test_written_values_are_right_to_the_digits_shown_and_fit(low, high, width):
    values = np.geomspace(low, high, 40) if low > 0 else np.linspace(low, high, 40)
    text = fit(values, width, 0.3)
    assert text.size >= 5.5 or width == 0.2
    if not text.size:
        return
    power = text.unit.partition("10")[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    for value in values:
        written = text.write(value)
        read = float(written.replace("\n", "")) * 10.0 ** int(power or 0)
        assert read == pytest.approx(value, rel=0.06, abs=0.006 * values.max())
        assert max(text_width(line, text.size) for line in written.split("\n")) <= width


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.01, 1.0], Normalize),  # two decades and no more
        ([0.009, 1.0], LogNorm),
        ([0.0, 1e6], Normalize),  # zero has no logarithm
        ([-1.0, 1e6], Normalize),
        ([1e-300, 1e300], LogNorm),
        ([np.nan, np.inf, 1.0, 5.0], Normalize),
    ],
)
def test_the_colour_scale_is_logarithmic_only_when_warranted(values, kind):
    assert type(colour_norm(np.array(values))) is kind


def test_differences_that_are_not_written_do_not_span_all_colours(readable):
    values = 0.9272 + np.linspace(0, 1e-6, 12).reshape(2, 6)
    figure = draw(values)
    colours = np.asarray(figure.axes[0].images[0].get_array())
    assert np.ptp(colours, axis=(0, 1)).max() < 0.01
    assert outlined(figure) == [(0, 0)]
    assert not any("e" in words and "+" in words for words in readable(figure))


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([0.92, 0.94, 0.96], ["0.92", "0.94", "0.96"]),
        ([0, 0.05, 0.1], ["0.00", "0.05", "0.10"]),
        ([-20, 0, 20], ["−20", "0", "20"]),
        ([0, 2e7, 4e7], ["0", "2e7", "4e7"]),
        ([2e-6, 2.5e-6, 3e-6], ["2e-6", "2.5e-6", "3e-6"]),
        ([5], ["5"]),
        ([], []),
    ],
)
def test_tick_labels(places, words):
    assert PlainNumbers().format_ticks(places) == words


@pytest.mark.parametrize("values", [[np.nan, np.nan], [2.0, 2.0], [3.0, np.nan], []])
def test_there_is_no_scale_without_a_range(values):
    assert colour_norm(np.array(values)) is None


def test_a_log_scale_is_said(readable):
    values = np.geomspace(1e-6, 10, 12).reshape(2, 6)
    assert "log scale" in readable(draw(values))
    assert "log scale" not in readable(draw(values_like(TOY)))


def test_numbers_contrast_with_their_cells():
    figure = draw(np.linspace(0, 1, 12).reshape(2, 6))
    colours = np.asarray(figure.axes[0].images[0].get_array())

    def luminance(rgb):
        return float(np.dot(np.asarray(rgb[:3]) ** 2.2, (0.2126, 0.7152, 0.0722)))

    for text in figure.axes[0].texts:
        column, row = map(int, text.get_position())
        pair = luminance(colours[row, column]), {"white": 1.0, "black": 0.0}[text.get_color()]
        assert (max(pair) + 0.05) / (min(pair) + 0.05) > 4


def test_axes_show_real_values(readable):
    words = readable(draw(values_like(TOY)))
    expected = {"4× (24)", "8× (48)", "0.01", "0.0178", "0.178", "L1 penalty α"}
    assert expected | {"dictionary ratio (size)"} <= set(words)
    unknown = grid_of([24, 48], [float("nan")] * 2, TOY.sparsity)
    assert {"24", "48", "dictionary size"} <= set(readable(draw(values_like(TOY), unknown)))


def test_baselines_stand_in_the_margin_and_on_the_colour_bar(readable):
    references = References(
        {"chance": [0.714, 0.82], "k-means": [0.9, np.nan]},
        # Close together inside, and one outside the range of the cells.
        {"PCA": 0.8, "ICA": 0.801, "truth": 0.802, "far": 7.0},
    )
    figure = draw(values_like(TOY), direction="higher", references=references, caption=CAPTION)
    words = readable(figure)
    assert {"chance", "0.71", "0.82", "k-means", "0.90", "–", "PCA", "ICA", "truth"} <= set(words)
    assert "far" not in words


SHAPES = [
    TOY,
    LARGE,
    grid_of([24], [4], [0.03]),
    grid_of([24, 48, 96], [4, 8, 16], [0.01, 0.1]),
    grid_of([2**k for k in range(4, 24)], [float("nan")] * 20, [0.0, 1e-12]),
    grid_of(list(range(10, 60)), [float("nan")] * 50, list(np.logspace(-4, 0, 60))),
]


@pytest.mark.parametrize("grid", SHAPES, ids=lambda g: f"{len(g.sizes)}x{len(g.sparsity)}")
@pytest.mark.parametrize("kind", ["shares", "decades", "counts", "blank"])
def test_nothing_overlaps_or_is_cut_off(grid, kind, readable):
    values = values_like(grid)
    if kind == "decades":
        values = 10 ** (20 * values - 18)
    elif kind == "counts":
        values = np.round(values * 5000)
    states = np.full(values.shape, "done", dtype="<U8")
    if kind == "blank":
        states[...] = "waiting"
        states[0, 0], states[-1, -1] = "failed", "damaged"
        states[: len(states) // 2, -1] = "done"
        values[0] = np.nan
    references = References(
        {"chance": np.full(len(grid.sizes), 0.71), "k-means": np.full(len(grid.sizes), 1e-9)},
        {"PCA": 0.81, "ICA": 0.812, "truth": 0.813},
    )
    figure = heatmap(
        [Panel(values, states)],
        grid,
        title="Mean Max Cosine Similarity w/ True",
        direction="higher",
        caption=CAPTION,
        references=references,
    )
    words = readable(figure)
    assert figure.get_figwidth() <= 6.5
    assert ("cells too small" in " ".join(words)) == (len(grid.sizes) == 50)


@pytest.mark.parametrize(("grid", "count"), [(TOY, 3), (TOY, 9), (LARGE, 2), (LARGE, 6)])
def test_panels_share_one_scale_and_stay_readable(grid, count, readable):
    names = [f"train.lr={10.0**-k:g}, seed={k}" for k in range(count)]
    values = [values_like(grid) + 0.001 * k for k in range(count)]
    panels = [panel(v, name) for v, name in zip(values, names, strict=True)]
    references = References({"chance": np.full(len(grid.sizes), 0.71)}, {"PCA": 0.8})
    figure = heatmap(
        panels, grid, title="A title", direction="higher", caption=CAPTION, references=references
    )
    words = " ".join(readable(figure))
    assert all(f"seed={k}" in words for k in range(count))
    frames = [p for a in figure.axes for p in a.findobj(Rectangle) if p.get_gid() == "best black"]
    assert len(frames) == 1
    assert outlined(figure) == []  # the best is in the last panel


@given(
    st.lists(st.floats(0, 1), max_size=8),
    st.floats(0.01, 0.1),
)
def test_spread_labels_keep_their_order_and_distance(positions, gap):
    placed = spread(positions, gap, 0, 1)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in placed)
    order = np.argsort(positions, kind="stable")
    assert np.all(np.diff(np.array(placed)[order]) >= gap - 1e-9)


def test_spread_leaves_labels_that_do_not_collide():
    assert spread([0.9, 0.1, 0.5], 0.2, 0, 1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.01, "0.01"), (0.01778, "0.0178"), (1e-5, "1e-5"), (24, "24"), (1024, "1024"), (0, "0")],
)
def test_number(value, written):
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(0.7, "0.70"), (0.0819, "0.082"), (64.0, "64"), (float("nan"), "–")]
)
def test_level(value, written):
    assert level(value) == written


def test_wrap_fills_lines_up_to_the_width():
    text = "one two three four five six seven"
    lines = wrap(text, 1.0)
    assert " ".join(lines) == text
    assert 1 < len(lines) < 7
    assert all(text_width(line) <= 1.0 for line in lines)
    assert wrap("unbreakable", 0.1) == ["unbreakable"]
    assert wrap("", 1.0) == []


def with_seeds(grid: Grid, count: int = 4) -> Panel:
    """Means of `count` seeds, with spreads from 0.001 to 0.02."""
    values = values_like(grid)
    spreads = np.random.default_rng(1).uniform(0.001, 0.02, values.shape)
    states = np.full(values.shape, "done", dtype="<U8")
    return Panel(values, states, "", spreads, np.full(values.shape, count), count)


def words_in_cells(figure: Figure) -> dict[tuple[int, int], list[str]]:
    """What is written in each cell of the first panel, from top to bottom."""
    found: dict[tuple[int, int], list[tuple[float, str]]] = {}
    for text in figure.axes[0].texts:
        column, row = text.get_position()
        found.setdefault((round(row), round(column)), []).append((row, text.get_text()))
    return {place: [words for _, words in sorted(lines)] for place, lines in found.items()}


@pytest.mark.parametrize("grid", [TOY, LARGE], ids=["12", "136"])
def test_spreads_stand_below_the_means(grid, readable):
    given = with_seeds(grid)
    figure = heatmap([given], grid, title="t", direction="higher")
    words = readable(figure)
    assert "higher is better, best outlined; mean ± standard deviation over 4 seeds" in words
    for place, lines in words_in_cells(figure).items():
        mean, spread = lines
        assert float(mean) == pytest.approx(given.values[place], abs=5.1e-4)
        assert spread.startswith("±")
        assert float(spread[1:]) == pytest.approx(given.spreads[place], abs=5.1e-4)
    assert outlined(figure) == [np.unravel_index(given.values.argmax(), given.values.shape)]


def test_where_spreads_have_no_room_the_note_says_so(readable):
    given = with_seeds(grid := grid_of(list(range(1, 21)), [float("nan")] * 20, LARGE.sparsity))
    figure = heatmap([given], grid, title="t", direction=None)
    assert "mean over 4 seeds, no room for standard deviations" in readable(figure)
    assert all(len(lines) == 1 for lines in words_in_cells(figure).values())


def test_cells_with_fewer_seeds_have_a_cut_corner(readable):
    given = with_seeds(TOY)
    given.counts[0, 1], given.counts[1, 2], given.counts[1, 5] = 3, 1, 0
    given.spreads[1, 2] = given.values[1, 5] = given.spreads[1, 5] = np.nan
    given.states[1, 5] = "failed"
    figure = heatmap([given], TOY, title="t", direction="lower")
    words = readable(figure)
    assert "cut corner: mean over fewer than 4 seeds" in words
    corners = [p.get_xy().mean(axis=0) for p in figure.axes[0].patches if p.get_gid() == "fewer"]
    assert [(round(y), round(x)) for x, y in corners] == [(0, 1), (1, 2)]
    assert len(words_in_cells(figure)[1, 2]) == 1  # one seed has no spread
    complete = heatmap([with_seeds(TOY)], TOY, title="t", direction="lower")
    assert not any("corner" in words for words in readable(complete))


@pytest.mark.parametrize(
    ("values", "spreads", "mean", "spread"),
    [
        ([2.75, 3.0], [0.5, np.nan], "2.75", "±0.50"),  # counts, averaged
        ([3.0, 3.0], [0.0, 0.0], "3", "±0"),
        ([3.0, 4.0], [1.41421, 0.0], "3.00", "±1.41"),
        ([2e-7, 5e-2], [3e-8, 1e-2], "2.00e-7", "±3.0e-8"),
        ([0.0, 0.0], [0.0, 0.0], "0", "±0"),
        ([12345.6, 20000.0], [100.0, 1.0], "1.23e4", "±1.0e2"),
    ],
)
def test_spreads_are_written_like_their_values(values, spreads, mean, spread):
    text = fit(np.array(values), 0.8, 0.4, np.array(spreads))
    assert [words for words, _ in text.lines(values[0], spreads[0])] == [mean, spread]
    assert text.spread_size < text.size
    assert len(text.lines(values[0])) == 1
