"""Recovery against probability: the running mean by loops, and panels with the right dots."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from saesweep.config_file import parse_config
from saesweep.figures.grid.heatmap_page import Grid
from saesweep.figures.recovery.probability import (
    Found,
    draw_probability,
    probability_figure,
    running_mean,
    window,
)
from saesweep.run_folder import Run
from saesweep.sparsity import AXES

RNG = np.random.default_rng(0)


def grid_of(sizes: int, penalties: int) -> Grid:
    ratios = [2.0**k for k in range(-1, sizes - 1)]
    l1 = [float(f"{x:.3g}") for x in np.logspace(-2, 1, penalties)]
    return Grid(
        sizes=[int(32 * ratio) for ratio in ratios], ratios=ratios, sparsity=l1, axis=AXES["l1"]
    )


def found_in(grid: Grid, n: int, seeds: int = 1) -> dict[tuple[int, float], Found]:
    return {
        (size, l1): Found(RNG.uniform(0.1, 1, (seeds, n)))
        for size in grid.sizes
        for l1 in grid.sparsity
    }


def decaying(n: int, decay: float = 0.9) -> np.ndarray:
    return 0.3 * decay ** np.arange(n)


def dots(figure) -> np.ndarray:
    (line,) = (one for one in figure.axes[0].lines if one.get_marker() == "o")
    return np.asarray(line.get_xydata())


def test_the_running_mean_is_that_of_whole_windows():
    p = decaying(20)[RNG.permutation(20)]
    cosines = RNG.uniform(0, 1, (2, 20))
    wide = window(40)
    assert wide == 5
    # The two cells of one feature tie, come one after the other, and count with their mean.
    means = np.tile(cosines.mean(axis=0), 2)
    order = sorted(range(40), key=lambda k: (np.tile(p, 2)[k], k))
    expected = []
    for first in range(40 - wide + 1):
        inside = order[first : first + wide]
        logs = [np.log(np.tile(p, 2)[k]) for k in inside]
        expected.append((np.exp(np.mean(logs)), np.mean([means[k] for k in inside])))
    np.testing.assert_allclose(running_mean(p, cosines, log=True), expected)


def test_where_all_are_equally_likely_the_line_is_the_mean_of_all():
    cosines = RNG.uniform(0, 1, (1, 9))
    line = running_mean(np.arange(9.0), cosines, log=False)
    np.testing.assert_allclose(line, [[0, cosines.mean()], [8, cosines.mean()]])


def test_each_feature_is_a_dot_where_its_probability_and_cosine_are():
    grid, p = grid_of(2, 3), np.array([0.1, 0.01, 0.001])
    found = found_in(grid, 3)
    for place in found:
        found[place] = Found(np.array([[1.0, 0.5, 0.25]]))
    figure = probability_figure(p, found, grid, 0.9)
    panels = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(panels) == 6
    for k, panel in enumerate(panels):
        place = dots(figure)[3 * k : 3 * k + 3]
        x = (place[:, 0] - panel.get_x()) / panel.get_width()
        y = 1 - (place[:, 1] - panel.get_y()) / panel.get_height()
        np.testing.assert_allclose(x, [0.94, 0.5, 0.06])  # log scale, and a margin
        np.testing.assert_allclose(y, [0.94, 0.06 + 0.88 / 3, 0.06], atol=1e-9)  # 0.25 to 1


@pytest.mark.parametrize(
    ("sizes", "penalties", "n"), [(1, 1, 6), (2, 6, 6), (8, 6, 64), (8, 17, 512), (20, 30, 8)]
)
def test_it_is_readable(sizes, penalties, n, readable):
    grid = grid_of(sizes, penalties)
    found = found_in(grid, n)
    words = ("failed", "waiting", "damaged")
    for word, place in zip(words, list(found)[1::2], strict=False):
        found[place] = Found(np.empty((0, 0)), word)
    said = readable(probability_figure(decaying(n, 0.99), found, grid, 0.9))
    assert any("probability (log scale)" in one for one in said)
    assert len(found) == 1 or any("1 failed" in one for one in said)
    if sizes * penalties in (12, 48):
        assert set(words) <= set(said)


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (np.full(6, 0.2), "all features are equally likely (p = 0.2)"),
        (np.array([0.2, 0.19, 0.18]), "nearly equal: they differ by 11 %"),
        (np.array([0.2]), "all features are equally likely"),
        (np.array([0.5, 1e-20, 0.0]), "probabilities from 0 to 0.5"),
    ],
)
def test_the_note_tells_how_far_probabilities_differ(p, said, readable):
    grid = grid_of(1, 2)
    figure = probability_figure(p, found_in(grid, len(p)), grid, 0.9)
    assert said in " ".join(readable(figure))
    assert np.isfinite(dots(figure)).all()


def test_a_grid_without_any_cell_that_is_done(readable):
    grid = grid_of(2, 2)
    found = {place: Found(np.empty((0, 0)), "failed") for place in found_in(grid, 1)}
    words = readable(probability_figure(decaying(4), found, grid, 0.9))
    assert words.count("failed") == 4


def test_the_dots_of_a_run_are_its_last_snapshots(finished, tmp_path, readable):
    shutil.copytree(finished.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    (run.folder(run.cells[0]).path / "result.json").unlink()
    ((stem, figure),) = draw_probability(run)
    assert stem == "mmcs_by_probability"
    assert "interrupted" in readable(figure)
    assert len(dots(figure)) == 3 * run.config.data.n_features
    panels = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[0] == 1]
    top = max(float(run.snapshots(cell)["best_cosine"][-1].max()) for cell in run.cells[1:])
    heights = {(round(p.get_y(), 6), p.get_height()) for p in panels}
    ups = [1 - (dots(figure)[:, 1] - y) / high for y, high in heights]
    inside = np.concatenate([up[(up > 0) & (up < 1)] for up in ups])
    values = [run.snapshots(cell)["best_cosine"][-1].min() for cell in run.cells[1:]]
    low = np.floor(min(0.5, *values) * 4) / 4
    assert inside.max() == pytest.approx(0.06 + 0.88 * (top - low) / (1 - low), abs=1e-5)


SEEDS = """
data: {activation_dim: 3, n_features: 4, mean_active: 1}
grid: {l1: [0.1], dict_ratio: [2], seed: [0, 1, 2], train.lr: LR}
"""


def test_seeds_share_a_panel_and_other_axes_have_a_figure_each(tmp_path, finished, readable):
    rates = [round(0.001 * k, 4) for k in range(1, 11)]
    run = Run.create(parse_config(SEEDS.replace("LR", str(rates))), tmp_path, "seeds")
    (run.path / "data").mkdir()
    shutil.copy(finished.path / "data" / "ground_truth.safetensors", run.path / "data")
    figures = dict(draw_probability(run))
    assert list(figures) == [f"mmcs_by_probability_train.lr={rate:g}" for rate in rates[:8]]
    words = " ".join(readable(figures["mmcs_by_probability_train.lr=0.002"]))
    assert "fires: train.lr=0.002" in words
    assert "first 8 of 10 combinations" in words
    assert words.count("waiting") == 2  # in the panel, and in the caption
    pooled = probability_figure(decaying(4), found_in(grid_of(1, 1), 4, 3), grid_of(1, 1), 0.9)
    assert len(dots(pooled)) == 12
    assert "up to 3, are pooled" in " ".join(readable(pooled))


def test_the_caption_tells_what_stands_at_the_edge_and_windows_that_differ(readable):
    grid = grid_of(1, 2)
    p = np.append(decaying(30), [1e-8, 0.0])
    same = " ".join(readable(probability_figure(p, found_in(grid, 32), grid, 0.9)))
    assert "left edge: features less probable than 1e-6 of the most probable (2)." in same
    assert "the running mean of 5 neighbours in probability" in same
    found = found_in(grid, 32)
    (first, _) = found
    found[first] = Found(RNG.uniform(0.1, 1, (3, 32)))
    words = " ".join(readable(probability_figure(decaying(32), found, grid, 0.9)))
    assert "left edge" not in words
    assert (
        "the running mean of 5 to 13 neighbours in probability, about 1 in 8 of a panel's dots"
        in words
    )
