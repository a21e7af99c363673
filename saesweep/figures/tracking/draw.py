"""How features are learned over training: four figures, each with a panel for every cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure

from saesweep.figures.style import Sheet, number
from saesweep.figures.tracking.data import Course, courses
from saesweep.figures.tracking.epochs import EpochAxis
from saesweep.figures.tracking.image import Features
from saesweep.figures.tracking.kinds import Cosines, Counts, Dead, Kind
from saesweep.figures.tracking.page import Multiples
from saesweep.figures.variants import MOST_VARIANTS, variants
from saesweep.run_folder import Run
from saesweep.sparsity import SparsityAxis

KINDS: tuple[type[Kind], ...] = (Counts, Cosines, Dead, Features)


def draw_tracking(run: Run) -> Iterator[tuple[str, Figure]]:
    """The stem of each figure's file, and the figure.

    ``tracking_counts``, ``tracking_cosines``, ``tracking_dead`` and ``tracking_features``; where
    axes other than sparsity, dictionary size and seed are in the grid, each of them for every
    combination of their values, ``tracking_counts_train.lr=0.001``, up to `MOST_VARIANTS`. Seeds
    are averaged. Raises ``RunError`` where the ground truth or snapshots cannot be read.
    """
    every = variants(run.cells)
    left_out = ""
    if len(every) > MOST_VARIANTS:
        left_out = (
            f"Of {len(every)} combinations of the other axes the first {MOST_VARIANTS} are drawn; "
            "metrics/tracking.csv has all."
        )
    for variant in every[:MOST_VARIANTS]:
        by_place = dict(courses(run, variant))
        drawn = [course for course in by_place.values() if course.state == "done"]
        seeds = max(len(cells) for cells in variant.cells.values())
        for kind in KINDS:
            folded = kind.of_seeds.format(seeds) if seeds > 1 else ""
            figure = multiples(
                kind(drawn, run.config.data.n_features, run.config.eval.learned_threshold),
                by_place,
                variant.axis,
                note=variant.name,
                words=[words for words in (folded, left_out) if words],
            )
            yield variant.stem(kind.stem), figure


def multiples(
    kind: Kind,
    by_place: Mapping[tuple[int, float], Course],
    axis: SparsityAxis,
    *,
    note: str = "",
    words: Sequence[str] = (),
) -> Figure:
    """One figure of ``by_place``, the courses by dictionary size and value of `axis`."""
    sizes = sorted({size for size, _ in by_place})
    columns = sorted({value for _, value in by_place})
    rows = [f"{number(size / kind.features)}× ({size})" for size in sizes]
    epochs = EpochAxis([course.epoch for course in kind.courses])
    page = Multiples(rows, columns, axis, kind.scale(), epochs, kind.key())
    notes = "; ".join(part for part in (note, kind.note) if part)
    sheet = Sheet(kind.title, notes, page.height, [kind.caption(), *words])
    axes = page.axes(sheet)
    places = {
        (sizes.index(size), columns.index(value)): course
        for (size, value), course in by_place.items()
    }
    page.frame(axes, [place for place, course in places.items() if course.state == "done"])
    for place, course in places.items():
        panel = page.panel(axes, *place)
        if course.state == "done":
            kind.draw(panel, course, epochs)
        else:
            panel.write(course.state)
    page.label(sheet)
    return sheet.figure
