"""A map of samples by t-SNE, coloured by their strongest feature, at several decays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saesweep.data_config import DataConfig
from saesweep.figures.style import (
    GREY,
    INK,
    MARGIN,
    WIDTH,
    Sheet,
    number,
    text_width,
    wrap,
)
from saesweep.seeding import stream_seed

SAMPLES = 1000
"""Samples of a map. t-SNE of so many takes about 5 s of one core (4 in 3 dimensions, 7 in 256), and
of 1,500 nearly twice that."""
OTHER_DECAYS = (0.9, 1.0, 0.97)
"""What the decay of a config is shown beside, the first that differ from it."""
MAPS = 3
"""Maps side by side."""
PERPLEXITY = 30.0
# Paul Tol's "muted" colours, which colour-blind readers can tell apart, strongest contrasts first.
COLOURS = (
    "#332288",
    "#cc6677",
    "#44aa99",
    "#ddcc77",
    "#882255",
    "#88ccee",
    "#117733",
    "#aa4499",
    "#999933",
)
OTHERS = "#c8c8c8"


@dataclass(frozen=True)
class Draw:
    """Samples of one law: ``x`` [samples, d_in], ``strongest`` [samples] features.

    ``strongest`` is the feature with the largest coefficient, -1 where nothing is active.
    ``probabilities`` [n_features] order the colours.
    """

    label: str
    x: np.ndarray
    strongest: np.ndarray
    probabilities: np.ndarray

    def colour_of(self) -> np.ndarray:
        """The place in `COLOURS` of each sample, [samples]; -1 for the others."""
        places = np.full(len(self.probabilities) + 1, -1)  # the last is for "nothing active"
        shown = min(len(COLOURS), len(self.probabilities))
        places[np.argsort(-self.probabilities, kind="stable")[:shown]] = np.arange(shown)
        chosen: np.ndarray = places[self.strongest]
        return chosen


def decays_beside(data: DataConfig) -> dict[str, DataConfig]:
    """``data`` with the decay it has, and with others that it could have, by label, rising.

    Others that do not fit the rest of it are left out: all, where its law has no decay.

    >>> list(decays_beside(DataConfig(activation_dim=3, n_features=6, mean_active=1, decay=0.99)))
    ['decay 0.9', 'decay 0.99 (as configured)', 'decay 1']
    """
    wanted = dict.fromkeys((data.decay, *OTHER_DECAYS))
    laws = [data.model_copy(update={"decay": decay}) for decay in wanted]
    fitting = [law for law in laws if law == data or next(law.misfits(), None) is None][:MAPS]
    if len(fitting) == 1:
        return {"as configured": data}
    return {
        f"decay {number(law.decay)}{' (as configured)' * (law == data)}": law
        for law in sorted(fitting, key=lambda law: law.decay)
    }


def embed(x: np.ndarray, seed: int) -> np.ndarray:
    """``x`` [samples, d_in] in two dimensions [samples, 2] by t-SNE (van der Maaten and Hinton).

    scikit-learn's, started from the first two principal components, of perplexity `PERPLEXITY` (a
    third of the samples where they are few). At least 4 samples; all at one place where they are
    all equal.
    """
    from sklearn.manifold import TSNE

    if _all_equal(x):  # there are no components to start from
        return np.zeros((len(x), 2))
    start = "pca" if x.shape[1] >= 2 else "random"
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(x) - 1) / 3),
        init=start,
        random_state=stream_seed(seed, "samples_map") % 2**32,
        n_jobs=1,
    )
    return np.asarray(tsne.fit_transform(np.asarray(x, dtype=np.float32)))


def _all_equal(x: np.ndarray) -> bool:
    """Whether ``x`` [samples, d_in] varies by less than what single precision can square."""
    return bool(np.ptp(x, axis=0).max() ** 2 < np.finfo(np.float32).tiny)


def samples_map(draws: Sequence[Draw], seed: int, caption: Sequence[str] = ()) -> Figure:
    """A map of each of ``draws`` side by side, in the same colours."""
    across = len(draws)
    side = min(2.6, (WIDTH - 2 * MARGIN - 0.16 * (across - 1)) / across)
    titles = [wrap(draw.label, side) for draw in draws]
    head = 0.14 * max(map(len, titles)) + 0.04
    sheet = Sheet(
        "Samples, by their strongest feature",
        f"t-SNE of {_counts(draws)} samples each; distances between far groups mean nothing",
        head + side + 0.62,
        [*_caption(draws), *caption],
    )
    for column, draw in enumerate(draws):
        left = MARGIN + column * (side + 0.16)
        for line, words in enumerate(titles[column]):
            sheet.text(left, 0.11 + 0.14 * line, words, va="baseline")
        axes = sheet.axes(left, head, side, side)
        _draw_map(axes, embed(draw.x, seed), draw.colour_of())
        sheet.text(left, head + side + 0.14, _share(draw), va="baseline", color=GREY)
    _draw_key(sheet, head + side + 0.42, draws)
    return sheet.figure


def _draw_map(axes: Axes, places: np.ndarray, colours: np.ndarray) -> None:
    """Dots at ``places`` [samples, 2]; the others underneath."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, edgecolor="#c4c4c4")
    low, high = places.min(axis=0), places.max(axis=0)
    middle, reach = (low + high) / 2, max(float((high - low).max()), 1e-9) * 0.53
    axes.set(
        xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach)
    )
    for shown in (False, True):
        some = (colours >= 0) == shown
        shades = [COLOURS[colour] for colour in colours[some]] if shown else OTHERS
        axes.scatter(
            places[some, 0],
            places[some, 1],
            s=5 if shown else 3,
            c=shades,
            linewidths=0,
            alpha=0.85,
            zorder=2 + shown,
        )


