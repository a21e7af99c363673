from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from saesweep.config import SweepConfig
from saesweep.data_config import HierarchyConfig
from saesweep.figures.data import codes, geometry
from saesweep.figures.data.caption import describe
from saesweep.figures.data.codes import draw_codes, draw_norms, names_of
from saesweep.figures.data.correlation import draw_correlation
from saesweep.figures.data.draw import draw_data
from saesweep.figures.data.frequency import draw_frequency
from saesweep.figures.data.geometry import draw_gaussians, draw_samples, project, sum_of
from saesweep.figures.data.hierarchy import draw_hierarchy, tree
from saesweep.figures.data.magnitudes import draw_magnitudes
from saesweep.figures.style import BLUE, GREEN, RED

NAMES = ["gaussians.png", "samples.png", "feature_frequency.png", "correlation.png"]


def config_of(d: int, n: int, **data) -> SweepConfig:
    data = {"activation_dim": d, "n_features": n, "mean_active": 1.0, **data}
    return SweepConfig.model_validate({"data": data, "grid": {"l1": [0.1], "dict_size": [8]}})


def truth_of(d: int, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What a run keeps of its data, made with numpy alone."""
    rng = np.random.default_rng(seed)
    gaussians = rng.standard_normal((n, d)).astype(np.float32)
    features = gaussians / np.linalg.norm(gaussians, axis=1, keepdims=True)
    probabilities = np.full(n, min(0.9, 1.5 / n))
    sample_codes = np.where(rng.random((12, n)) < probabilities, rng.random((12, n)), 0)
    u = rng.random((n, n))
    fires = rng.random((4096, n)) < 0.3
    return {
        "features": features,
        "gaussians": gaussians,
        "probabilities": probabilities,
        "frequencies": rng.binomial(500, probabilities, (64, n)) / 500,
        "sample_x": sample_codes @ features,
        "sample_codes": sample_codes,
        "firing_correlation": np.corrcoef(fires.T).reshape(n, n),
        "correlation": (u + u.T) / 2 + np.eye(n),
    }


@pytest.mark.parametrize(("d", "n"), [(2, 5), (3, 6), (8, 16)])
def test_every_data_figure_is_drawn_at_every_size(d, n, tmp_path):
    paths = draw_data(truth_of(d, n), config_of(d, n).data, tmp_path)
    assert [path.name for path in paths] == NAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def figures_of(d: int, n: int) -> dict[str, Figure]:
    truth, caption = truth_of(d, n), [describe(config_of(d, n).data)]
    flat = d in (2, 3)
    gaussians, samples = (draw_gaussians, draw_samples) if flat else (draw_norms, draw_codes)
    positions = [truth["features"]] if flat else []
    return {
        "gaussians": gaussians(
            truth["features"],
            truth["gaussians"] if flat else np.linalg.norm(truth["gaussians"], axis=1),
            "normalisation",
            caption,
        ),
        "samples": samples(*positions, truth["sample_x"], truth["sample_codes"], caption),
        "frequency": draw_frequency(truth["frequencies"], truth["probabilities"], caption),
        "correlation": draw_correlation(
            correlation=truth["correlation"],
            firing_correlation=truth["firing_correlation"],
            caption=caption,
        ),
        "measured": draw_correlation(
            firing_correlation=truth["firing_correlation"], caption=caption
        ),
    }


@pytest.mark.parametrize(("d", "n"), [(1, 1), (2, 2), (3, 6), (3, 60), (8, 16), (256, 512)])
def test_data_figures_are_readable(d, n, readable):
    for figure in figures_of(d, n).values():
        assert " ".join(readable(figure)).count("Data:") == 1
        assert figure.get_figwidth() <= 6.5


def test_the_camera_keeps_lengths_and_the_sphere_is_a_circle():
    np.testing.assert_allclose(geometry.CAMERA @ geometry.CAMERA.T, np.eye(3), atol=1e-12)
    vectors = np.random.default_rng(0).standard_normal((100, 3))
    places, near = project(vectors)
    lengths = np.linalg.norm(np.column_stack([places, near]), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(vectors, axis=1))
    assert project(np.array([0.0, 0, 1]))[0][1] > 0  # up is up
    np.testing.assert_array_equal(project(vectors[:, :2])[0], vectors[:, :2])


@pytest.mark.parametrize("d", [2, 3])
def test_samples_show_active_features_in_green_and_inactive_in_red(d):
    features = truth_of(d, 5)["features"]
    code = np.array([0.0, 0.5, 0, 0.25, 0])
    figure = draw_samples(features, (code @ features)[None], code[None], [])
    rays = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    ends: dict[tuple, list] = {}
    for collection in rays:
        colour = tuple(collection.get_colors()[0][:3])
        ends.setdefault(colour, []).extend(p[-1] for p in collection.get_segments())
    places = project(features)[0]
    active = [places[1], places[3], places[1] * 0.5, places[3] * 0.25]
    for colour, expected in (
        (RED, places[[0, 2, 4]]),
        (GREEN, np.array(active)),
        (BLUE, project(code @ features)[0][None]),
    ):
        np.testing.assert_allclose(np.array(ends[to_rgba(colour)[:3]]), expected, atol=1e-6)


def test_a_sample_is_written_as_its_sum():
    code = np.zeros(20)
    assert sum_of(code, 2) == "nothing active"
    code[[2, 15]] = 0.31, 0.884
    assert sum_of(code, 2) == "0.31 f₂ + 0.88 f₁₅"
    assert sum_of(code, 0.1) == "2 active features"
    assert names_of(code, 2) == "2, 15"
    code[:] = 0.5
    assert names_of(code, 0.6) == "0, 1, … (20)"
    assert names_of(code * 0, 0.6) == "none"


def test_codes_stand_where_the_features_are():
    truth = truth_of(8, 16)
    truth["sample_codes"][0] = 0
    truth["sample_codes"][0, 11] = 0.5
    figure = draw_codes(truth["sample_x"], truth["sample_codes"], [])
    left = figure.axes[0]
    (stems,) = (c for c in left.collections if isinstance(c, LineCollection))
    foot, top = stems.get_segments()[0]
    assert foot[0] == top[0] == 11
    assert foot[1] - top[1] == pytest.approx(0.35)
    assert len(stems.get_segments()) == np.count_nonzero(truth["sample_codes"])


@pytest.mark.parametrize("d", [2, 3, 8, 256])
def test_exact_densities_integrate_to_one_and_have_the_right_moments(d):
    norms = np.linspace(1e-6, d**0.5 + 8, 200_001)
    density = codes._chi(norms, d)
    assert np.trapezoid(density, norms) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(density * norms**2, norms) == pytest.approx(d, rel=1e-4)
    # In two dimensions the density is infinite at ±1: integrate over the angle instead.
    angle = np.linspace(1e-5, np.pi - 1e-5, 200_001)
    weights = codes._cosine(np.cos(angle), d) * np.sin(angle)
    assert np.trapezoid(weights, angle) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(weights * np.cos(angle) ** 2, angle) == pytest.approx(1 / d, rel=1e-3)


def test_correlation_colours_ignore_the_diagonal_and_are_symmetric():
    matrix = np.array([[9.0, 0.2, 0.4], [0.2, 9.0, 0.6], [0.4, 0.6, 9.0]])
    figure = draw_correlation(correlation=matrix, firing_correlation=matrix / 10)
    left, _, right, _ = figure.axes
    assert left.images[0].norm.vmin, left.images[0].norm.vmax == (0.2, 0.6)
    assert right.images[0].norm.vmin == -right.images[0].norm.vmax == pytest.approx(-0.06)
    assert np.isnan(left.images[0].get_array().filled(np.nan).diagonal()).all()


def test_rare_outliers_do_not_bleach_a_correlation(readable):
    rng = np.random.default_rng(0)
    matrix = np.clip(rng.normal(0, 0.01, (200, 200)), -0.03, 0.03)
    matrix[3, 7] = matrix[7, 3] = 0.9
    figure = draw_correlation(firing_correlation=matrix)
    assert figure.axes[0].images[0].norm.vmax < 0.04
    assert "the outermost 1 % of measured pairs lie beyond the colours" in " ".join(
        readable(figure)
    )


@pytest.mark.parametrize(("n", "violins"), [(6, 6), (24, 24), (25, 0)])
def test_many_features_have_bands_instead_of_violins(n, violins, readable):
    truth = truth_of(4, n)
    figure = draw_frequency(truth["frequencies"], truth["probabilities"], [])
    bodies = [c for c in figure.axes[0].collections if not isinstance(c, LineCollection)]
    assert len(bodies) == (violins or 2)
    assert ("violins" in " ".join(readable(figure))) == bool(violins)


def test_the_target_is_dashed_at_the_probabilities():
    truth = truth_of(4, 6)
    axes = draw_frequency(truth["frequencies"], truth["probabilities"], []).axes[0]
    (target,) = (c for c in axes.collections if isinstance(c, LineCollection))
    heights = [segment[0, 1] for segment in target.get_segments()]
    np.testing.assert_allclose(heights, truth["probabilities"])
    assert target.get_linestyle()[0][1] is not None


def test_features_that_never_vary_can_be_drawn(readable):
    readable(draw_frequency(np.zeros((64, 3)), np.full(3, 0.1), []))
    readable(draw_correlation(firing_correlation=np.zeros((3, 3))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "8 features in 4 dimensions; 1 active in a sample on average, all equally likely"),
        ({"decay": 0.5}, "probabilities falling as 0.5ⁱ"),
        (
            {"decay": 0.5, "rescale": False},
            "feature i fires with probability 0.5ⁱ · 1/8, 0.249 active in a sample on average",
        ),
        ({"correlation": "sample"}, "Gaussian copula"),
        ({"noise_std": 0.1}, "noise of standard deviation 0.1"),
        ({"directions": "pushed_apart"}, "8 features in 4 dimensions, pushed apart"),
        (
            {"probability_law": "zipf", "zipf_exponent": 0.5},
            "1 active in a sample on average, probabilities falling as (i + 1)^−0.5",
        ),
        (
            {"mean_active": None, "probability_range": [0.1, 0.3], "decay": 0.9},
            "probabilities falling as 0.9ⁱ, from 0.3 to 0.1",
        ),
        (
            {
                "magnitudes": "rectified_normal",
                "magnitude_mean": [5, 4],
                "magnitude_std": 0.5,
                "magnitude_std_spread": 0.25,
            },
            "coefficients rectified normal, mean 5 → 4, standard deviation |N(0.5, 0.25²)|",
        ),
        ({"magnitude_mean": 1}, "coefficients uniform, mean 1, standard deviation 0.577"),
        ({"correlation": "low_rank"}, "25 factors shared by all features, loadings N(0, 0.1²)"),
        (
            {"hierarchy": {"roots": 2, "branching": 2, "depth": 1}},
            "2 trees of depth 1, 2 children each: a child fires only with its parent",
        ),
        ({"bias_norm": 0.5}, "a constant of norm 0.5 added"),
        ({"empty_samples": "activate_one"}, "nothing fires gets one feature with coefficient 1"),
    ],
)
def test_a_config_in_words(data, words):
    assert words in describe(config_of(4, 8, **data).data)


# Many features, and laws that only some data have


def test_many_features_have_dots_on_logarithmic_axes(readable):
    n = 5000
    p = 0.4 * np.arange(1, n + 1) ** -0.7
    figure = draw_frequency(np.random.default_rng(0).binomial(1024, p, (64, n)) / 1024, p, [])
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("symlog", "log")
    assert "dots: over 64 batches; line: target probability" in " ".join(readable(figure))
    dots, target = axes.lines
    assert len(dots.get_ydata()) == n
    np.testing.assert_allclose(target.get_ydata(), p)


def test_rare_features_are_seen_too(readable):
    p = 0.4 * 0.97 ** np.arange(200)
    figure = draw_frequency(np.random.default_rng(0).binomial(1024, p, (64, 200)) / 1024, p, [])
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("linear", "log")
    assert "dots" in " ".join(readable(figure))


def test_loadings_are_shown_as_the_correlation_they_make(readable):
    loadings = np.random.default_rng(0).normal(0, 0.1, (50, 3))
    measured = np.eye(10)
    figure = draw_correlation(loadings=loadings, firing_correlation=measured)
    shown = figure.axes[0].images[0].get_array().filled(0)
    expected = loadings[:10] @ loadings[:10].T
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(np.nan_to_num(shown), expected, atol=1e-12)
    assert "the first 10 of 50 features" in " ".join(readable(figure))


@pytest.mark.parametrize("n", [1, 6, 400, 3000])
def test_magnitudes_are_readable(n, readable):
    means = np.linspace(5, 4, n)
    measured = means.copy()
    measured[n // 2] = np.nan  # it never fired
    figure = draw_magnitudes(means, means / 4, measured, [])
    readable(figure)
    dots, law = figure.axes[0].lines
    np.testing.assert_allclose(dots.get_ydata(), measured)
    np.testing.assert_allclose(law.get_ydata(), means)


def test_a_tree_stands_on_its_root():
    hierarchy = HierarchyConfig(roots=2, branching=2, depth=2)
    p = np.array([0.5, 0.4, 0.2, 0.1, 0.3, 0.1, 0.1, 0.05, 0.02, 0.02, *[0.1] * 4])
    expected = [
        [(0, 0, 1)],
        [(2, 0, 0.4), (3, 0.4, 0.2)],
        [(6, 0, 0.2), (7, 0.2, 0.1), (8, 0.4, 0.04), (9, 0.44, 0.04)],
    ]
    for row, boxes in zip(tree(hierarchy, p), expected, strict=True):
        np.testing.assert_allclose(row, boxes, atol=1e-12)


@pytest.mark.parametrize(
    ("roots", "branching", "depth"), [(1, 1, 1), (2, 2, 2), (8, 4, 3), (1, 100, 1)]
)
def test_hierarchies_are_readable(roots, branching, depth, readable):
    hierarchy = HierarchyConfig(roots=roots, branching=branching, depth=depth)
    p = np.full(hierarchy.levels()[-1].stop, 0.5)
    for level, features in enumerate(hierarchy.levels()):
        p[features.start : features.stop] /= (branching + 1) ** level
    frequencies = np.random.default_rng(0).binomial(100, p, (64, len(p))) / 100
    words = readable(draw_hierarchy(hierarchy, p, frequencies, []))
    assert f"● level {depth}" in words


def test_data_of_every_law_has_a_figure_of_each(tmp_path):
    data = {
        "hierarchy": {"roots": 2, "branching": 2, "depth": 1},
        "correlation": "low_rank",
        "directions": "pushed_apart",
        "magnitudes": "half_normal",
    }
    config = config_of(4, 9, **data)
    truth = truth_of(4, 9)
    del truth["correlation"]
    norms = np.linalg.norm(truth.pop("gaussians"), axis=1)
    ones = np.ones(9)
    laws = {"magnitude_means": ones, "magnitude_stds": ones / 3, "measured_means": ones}
    truth |= {"norms": norms, "loadings": np.ones((9, 2)), **laws}
    names = [path.name for path in draw_data(truth, config.data, tmp_path)]
    assert names == [*NAMES, "magnitudes.png", "hierarchy.png"]


def test_a_hierarchy_of_which_nothing_ever_fires(readable):
    hierarchy = HierarchyConfig(roots=1, branching=2, depth=2)
    p = np.array([1e-6, *[5e-7] * 2, *[2.5e-7] * 4])
    figure = draw_hierarchy(hierarchy, p, np.zeros((4, 7)), [])
    readable(figure)
    assert figure.axes[1].get_ylim() == pytest.approx((0, 1.08 * 0.5))
