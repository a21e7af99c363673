"""A run of variants that are made sparse by different axes: every figure says which it shows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from saesweep.catalogue import METRICS
from saesweep.figures.animations.grid_frames import plan
from saesweep.figures.grid.figures import AGAINST, metric_curves, metric_heatmap, sparsity_against
from saesweep.figures.grid.side_by_side import Side, side_by_side
from saesweep.figures.grid.table import grid_tables
from saesweep.figures.recovery.prediction import prediction_figure
from saesweep.figures.recovery.probability import draw_probability
from saesweep.figures.style import LOSSES, OTHER_LOSSES, name_colours
from saesweep.figures.tracking.draw import draw_tracking
from saesweep.figures.variants import loss_words
from saesweep.metrics.prediction import predict

TITLES = {"l1": "L1 penalty α", "k": "k, active latents", "l0_coefficient": "L0 penalty λ",
          "prior_rate": "prior rate ρ"}  # fmt: skip
VARIANTS = {"l1": ["relu", "gated"], "k": ["topk", "batchtopk", "matryoshka"],
            "l0_coefficient": ["jumprelu"], "prior_rate": ["variational"]}  # fmt: skip


def test_heatmaps_and_curves_are_of_one_axis(mixed, readable):
    tables = grid_tables(mixed)
    assert {table.axis.key: table.variants for table in tables} == VARIANTS
    for table in tables:
        panels = table.panels("mmcs")
        assert all((panel.states == "done").all() for panel in panels)
        for figure in (
            metric_heatmap(table, METRICS["mmcs"]),
            metric_curves(table, METRICS["mmcs"], table.histories()),
        ):
            words = readable(figure)
            assert TITLES[table.axis.key] in words
            assert not {*TITLES.values()} - {TITLES[table.axis.key]} & {*words}
            assert OTHER_LOSSES["sum"] in words


@pytest.mark.parametrize("key", AGAINST)
def test_trade_offs_show_all_variants_at_once(key, mixed, readable):
    figure = sparsity_against(grid_tables(mixed), key)
    words = readable(figure)
    names = list(dict.fromkeys(cell.variant for cell in mixed.cells))
    assert {"variant", *names, "16 latents", "32 latents", "true L0 3.00"} <= set(words)
    found = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert len(found) == 2 * len(names)
    colours = name_colours(names)
    assert len(set(colours.values())) == 7
    rows = {}
    for row in mixed.metrics():
        rows.setdefault((row["model.variant"], row["dict_size"]), []).append((row["l0"], row[key]))
    for drawn, (place, points) in zip(found, rows.items(), strict=True):
        np.testing.assert_allclose(drawn.get_offsets(), points)
        np.testing.assert_allclose(
            drawn.get_facecolor()[:, :3], [colours[place[0]][:3]] * len(points)
        )
    assert figure.axes[0].get_xscale() == "log"


def test_variants_of_one_count_do_not_overprint(written, readable):
    run = written({"model.variant": ["topk", "batchtopk"], "k": [4], "dict_size": [8, 16, 32]})
    words = readable(sparsity_against(grid_tables(run), "fvu"))
    assert {"topk", "batchtopk", "8 latents"} <= set(words)


def test_other_axes_are_strokes(written, readable):
    run = written(
        {"model.variant": ["relu", "topk"], "l1": [0.1], "k": [4], "dict_size": [8],
         "model.tied": [False, True]}
    )  # fmt: skip
    figure = sparsity_against(grid_tables(run), "f1")
    assert {"model.tied=false", "model.tied=true", "relu", "topk"} <= set(readable(figure))


def test_one_variant_is_coloured_by_its_axis(written, readable):
    run = written({"model.variant": ["topk"], "k": [1, 4], "dict_size": [8]})
    words = readable(sparsity_against(grid_tables(run), "mmcs"))
    assert {"k, active latents", "1", "4", "8 latents"} <= set(words)
    assert "k, active latents" in readable(prediction_figure(run.metrics()))


def test_files_of_variants_are_named_by_them(mixed, readable):
    stems = {}
    for draw in (draw_tracking, draw_probability):
        stems |= {stem: readable(figure) for stem, figure in draw(mixed)}
    for key, names in VARIANTS.items():
        for name in names:
            assert TITLES[key] in stems[f"tracking_counts_{name}"]
            assert TITLES[key] in stems[f"mmcs_by_probability_{name}"]


def test_prediction_is_over_all_variants(mixed, readable):
    assert predict(mixed.metrics())[0]["cells"] == len(mixed.cells) / 2
    assert {"variant", "relu", "variational"} <= set(readable(prediction_figure(mixed.metrics())))


def test_runs_are_compared_axis_by_axis(mixed, written, readable):
    other = written({"l1": [0.1, 0.3], "dict_size": [16]})
    found = dict(side_by_side([METRICS["fvu"]], [Side(mixed, "one"), Side(other, "two")]))
    assert list(found) == [f"fvu_{key}" for key in TITLES if key in ("l1", "k")] + [
        "fvu_l0_coefficient", "fvu_prior_rate"]  # fmt: skip
    assert {"one; relu", "one; gated", "two"} <= set(readable(found["fvu_l1"]))
    assert "two" not in readable(found["fvu_k"])


def test_the_grid_of_panels_is_of_one_variant(mixed):
    layout = plan(mixed.cells, {"model.variant": "topk"})
    assert (layout.axis.key, layout.sparsity) == ("k", [1, 2, 4, 8])
    assert layout.notes == [f"8 of {len(mixed.cells)} cells: only topk."]


def test_losses_are_those_of_l1_only_where_they_are(written):
    assert loss_words(written({"l1": [0.1], "dict_size": [8]}).cells) == [LOSSES["sum"]]
    tanh = written({"l1": [0.1], "dict_size": [8], "model.penalty": ["lp", "tanh"]})
    assert loss_words(tanh.cells) == [OTHER_LOSSES["sum"]]