def _draw_key(sheet: Sheet, top: float, draws: Sequence[Draw]) -> None:
    """The colours in one line: the most probable features first."""
    features = max(len(draw.probabilities) for draw in draws)
    order = np.argsort(-draws[0].probabilities, kind="stable")
    names = [f"{feature}" for feature in order[: len(COLOURS)]]
    entries = list(zip(COLOURS, names, strict=False))
    if features > len(COLOURS) or any((draw.strongest < 0).any() for draw in draws):
        entries.append((OTHERS, "others"))
    words = "feature, most probable first:"
    sheet.text(MARGIN, top, words, va="center_baseline", color=GREY)
    left = MARGIN + text_width(words) + 0.12
    for colour, name in entries:
        axes = sheet.axes(left, top - 0.05, 0.1, 0.1)
        axes.set_axis_off()
        axes.scatter([0], [0], s=22, c=colour, linewidths=0)
        sheet.text(left + 0.14, top, name, va="center_baseline", color=INK)
        left += 0.14 + text_width(name) + 0.14


def _counts(draws: Sequence[Draw]) -> str:
    counts = sorted({len(draw.x) for draw in draws})
    return " to ".join(f"{count:,}" for count in (counts[0], counts[-1])[: len(counts)])


def _share(draw: Draw) -> str:
    """How many of the samples are coloured, and how many features that takes."""
    share = float((draw.colour_of() >= 0).mean())
    features = len(draw.probabilities)
    return f"coloured: {100 * share:.0f} % ({min(len(COLOURS), features)} of {features} features)"


def _caption(draws: Sequence[Draw]) -> list[str]:
    words = "Colour: the feature with the largest coefficient in the sample"
    if any((draw.strongest < 0).any() for draw in draws):
        words += "; samples in which nothing is active are grey"
    perplexity = number(min(PERPLEXITY, (min(len(draw.x) for draw in draws) - 1) / 3))
    several = draws[0].x.shape[1] >= 2
    start = "from the first two principal components" if several else "at random"
    parts = [f"{words}. Started {start}, perplexity {perplexity}."]
    if any(_all_equal(draw.x) for draw in draws):
        parts.append("Where all samples are equal the map is one point.")
    if len(draws) > 1:
        parts.append("The maps differ in decay alone.")
    return parts
