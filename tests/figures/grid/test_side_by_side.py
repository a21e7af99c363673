"""Runs side by side: one scale, one grid, every value in its cell."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from saesweep.catalogue import METRICS
from saesweep.config import TrainConfig
from saesweep.figures.grid.side_by_side import MAIN, Side, draw_side_by_side, side_by_side
from saesweep.model_config import ReluOptions
from saesweep.run_folder import Run
from saesweep.sparsity import AXES


def fake(
    name: str,
    sizes: list[int],
    l1: list[float],
    start: float = 0.0,
    extra: list[dict[str, Any]] | None = None,
    n: int = 8,
) -> Any:
    """A run whose mmcs is ``start`` plus 0.01 for each cell before."""
    cells = [
        SimpleNamespace(name=f"l1={a:.4g}_dict={s}{''.join(f'_{k}={v}' for k, v in e.items())}",
                        sparsity=a, axis=AXES["l1"], dict_size=s, extra=e, variant="relu",
                        model=ReluOptions(), train=TrainConfig())
        for a in l1 for s in sizes for e in (extra or [{}])
    ]  # fmt: skip
    rows = [
        {
            "cell": c.name, "l1_penalty": c.sparsity, "dict_size": c.dict_size,
            "dict_ratio": c.dict_size / n, **c.extra, "loss": "sum", "state": "done",
            **dict.fromkeys(METRICS, math.nan), "mmcs": start + 0.01 * i,
        }
        for i, c in enumerate(cells)
    ]  # fmt: skip
    by_name = {c.name: c for c in cells}
    config = SimpleNamespace(data=SimpleNamespace(n_features=n))
    return SimpleNamespace(
        name=name,
        metrics=lambda: rows,
        cell=lambda name: by_name[name],
        config=config,
        sparsity_axes=[AXES["l1"]],
    )


def written(axes: Any) -> dict[tuple[int, int], float]:
    """The numbers in the cells of a panel by row and column."""
    return {
        (round(t.get_position()[1]), round(t.get_position()[0])): float(t.get_text())
        for t in axes.texts
        if t.get_text().replace(".", "").isdigit()
    }


def cut(axes: Any) -> set[tuple[int, int]]:
    """The cells of a panel with a corner cut off, by row and column."""
    corners = [p.get_xy().mean(axis=0) for p in axes.patches if p.get_gid() == "fewer"]
    return {(round(y), round(x)) for x, y in corners}


def drawn(sides: list[Side]) -> Any:
    """The only figure of mmcs."""
    ((stem, figure),) = side_by_side([METRICS["mmcs"]], sides)
    assert stem == "mmcs"
    return figure


def sides(*runs: Any) -> list[Side]:
    return [Side(run, f"{run.name}: correlation: none") for run in runs]


def test_equal_grids_share_axes_and_colours(readable):
    one, two = fake("one", [8, 16], [0.1, 0.2]), fake("two", [8, 16], [0.1, 0.2], 0.5)
    figure = drawn(sides(one, two))
    words = readable(figure)
    assert {"one: correlation: none", "two: correlation: none", "1× (8)", "2× (16)"} <= set(words)
    assert "All panels share one colour scale" in " ".join(words)
    assert written(figure.axes[0]) == {(0, 0): 0, (1, 0): 0.01, (0, 1): 0.02, (1, 1): 0.03}
    assert written(figure.axes[1]) == {(0, 0): 0.5, (1, 0): 0.51, (0, 1): 0.52, (1, 1): 0.53}
    images = [axes.images[0].get_array() for axes in figure.axes[:2]]
    assert not np.allclose(images[0][0, 0], images[1][0, 0])  # each would be dark on its own scale


def test_other_grids_are_shown_over_all_cells_of_both(readable):
    one = fake("one", [8, 16], [0.1])
    two = fake("two", [16, 32], [0.1 + 1e-14, 0.2], 0.5, n=16)
    figure = drawn(sides(one, two))
    words = readable(figure)
    assert {"8", "16", "32", "dictionary size"} <= set(words)  # no ratios: of other features
    assert "the run has no such cell" in " ".join(words)
    assert written(figure.axes[0]) == {(0, 0): 0, (1, 0): 0.01}
    assert written(figure.axes[1]) == {(1, 0): 0.5, (2, 0): 0.51, (1, 1): 0.52, (2, 1): 0.53}


def test_seeds_are_means_and_other_axes_panels_of_their_own(readable):
    extra = [{"seed": s, "train.lr": lr} for s in (0, 1) for lr in (0.001, 0.01)]
    run = fake("one", [8], [0.1, 0.2], extra=extra)
    figure = drawn(sides(run, fake("two", [8], [0.1])))
    words = readable(figure)
    assert {"one: correlation: none;", "train.lr=0.001", "train.lr=0.01"} <= set(words)
    assert "mean over 1 or 2 seeds" in " ".join(words)
    assert not cut(figure.axes[0])
    assert written(figure.axes[0]) == {(0, 0): 0.01, (0, 1): 0.05}  # of 0 and 2, of 4 and 6
    assert written(figure.axes[1]) == {(0, 0): 0.02, (0, 1): 0.06}


def test_a_cell_that_was_interrupted_is_hatched_and_no_gap(readable):
    run = fake("one", [8], [0.1, 0.2])
    run.metrics()[0]["state"] = "interrupted"
    figure = drawn(sides(run, fake("two", [8], [0.1, 0.2])))
    assert readable(figure).count("–") == 1


def test_a_mean_over_fewer_seeds_than_the_run_has_is_marked(readable):
    extra = [{"seed": seed} for seed in range(3)]
    one, two = fake("one", [8], [0.1, 0.2], extra=extra), fake("two", [8], [0.1, 0.2], 0.5)
    for row in one.metrics()[1:3]:
        row |= {"state": "failed", "mmcs": math.nan}
    figure = drawn(sides(one, two))
    words = readable(figure)
    assert "cut corner: mean over fewer seeds than the run has" in words
    assert [cut(axes) for axes in figure.axes[:2]] == [{(0, 0)}, set()]
    assert written(figure.axes[0]) == {(0, 0): 0, (0, 1): 0.04}  # of one seed, of 3, 4 and 5
    alone = drawn(sides(one))
    assert "cut corner: mean over fewer than 3 seeds" in readable(alone)


@pytest.mark.parametrize("runs", [1, 2])
def test_a_hundred_and_thirty_six_cells_are_readable(runs, readable):
    l1 = [10 ** (k / 4) for k in range(-8, 9)]
    many = [fake(f"run{k}", [2**k for k in range(1, 9)], l1, k / 10) for k in range(runs)]
    figure = drawn(sides(*many))
    readable(figure)
    assert all(len(written(axes)) == 136 for axes in figure.axes[:runs])


def test_files_are_written_for_the_main_metrics_or_those_asked_for(finished: Run, tmp_path: Path):
    pair = [Side(finished, "a"), Side(finished, "b")]
    paths = draw_side_by_side(pair, tmp_path / "new" / "folder", ["fvu", "mcc"])
    assert [path.name for path in paths] == ["fvu.png", "mcc.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert set(MAIN) <= set(METRICS)
