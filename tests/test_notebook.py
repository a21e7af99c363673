"""A run in a notebook: what it shows, and the tables and figures that it gives."""

from __future__ import annotations

import io
import os
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import saesweep
from saesweep import run_folder
from saesweep.errors import RunError, UsageError
from saesweep.figures import gifs
from saesweep.figures.animations.encoding import write_animation
from saesweep.notebook import Run

SEEDS = """
data: {activation_dim: 3, n_features: 4, mean_active: 1}
grid: {model.variant: [relu, topk], l1: [0.01, 0.1], k: [1, 2], dict_ratio: [2, 4], seed: [0, 1]}
train: {epochs: 10, batch_size: 64}
snapshot_every: 5
eval: {n_samples: 500}
jobs: {plot: false}
"""


@pytest.fixture(scope="module")
def opened(finished: run_folder.Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("opened") / "a<b>"
    shutil.copytree(finished.path, path)
    return saesweep.Run(path)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return saesweep.run(saesweep.parse_config(SEEDS), out=tmp_path_factory.mktemp("seeds"))


class Text(HTMLParser):
    """The tags and the words of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_run_shows_its_table_and_four_heatmaps(opened: Run) -> None:
    shown = Text(opened._repr_html_())
    assert shown.tags.count("img") == 4
    assert all((image["src"] or "").startswith("data:image/png") for image in shown.images)
    assert {row["cell"] for row in opened.metrics()} <= set(shown.words)
    assert any("a<b>: 4 done" in words for words in shown.words)  # its name is text


def test_a_run_without_a_finished_cell_shows_its_states(opened: Run, tmp_path: Path) -> None:
    shutil.copytree(opened.path, tmp_path / "begun")
    shutil.rmtree(tmp_path / "begun" / "cells")
    shown = Text(Run(tmp_path / "begun")._repr_html_())
    assert shown.images == []
    assert "waiting" in shown.words


def test_a_frame_has_a_row_a_cell_and_every_metric(opened: Run) -> None:
    pandas = pytest.importorskip("pandas")
    frame = opened.frame()
    assert isinstance(frame, pandas.DataFrame)
    rows = opened.metrics()
    assert list(frame.index) == [row["cell"] for row in rows]
    assert frame["mmcs"].tolist() == [row["mmcs"] for row in rows]


def test_without_pandas_it_says_what_to_install(
    opened: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        opened.frame()


def test_a_matrix_has_a_row_a_size_and_a_column_a_penalty(opened: Run) -> None:
    by_place = {(row["dict_size"], row["l1_penalty"]): row["fvu"] for row in opened.metrics()}
    expected = [[by_place[size, l1] for l1 in (0.01, 0.1)] for size in (8, 16)]
    np.testing.assert_array_equal(opened.matrix("fvu"), expected)


def test_a_matrix_of_seeds_and_variants_says_which(seeds: Run) -> None:
    rows = [r for r in seeds.metrics() if r["k"] == 1 and r["dict_size"] == 8]
    assert len(rows) == 2
    matrix = seeds.matrix("mmcs", over="k", variant="topk")
    assert matrix.shape == (2, 2)
    assert matrix[0, 0] == pytest.approx(np.mean([row["mmcs"] for row in rows]))
    with pytest.raises(UsageError, match="over='l2': this run has 'l1', 'k'; choose one"):
        seeds.matrix("mmcs", over="l2")
    with pytest.raises(UsageError, match="over=None: this run has 'l1', 'k'; choose one"):
        seeds.heatmap("mmcs")
    with pytest.raises(UsageError, match="variant='gated': this run has 'topk'"):
        seeds.matrix("mmcs", over="k", variant="gated")
    with pytest.raises(UsageError, match="did you mean mmcs"):
        seeds.matrix("mmc")
    with pytest.raises(UsageError, match="no metric None: allowed: recon_loss"):
        seeds.matrix(None)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="no cell 'None'"):
        seeds.curves(None)  # type: ignore[arg-type]


def test_a_matrix_of_several_variants_on_one_axis_needs_a_choice(tmp_path: Path) -> None:
    config = (
        SEEDS.replace("topk]", "gated]").replace(" k: [1, 2],", "").replace(", seed: [0, 1]", "")
    )
    run = saesweep.run(saesweep.parse_config(config), out=tmp_path)
    with pytest.raises(UsageError, match="variant=None: this run has 'relu', 'gated'; choose one"):
        run.matrix("mmcs")
    assert not np.array_equal(
        run.matrix("mmcs", variant="relu"), run.matrix("mmcs", variant="gated")
    )
    (html,) = [run._repr_html_()]
    assert html.count("<img") == 4  # both are panels of each


def test_a_run_of_several_axes_shows_them_all(seeds: Run) -> None:
    alts = [image["alt"] or "" for image in Text(seeds._repr_html_()).images]
    assert len(alts) == 8
    assert sum("k, active latents" in alt for alt in alts) == 4


def test_a_run_says_where_it_is(opened: Run) -> None:
    assert repr(opened) == f"Run({str(opened.path)!r})"


def test_a_single_change_may_be_given_alone(opened: Run, tmp_path: Path) -> None:
    run = saesweep.run(opened.path / "config.yaml", out=tmp_path, changes="train.epochs=1")
    assert {cell.train.epochs for cell in run.cells} == {1}
    with pytest.raises(UsageError, match=r"--set train\.lr=1: .* only keys of jobs may change"):
        saesweep.resume(run.path, changes="train.lr=1")


def test_what_is_no_config_is_refused() -> None:
    with pytest.raises(TypeError, match="a SweepConfig or a path, not NoneType"):
        saesweep.run(None)  # type: ignore[arg-type]


def test_figures_are_figures(opened: Run) -> None:
    curves = opened.curves("l1=0.1_dict=16")
    for figure in (opened.heatmap("mmcs"), curves, opened.trade_off(), opened.figure("density")):
        assert isinstance(figure, Figure)
        content, size = figure._repr_png_()  # type: ignore[operator]
        assert content.startswith(b"\x89PNG")
        # Shown at the size for which its texts were measured.
        assert Image.open(io.BytesIO(content)).width == pytest.approx(size["width"] / 0.6, abs=2)
    with pytest.raises(RunError, match="did you mean"):
        opened.curves("l1=0.1_dict=17")
    with pytest.raises(RunError, match="no figure 'x'"):
        opened.figure("x")
    with pytest.raises(UsageError, match="allowed: fvu, mmcs, f1"):
        opened.trade_off("l0")


def test_curves_are_those_of_the_history(opened: Run) -> None:
    history = opened.history("l1=0.1_dict=16")
    axes = {one.get_title(loc="left"): one for one in opened.curves("l1=0.1_dict=16").axes}
    assert list(axes) == ["loss", "recon loss", "mmcs", "dead neurons", "l0", "fvu"]
    (line,) = axes["mmcs"].get_lines()
    np.testing.assert_array_equal(line.get_xdata(), history["epoch"])
    np.testing.assert_array_equal(line.get_ydata(), history["mmcs"])


def test_a_gif_is_drawn_once_and_shows_itself(opened: Run, seeds: Run) -> None:
    name = "l1=0.1_dict=8"
    shown = opened.gif(name)
    assert shown.path == opened.gifs_dir / f"{name}.gif"
    assert [path.name for path in opened.gifs_dir.iterdir()] == [f"{name}.gif"]
    written = shown.path.stat().st_mtime_ns
    assert opened.gif(name).path.stat().st_mtime_ns == written
    assert "data:image/gif;base64," in shown._repr_html_()
    assert opened.gif().path.name == "grid.gif"
    assert seeds.gif(over="k").path.name == "grid_k.gif"
    with pytest.raises(UsageError, match="over=None: this run has 'l1', 'k'"):
        seeds.gif()


def test_a_gif_that_is_older_than_what_it_shows_is_drawn_again(opened: Run, tmp_path: Path) -> None:
    """As of a run that was looked at while it trained."""
    shutil.copytree(opened.path, tmp_path / "run")
    run, name = Run(tmp_path / "run"), "l1=0.1_dict=8"
    cell = run.cell(name)
    shutil.rmtree(run.gifs_dir, ignore_errors=True)
    shutil.move(run.folder(name).path, tmp_path / "aside")
    before = run.gif().path.read_bytes()
    shutil.move(tmp_path / "aside", run.folder(name).path)
    os.utime(run.folder(name).path / "result.json")
    assert run.gif().path.read_bytes() != before
    assert run.gif(cell).path == run.gifs_dir / f"{name}.gif"


def test_a_cell_that_ends_while_a_gif_is_drawn_is_drawn_again(
    opened: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(opened.path, tmp_path / "run")
    run, name = Run(tmp_path / "run"), "l1=0.1_dict=8"
    shutil.rmtree(run.gifs_dir, ignore_errors=True)
    drawn: list[Path] = []

    def write(path: Path, *rest: Any) -> None:
        drawn.append(path)
        if len(drawn) == 1:
            os.utime(run.folder(name).path / "result.json")
        write_animation(path, *rest)

    monkeypatch.setattr(gifs, "write_animation", write)
    run.gif(name)
    run.gif(name)
    run.gif(name)
    assert len(drawn) == 2


def test_a_cell_that_waits_is_said_to(opened: Run, tmp_path: Path) -> None:
    shutil.copytree(opened.path, tmp_path / "run")
    run, name = Run(tmp_path / "run"), "l1=0.1_dict=8"
    shutil.rmtree(run.folder(name).path)
    for read in (run.history, run.snapshots, run.sae, run.curves):
        with pytest.raises(RunError, match=f"run: cell {name} is waiting; .* No such file"):
            read(name)


def test_cells_are_named_or_given(opened: Run) -> None:
    cell = opened.cells[0]
    assert opened.cell(cell) is cell
    assert isinstance(opened.curves(cell), Figure)


def test_a_metric_that_is_not_measured_is_no_empty_figure(opened: Run) -> None:
    for metric in ("stability", "brier", "ce_recovered"):
        with pytest.raises(
            UsageError, match=f"{metric} is not measured here; these cells have recon"
        ):
            opened.heatmap(metric)


def test_figures_of_the_data_are_there_by_name(opened: Run) -> None:
    assert isinstance(opened.figure("feature_frequency"), Figure)
    with pytest.raises(RunError, match=r"no figure 'sample': did you mean samples\?"):
        opened.figure("sample")
