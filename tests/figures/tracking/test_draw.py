"""Figures of tracked features, from snapshots written by hand."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from saesweep.figures.style import GREEN, RED
from saesweep.figures.tracking import data
from saesweep.figures.tracking.data import (
    MARKED,
    Course,
    empty_course,
    fold,
    image,
    shade,
)
from saesweep.figures.tracking.draw import KINDS, draw_tracking, multiples
from saesweep.figures.tracking.epochs import EpochAxis
from saesweep.figures.tracking.image import Features
from saesweep.figures.tracking.kinds import AMBER, DARK, PINK, SKY, Cosines, Counts, Dead, Kind
from saesweep.run_folder import Run
from saesweep.sparsity import AXES

EPOCHS = np.arange(0, 101, 10)
LOG_EPOCHS = np.unique(np.round(np.append(0, np.logspace(0, 4, 25))).astype(int))
L1 = [0.005 * 1.33**k for k in range(17)]
SIZES = [16, 32, 48, 64, 96, 128, 192, 256]


def snapshots(epoch=EPOCHS, n=4, size=8, seed=0) -> dict[str, np.ndarray]:
    """Features that are learned one after another, some lost again, and latents that die."""
    generator = np.random.default_rng(seed)
    late = np.linspace(0, 1.4, n) + generator.random(n) / 5
    time = np.arange(len(epoch))[:, None] / len(epoch)
    cosine = 0.4 + 0.6 / (1 + np.exp(-20 * (time - late))) - generator.random((len(epoch), n)) / 25
    return {
        "epoch": epoch,
        "step": epoch,
        "best_cosine": cosine.astype(np.float32),
        "best_atom": generator.integers(0, 2, (len(epoch), n)).cumsum(axis=0),
        "dead": generator.random((1, size)) < time * generator.random((len(epoch), size)),
    }


def course(n=4, size=8, epoch=EPOCHS) -> Course:
    return fold([snapshots(epoch, n, size)], 0.9, np.arange(n))


def drawn(kind: type[Kind], courses: dict, n=4, **words) -> Figure:
    done = [one for one in courses.values() if one.state == "done"]
    return multiples(kind(done, n, 0.9), courses, AXES["l1"], **words)


def panels_of(figure: Figure):
    return next(axes for axes in figure.axes if axes.get_xlim()[1] > 1)


def areas(figure: Figure, colour: str) -> float:
    """The area of all polygons of a colour, in square inches, by the shoelace formula."""
    total = 0.0
    for found in panels_of(figure).collections:
        if isinstance(found, PolyCollection) and tuple(found.get_facecolor()[0]) == to_rgba(colour):
            for path in found.get_paths():
                x, y = path.vertices.T
                total += abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    return total


def test_counts_fill_the_time_since_the_snapshot_before():
    given = snapshots(np.array([0, 10, 40, 100]))
    given["best_cosine"] = np.array(
        [[0.95, 0, 0, 0], [0.95, 0.99, 0, 0], [0.95, 0.99, 1, 0], [0, 0.95, 1, 0]]
    )
    given["best_atom"] = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [5, 1, 2, 0], [0, 1, 3, 0]])
    figure = drawn(Counts, {(8, 0.1): fold([given], 0.9, np.arange(4))})
    # Feature-epochs of each class, counted by hand from the three intervals of 10, 30, 60 epochs.
    expected = {
        SKY: 1 * 10 + 1 * 30 + 1 * 60,
        GREEN: 1 * 10 + 1 * 30,
        AMBER: 1 * 30 + 1 * 60,
        RED: 1 * 60,
    }
    found = {colour: areas(figure, colour) for colour in expected}
    for colour, amount in expected.items():
        assert found[colour] / found[SKY] == pytest.approx(amount / expected[SKY])


def test_dead_neurons_are_shares_of_the_dictionary():
    given = snapshots(np.array([0, 10, 20]), size=4)
    given["dead"] = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool)
    figure = drawn(Dead, {(4, 0.1): fold([given], 0.9, np.arange(4))})
    assert areas(figure, PINK) == pytest.approx(3 * areas(figure, DARK))
    assert areas(figure, GREEN) == pytest.approx(areas(figure, DARK))
    kind = Dead([fold([given], 0.9, np.arange(4))], 4, 0.9)
    assert kind.scale().ticks[-1] == (0.5, "50 %")


def test_cosines_show_the_mean_over_features():
    given = snapshots()
    figure = drawn(Cosines, {(8, 0.1): fold([given], 0.9, np.arange(4))})
    axes = panels_of(figure)
    means = given["best_cosine"].mean(axis=1)
    heights = axes.lines[-1].get_ydata()  # inches, downwards: a line of the means
    slope, start = np.polyfit(means, heights, 1)
    np.testing.assert_allclose(slope * means + start, heights, atol=1e-6)
    assert slope < 0
    across = axes.lines[-1].get_xdata()
    np.testing.assert_allclose((across - across[0]) / np.ptp(across), EPOCHS / 100)


def test_images_are_blue_exactly_where_features_are_learned():
    colours = shade(np.array([-1.0, 0.0, 0.5, 0.9, 0.9001, 1.0, np.nan]), 0.9)
    blueness = colours[:, 2] - colours[:, 0]
    assert (blueness[[0, 1, 2, 3, 6]] == 0).all()
    assert (blueness[[4, 5]] > 50).all()
    assert colours[1].mean() > colours[2].mean() > colours[3].mean() > colours[5].mean()


def test_features_stand_in_the_order_of_their_probability():
    given = snapshots(np.array([0, 10]))
    given["best_cosine"] = np.array([[0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 1.0, 0.1]])
    picture = fold([given], 0.9, order=np.array([3, 2, 0, 1])).image
    blue = picture[:, :, 2].astype(int) - picture[:, :, 0] > 0
    assert np.argwhere(blue).tolist() == [[1, 1]]


def test_many_features_share_rows():
    cosines = np.zeros((2, 512))
    cosines[1, :2] = 1.0
    picture = image(cosines, 0.9)
    assert picture.shape == (256, 2, 3)
    assert (picture[0, 1] == shade(np.array(1.0), 0.9)).all()
    assert (picture[1:] == picture[1, 0]).all()


def test_an_image_has_its_borders_between_the_snapshots():
    given = snapshots(np.array([0, 20, 100]), n=1)
    given["best_cosine"] = np.array([[0.0], [1.0], [0.0]])
    figure = drawn(Features, {(8, 0.1): fold([given], 0.9, np.arange(1))}, n=1)
    (picture,) = panels_of(figure).images
    row = np.asarray(picture.get_array())[0].astype(int)
    blue = np.flatnonzero(row[:, 2] - row[:, 0] > 0)
    assert blue.min() / len(row) == pytest.approx(0.1, abs=0.005)  # half-way from 0 to 20
    assert (blue.max() + 1) / len(row) == pytest.approx(0.6, abs=0.005)


def test_seeds_are_averaged_and_marks_are_those_of_most():
    one, two, three = (snapshots(np.array([0, 10, 20]), n=2) for _ in range(3))
    one["best_cosine"] = np.array([[0.2, 0.2], [0.95, 0.2], [0.95, 0.2]])
    two["best_cosine"] = np.array([[0.2, 0.2], [0.95, 0.2], [0.95, 1.0]])
    three["best_cosine"] = np.array([[0.2, 0.2], [0.2, 0.2], [0.95, 0.2]])
    one["best_atom"] = two["best_atom"] = np.array([[0, 0], [0, 0], [1, 0]])
    three["best_atom"] = np.zeros((3, 2), int)
    found = fold([one, two, three], 0.9, np.arange(2))
    np.testing.assert_allclose(found.columns["learned"], [0, 2 / 3, 4 / 3])
    assert found.moves.tolist() == [[0, 2]]
    assert found.for_good.tolist() == [1, np.inf]
    np.testing.assert_allclose(found.columns["mean_cosine"][2], (0.95 * 3 + 0.2 * 2 + 1) / 6)
    # The mean over learned features is that of the seeds which have some.
    assert np.isnan(found.columns["mean_cosine_learned"][0])
    np.testing.assert_allclose(found.columns["mean_cosine_learned"][1], 0.95)


def test_epochs_are_linear_where_snapshots_are():
    axis = EpochAxis([np.arange(0, 1001, 10)])
    assert not axis.logarithmic
    np.testing.assert_allclose(axis.places(np.array([0, 250, 1000])), [0, 0.25, 1])
    assert [label for _, label, _ in axis.ticks(1.2)] == ["0", "500", "1000"]
    assert axis.ticks(0.1) == []


def test_epochs_are_logarithmic_where_snapshots_are():
    axis = EpochAxis([LOG_EPOCHS])
    assert axis.logarithmic
    zero, *places = axis.places(np.array([0, 1, 10, 100, 1000, 10_000]))
    assert zero == 0 < places[0]
    np.testing.assert_allclose(np.diff(places), (1 - places[0]) / 4)
    assert [label for _, label, _ in axis.ticks(3)] == ["0", "1", "10", "100", "1000", "10000"]
    edges = axis.edges(LOG_EPOCHS)
    assert len(edges) == len(LOG_EPOCHS) + 1
    assert (np.diff(edges) > 0).all()
    assert not EpochAxis([np.array([0, 1, 2, 3, 4, 50])]).logarithmic  # within two decades


def test_draws_a_run(finished: Run, readable):
    figures = dict(draw_tracking(finished))
    assert set(figures) == {kind.stem for kind in KINDS}
    words = readable(figures["tracking_counts"])
    assert {"2× (8)", "4× (16)", "0.01", "0.1", "epoch"} <= set(words)


def test_cells_without_records_say_why(finished: Run, tmp_path: Path, readable):
    run = Run(shutil.copytree(finished.path, tmp_path / "copy"))
    failed, damaged, waiting, _ = (run.folder(cell) for cell in run.cells)
    for folder in (failed, waiting):
        shutil.rmtree(folder.path)
    failed.fail("diverged")
    (damaged.path / "snapshots.safetensors").write_bytes(b"")
    for _, figure in draw_tracking(run):
        words = readable(figure)
        assert [words.count(state) for state in ("failed", "damaged", "waiting")] == [1, 1, 1]


def test_nothing_but_failed_cells(readable):
    courses = {(size, 0.1): empty_course("failed", size) for size in (8, 16)}
    for kind in KINDS:
        assert readable(drawn(kind, courses)).count("failed") == 2


@pytest.mark.parametrize(
    ("sizes", "l1", "n", "epoch", "kinds"),
    [
        (SIZES[:1], L1[:1], 1, EPOCHS, KINDS),
        (SIZES[:2], L1[:6], 6, EPOCHS * 3, KINDS),
        (SIZES[:2], L1[:3], 300, LOG_EPOCHS, (Features,)),
        (SIZES, L1[:6], 64, EPOCHS, (Cosines, Dead)),
        (SIZES, L1, 32, EPOCHS * 1000, (Counts,)),
        (range(40, 80), L1[:2], 5, EPOCHS, (Dead,)),
        (SIZES[:1], [1e-3 * 1.1**k for k in range(60)], 5, EPOCHS, (Cosines,)),
    ],
)
def test_small_multiples_are_readable(sizes, l1, n, epoch, kinds, readable):
    one = course(n, 16, epoch)
    courses = {(size, a): one for size in sizes for a in l1}
    courses[sizes[0], l1[-1]] = one if len(courses) == 1 else empty_course("waiting", sizes[0])
    for kind in kinds:
        figure = drawn(kind, courses, n, note="train.lr=0.001", words=["Means over 3 seeds."])
        words = readable(figure)
        assert any(word.startswith("epoch") for word in words)
        assert figure.get_figwidth() == 6.5


@pytest.mark.parametrize("columns", [100, 150])
def test_however_many_columns_all_axes_are_on_the_page(columns):
    l1 = [1e-3 * 1.05**k for k in range(columns)]
    figure = drawn(Cosines, {(8, a): course() for a in l1})
    for axes in figure.axes:
        box = axes.get_position()
        assert min(box.x0, box.y0) >= 0
        assert max(box.x1, box.y1) <= 1
    starts = sorted({line.get_xdata()[0] for line in panels_of(figure).lines})
    assert len(starts) == columns  # side by side, and the last inside
    assert starts[-1] < panels_of(figure).get_xlim()[1]


def test_rows_of_very_many_features_are_the_means_of_their_colours(monkeypatch):
    cosines = np.random.default_rng(0).uniform(0, 1, (3, 9001))
    monkeypatch.setattr(data, "BLOCK", 1000)
    seen = []

    def shaded(some, threshold):
        seen.append(some.shape[0])
        return shade(some, threshold)

    monkeypatch.setattr(data, "shade", shaded)
    picture = image(cosines, 0.9)
    assert max(seen) <= 1000  # colours of a part at a time
    assert sum(seen) == 9001
    colours = shade(cosines.T, 0.9)
    borders = [row * 9001 // 256 for row in range(257)]
    expected = [colours[a:b].mean(axis=0).round() for a, b in pairwise(borders)]
    np.testing.assert_array_equal(picture, expected)


def test_marks_are_not_made_where_none_are_drawn(monkeypatch):
    few, many = (course(n) for n in (MARKED, MARKED + 1))
    assert len(few.for_good) == MARKED
    assert (many.moves.shape, len(many.for_good)) == ((0, 2), 0)
    assert many.image.shape == (MARKED + 1, len(EPOCHS), 3)
