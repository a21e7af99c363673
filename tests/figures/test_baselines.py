"""Box plots of a study: what is drawn where, and that it can be read."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch

from saesweep.catalogue import METRICS
from saesweep.config_file import parse_config
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.figures.baselines import baseline_boxes, draw_baselines
from saesweep.figures.style import RED, rank_colours
from saesweep.files import write_rows
from saesweep.metrics.baseline_study import COLUMNS

MMCS, MCC = METRICS["mmcs"], METRICS["mcc"]
FITTED = [key for key, method in METHODS.items() if method.fitted]


def rows(methods=FITTED, sizes=(512,), samples=(1024, 4096, 16_384), seeds=3) -> list[dict]:
    rng = np.random.default_rng(0)
    places = [
        *product(["random"], sizes, [0], range(seeds)),
        *product(methods, sizes, samples, range(seeds)),
        ("truth", 512, 0, 0),
    ]
    values = rng.uniform(0.2, 0.9, len(places))
    return [
        dict(zip(COLUMNS, place, strict=False))
        | {"mmcs": 1.0 if place[0] == "truth" else value, "mcc": value}
        for place, value in zip(places, values, strict=True)
    ]


def boxes_of(figure) -> list[PathPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]


def test_a_box_spans_the_quartiles_and_has_the_colour_of_its_sample_size():
    given = rows(["pca", "nmf"], samples=(64, 128), seeds=5)
    figure = baseline_boxes(given, MMCS, "t")
    boxes = boxes_of(figure)
    expected = [
        np.array([r["mmcs"] for r in given if (r["baseline"], r["samples"]) == place])
        for place in product(["pca", "nmf"], [64, 128])
    ]
    assert len(boxes) == len(expected) == 4
    colours = rank_colours([64, 128])
    for box, values, size in zip(boxes, expected, [64, 128] * 2, strict=True):
        x = box.get_path().vertices[:, 0]
        assert (x.min(), x.max()) == pytest.approx(tuple(np.percentile(values, [25, 75])))
        assert to_rgba(box.get_edgecolor()) == pytest.approx(colours[size])
    points = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    for line, values in zip(points, expected, strict=True):
        np.testing.assert_array_equal(np.sort(line.get_xdata()), np.sort(values))


def test_chance_is_that_of_as_many_atoms_and_the_truth_a_line():
    given = rows(["kmeans"], sizes=(4, 8), samples=(64,))
    figure = baseline_boxes(given, MMCS, "t")
    floors = [line for line in figure.axes[0].lines if line.get_color() == RED]
    for line, size in zip(floors, (4, 8), strict=True):
        values = [r["mmcs"] for r in given if (r["baseline"], r["dict_size"]) == ("random", size)]
        assert line.get_xdata()[0] == pytest.approx(np.mean(values))
    (ceiling,) = (line for line in figure.axes[0].lines if line.get_linestyle() == "--")
    assert list(ceiling.get_xdata()) == [1.0, 1.0]


@pytest.mark.parametrize(
    "settings",
    [
        {"methods": ["pca"], "samples": (64,), "seeds": 1},
        {},
        {"sizes": (512, 16_384), "samples": (256, 1024, 16_384, 1_048_576)},
        {"seeds": 40, "samples": (1024,)},
    ],
)
def test_it_is_readable(settings, readable):
    given = rows(**settings)
    words = readable(baseline_boxes(given, MMCS, "Classical methods on the data of toy", ["Data."]))
    for row in given:
        if row["samples"]:
            assert f"{METHODS[row['baseline']].title}, {row['dict_size']:,} atoms" in words
            assert f"{row['samples']:,} samples" in words
    assert {"random atoms", "true features"} <= set(words)
    assert any("signs" in text for text in words)
    assert not any("signs" in text for text in readable(baseline_boxes(given, MCC, "t")))


def test_values_that_are_not_known_are_left_out(readable):
    given = rows(["pca", "nmf"], samples=(64,))
    for row in given:
        if row["baseline"] == "nmf":
            row["mmcs"] = math.nan
    words = readable(baseline_boxes(given, MMCS, "t"))
    assert "PCA, 512 atoms" in words
    assert "NMF, 512 atoms" not in words
    assert "no values" in readable(baseline_boxes([], MMCS, "t"))
    only = [row for row in given if row["baseline"] in ("random", "truth")]
    assert "no values" in readable(baseline_boxes(only, MMCS, "t"))


def test_figures_are_drawn_from_the_file(tmp_path):
    write_rows(tmp_path / "study.csv", rows(["pca"]), COLUMNS)
    config = parse_config(
        "data: {activation_dim: 3, n_features: 4, mean_active: 1}\ngrid: {l1: [1], dict_size: [4]}"
    )
    drawn = draw_baselines(tmp_path / "study.csv", config, tmp_path / "figures")
    assert [path.name for path in drawn] == ["baselines_mmcs.png", "baselines_mcc.png"]
    assert all(path.stat().st_size > 10_000 for path in drawn)
