"""The map of samples: groups that are apart stay apart, and colours follow the probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from saesweep.data_config import DataConfig
from saesweep.figures.data.samples_map import (
    COLOURS,
    OTHERS,
    Draw,
    decays_beside,
    embed,
    samples_map,
)


def groups(count: int, each: int = 20, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(count), each)
    return 10 * np.eye(count, d)[label] + 0.1 * rng.normal(size=(len(label), d)), label


def test_groups_that_are_apart_are_apart_on_the_map():
    x, label = groups(3)
    places = embed(x, seed=0)
    apart = np.linalg.norm(places[:, None] - places, axis=2) + np.diag(np.full(len(x), np.inf))
    assert (label[apart.argmin(axis=1)] == label).mean() > 0.95
    np.testing.assert_array_equal(embed(x, seed=0), places)
    assert embed(x[:5, :1], seed=0).shape == (5, 2)  # one dimension, few samples


def test_the_most_probable_features_are_coloured_all_others_grey():
    p = np.arange(1.0, 13)  # the last is the most probable
    draw = Draw("a", np.zeros((4, 2)), np.array([11, 3, 0, -1]), p)
    assert draw.colour_of().tolist() == [0, 8, -1, -1]
    few = Draw("a", np.zeros((3, 2)), np.array([1, 0, -1]), np.array([0.1, 0.2]))
    assert few.colour_of().tolist() == [0, 1, -1]


@pytest.mark.parametrize("maps", [1, 3])
def test_it_is_readable(maps, readable):
    x, label = groups(4, 10)
    label = np.where(label == 3, -1, label)
    p = np.linspace(0.2, 0.1, 40)
    draws = [Draw(f"decay 0.9{k} (as configured)", x, label, p) for k in range(maps)]
    figure = samples_map(draws, 0, ["Data: as described."])
    words = readable(figure)
    assert {"others", "0", "8", "Data: as described."} <= set(words)
    assert words.count("coloured: 75 % (9 of 40 features)") == maps
    assert ("The maps differ in decay alone." in words) == (maps == 3)
    grey, coloured = figure.axes[0].collections
    assert {to_hex(shade) for shade in coloured.get_facecolors()} == set(COLOURS[:3])
    assert to_hex(grey.get_facecolors()[0]) == OTHERS
    assert (len(grey.get_offsets()), len(coloured.get_offsets())) == (10, 30)


def decays(**keys: float) -> list[float]:
    data = DataConfig(activation_dim=3, n_features=6, **keys)
    return [law.decay for law in decays_beside(data).values()]


def test_only_decays_that_fit_are_beside():
    assert decays(mean_active=1, decay=0.5) == [0.5, 0.9, 1]
    assert decays(mean_active=1) == [0.9, 0.97, 1]
    assert decays(mean_active=5.5) == [0.97, 1]  # with 0.9 the first would fire above 1


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_samples_that_are_all_equal_are_one_place(value, readable):
    x = np.full((12, 3), value)
    np.testing.assert_array_equal(embed(x, seed=0), np.zeros((12, 2)))
    nothing = Draw("a", x, np.full(12, -1), np.array([0.1, 0.2]))
    assert "all samples are equal the map is one point" in " ".join(
        readable(samples_map([nothing], 0))
    )


@pytest.mark.parametrize(("d", "started"), [(1, "at random"), (2, "from the first two principal")])
def test_the_caption_tells_where_it_started(d, started):
    x, label = groups(2, 5)
    figure = samples_map([Draw("a", x[:, :d], label, np.array([0.1, 0.2]))], 0)
    assert f"Started {started}" in " ".join(text.get_text() for text in figure.texts)
