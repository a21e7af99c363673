"""The page in a real browser: what it says, what can be done with it, that it asks nobody."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saesweep.catalogue import METRICS
from saesweep.config_file import parse_config
from saesweep.files import Row, to_json
from saesweep.metrics.seeds import Point, points
from saesweep.report.write import write_report
from saesweep.run_folder import Run
from saesweep.sweep import new_run, run_sweep

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("plotly")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
    # Playwright's own loop, left behind when a test ends.
    pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"),
]

TINY = """
data: {activation_dim: 3, n_features: 4, mean_active: 1}
train: {epochs: 4, batch_size: 128}
snapshot_every: 2
eval: {n_samples: 1000}
jobs: {plot: false}
"""
TOPK = TINY + "model: {variant: topk}\ngrid: {k: [1, 2], dict_ratio: [2]}\n"
CLOSE = TINY + "grid: {l1: [0.1234561, 0.1234569], dict_ratio: [2], seed: [20240101]}\n"
WHOLE = 2**62 + 1
"""A seed that JavaScript would round."""
TITLES = ("L1 penalty α", "k, active latents")
ODD = (
    TINY
    + f"""
grid:
  l1: [0.01, 0.01778, 0.1]
  dict_ratio: [2]
  seed: [0, {WHOLE}]
  model.decoder_bias: [true, false]
  train.batch_size: [128]
  train.lr: [0.001]
  train.loss: [sum]
"""
)
NARROW = TINY + "grid: {l1: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07], dict_ratio: [2]}\n"
MANY = TINY + "grid: {l1: {linspace: [0.01, 1, 130]}, dict_ratio: [2]}\n"


class Opened:
    """A page in a browser, and all that went wrong or was asked for."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page, self.path = page, path
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("body[data-ready]")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def texts(self, selector: str) -> list[str]:
        return list(self.page.locator(selector).all_inner_texts())

    def open(self, run: Run, name: str) -> None:
        """Open a cell by its address, and wait for its plots."""
        self.page.evaluate("name => location.hash = name", f"{run.name}/{name}")
        self.page.wait_for_selector("#cell .plots .js-plotly-plot")

    def click_cell(self, row: int, column: int) -> None:
        """Click into the first heatmap, where it has drawn this cell."""
        x, y = self.place(row, column)
        self.page.mouse.move(x, y)
        self.page.mouse.click(x, y)

    def place(self, row: int, column: int) -> tuple[float, float]:
        """Where a cell of the first heatmap is on the screen."""
        self.page.locator("#panels").scroll_into_view_if_needed()
        place = """([row, column]) => {
          const plot = document.querySelector("#panels .js-plotly-plot"), layout = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          return [box.x + layout.xaxis._offset + layout.xaxis.l2p(column),
                  box.y + layout.yaxis._offset + layout.yaxis.l2p(row)];
        }"""
        x, y = self.page.evaluate(place, [row, column])
        return float(x), float(y)

    def heatmap(self) -> Row:
        """The first heatmap: its values by row, where outlines are, and labels of columns."""
        found = """() => {
          const { data, layout } = document.querySelector("#panels .js-plotly-plot");
          const { z, colorscale: shades } = data.find((trace) => trace.name === "values");
          return { z, shades,
                   outlined: layout.shapes.map(
                     ({ x0, x1, y0, y1 }) => [(y0 + y1) / 2, (x0 + x1) / 2]),
                   columns: layout.xaxis.ticktext };
        }"""
        return dict(self.page.evaluate(found))

    def trade_off(self) -> dict[str, list[tuple[float, float]]]:
        """The points that are drawn, sorted, by the name of their trace."""
        self.page.locator("#trade-off").scroll_into_view_if_needed()
        self.page.wait_for_selector("#trade-off.js-plotly-plot")
        found = """document.querySelector("#trade-off").data.map(
          ({ name, x, y }) => [name, [...x].map((value, i) => [value, y[i]])])"""
        return {name: sorted(map(tuple, some)) for name, some in self.page.evaluate(found)}

    def curves(self) -> dict[str, list[tuple[list[float], list[float]]]]:
        """The lines of the small plots of the opened cell, by heading."""
        found = """[...document.querySelectorAll("#cell .plots > div")].map((holder) => [
          holder.querySelector("h3").textContent,
          holder.querySelector(".js-plotly-plot").data.map(({ x, y }) => [[...x], [...y]])])"""
        return dict(self.page.evaluate(found))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens the page of runs; in the end nothing was complained of, and nothing asked for."""
    shown: list[Opened] = []

    def call(
        *runs: Run,
        width: int = 1280,
        scheme: str = "light",
        motion: str = "",
        inline: bool = False,
    ) -> Opened:
        path = write_report(runs, tmp_path / "report.html", inline=inline)
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion=motion or "no-preference",
        )
        shown.append(Opened(context.new_page(), path))
        return shown[-1]

    yield call
    for opened in shown:
        assert opened.complaints == []
        assert all(url.startswith(("file:", "data:")) for url in opened.requests)
        opened.page.context.close()


def trained(text: str, folder: Path, name: str) -> Run:
    return run_sweep(new_run(parse_config(f"name: {name}\n{text}"), folder, name)).run


@pytest.fixture(scope="module")
def topk(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose variant is no axis of its grid."""
    return trained(TOPK, tmp_path_factory.mktemp("topk"), "topk")


@pytest.fixture(scope="module")
def close(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose penalties differ in the seventh digit, and whose seed has eight."""
    return trained(CLOSE, tmp_path_factory.mktemp("close"), "close")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with long names, a true and a false, and a seed beyond 2^53, in a folder to be quoted.

    Of the first point one seed has failed, of the second both.
    """
    run = trained(ODD, tmp_path_factory.mktemp("odd runs"), "odd")
    first, second = points(run.metrics())[:2]
    for name in (first.cells[0], *second.cells):
        folder = run.folder(name)
        shutil.rmtree(folder.path)
        folder.begin("on a device")
        folder.fail("its loss is not finite", "at step 3")
    return run


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose matrix has seven columns."""
    return trained(NARROW, tmp_path_factory.mktemp("narrow"), "narrow")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 130 cells that none has begun."""
    return new_run(parse_config(f"name: many\n{MANY}"), tmp_path_factory.mktemp("many"), "many")


@pytest.fixture
def with_more(finished: Run, tmp_path: Path) -> Run:
    """The small run with an autoencoder from elsewhere that beats all, and two animations."""
    path = tmp_path / "more" / "more"
    shutil.copytree(finished.path, path)
    run = Run(path)
    brought = run.path / "imported" / "from elsewhere"
    brought.mkdir(parents=True)
    metrics = {"mmcs": 0.99999, "l0": 0.001, "fvu": 1e-7}
    (brought / "result.json").write_text(to_json({"metrics": metrics, "dict_size": 8}))
    shutil.rmtree(run.gifs_dir, ignore_errors=True)
    run.gifs_dir.mkdir()
    frames = [Image.new("RGB", (40, 30), shade) for shade in ("red", "blue")]
    frames[0].save(run.gifs_dir / "grid.gif", save_all=True, append_images=frames[1:], duration=50)
    (run.gifs_dir / f"{run.cells[0].name}.mp4").write_bytes(b"no film, but its end is known")
    return run


def best_of(rows: Sequence[Row], key: str) -> set[str]:
    """The cells that are best in a metric, by every digit there is."""
    values = {row["cell"]: row[key] for row in rows if not math.isnan(row[key])}
    direction = METRICS[key].direction
    if direction is None or len(set(values.values())) < 2:
        return set()
    top = (min if direction == "lower" else max)(values.values())
    return {name for name, value in values.items() if value == top}


def group_of(run: Run, point: Point, by: str) -> str:
    """What the legend calls the points that are coloured like this one."""
    cell = run.cell(point.cells[0])
    kind, _, key = by.partition(":")
    if kind == "axis":
        return f"{cell.sparsity:g}" if cell.axis.key == key else "others"
    named = {"size": str(cell.dict_size), "model": cell.variant, "run": run.name}
    return named[kind]


# What the page says.


@pytest.mark.parametrize("key", ["mmcs", "recon_loss", "dead_neurons", "l0"])
def test_heatmaps_have_the_values_of_cells_and_outline_the_best(
    show: Any, finished: Run, key: str
) -> None:
    opened = show(finished)
    opened.page.select_option("#metric", key)
    rows = finished.metrics()
    sizes, penalties = (
        [*sorted({row[name] for row in rows})] for name in ("dict_size", "l1_penalty")
    )
    places = {
        row["cell"]: (sizes.index(row["dict_size"]), penalties.index(row["l1_penalty"]))
        for row in rows
    }
    found = opened.heatmap()
    change = math.log10 if "Logarithmic" in opened.text("#scale") else float
    for row in rows:
        i, j = places[row["cell"]]
        assert found["z"][i][j] == pytest.approx(change(row[key]), rel=1e-12)
    assert {tuple(place) for place in found["outlined"]} == {
        places[name] for name in best_of(rows, key)
    }
    shades = dict(map(tuple, found["shades"]))
    assert (shades[0], shades[1]) == ("#440154", "#fde725")


def test_a_metric_is_chosen_from_the_list(show: Any, finished: Run) -> None:
    opened = show(finished)
    assert "Mean Max Cosine Similarity" in opened.text("#definition")
    assert "truth 1" in opened.text("#scale")
    opened.page.select_option("#metric", "recon_loss")
    assert "lower is better" in opened.text("#definition")
    row = finished.metrics()[0]
    shown = opened.page.locator("#panels .textpoint").all_text_contents()
    assert float(shown[0]) == pytest.approx(row["recon_loss"], rel=5e-3)


def test_tables_mark_the_best_and_no_other(show: Any, finished: Run) -> None:
    opened = show(finished)
    rows = finished.metrics()
    opened.page.check("#all-metrics")
    keys = opened.page.locator("#cells thead button").evaluate_all(
        "all => all.map((b) => b.dataset.key)"
    )
    assert {"mmcs", "fvu", "l0", "f1"} < set(keys)
    marked = defaultdict(set)
    for row in opened.page.locator("#cells tbody tr").all():
        name = row.locator("th[scope=row]").inner_text()
        for key, cell in zip(keys[1:], row.locator("td").all(), strict=True):
            if "★" in cell.inner_text():
                marked[key].add(name)
    for key in keys[2:]:
        assert marked[key] == best_of(rows, key), key
    opened.page.check("#as-tables")
    assert opened.page.locator("#panels td.best").count() == len(best_of(rows, "mmcs"))


def test_curves_are_those_of_the_history(show: Any, finished: Run) -> None:
    cell = finished.cells[-1]
    opened = show(finished)
    opened.open(finished, cell.name)
    curves, history = opened.curves(), finished.history(cell)
    for key in ("loss", "mmcs", "l0"):
        ((epochs, values),) = curves[key]
        assert epochs == history["epoch"].tolist()
        assert values == pytest.approx(history[key].tolist(), rel=1e-4)
    learned = finished.snapshots(cell)["best_cosine"] > np.float32(0.9)
    (epochs, values), _ = curves["True features: learned"]
    assert values == learned.sum(axis=1).tolist()
    ((_, often),) = curves["How often latents fire"]
    assert sum(often) == np.count_nonzero(finished.snapshots(cell)["density"])


def test_points_are_coloured_by_each_axis(show: Any, seeds: Run) -> None:
    opened = show(seeds)
    choices = opened.page.locator("#colour option").evaluate_all("all => all.map((o) => o.value)")
    assert choices == ["axis:l1", "axis:k", "size", "model"]
    folded = [point for point in points(seeds.metrics()) if point.state == "done"]
    for by in choices:
        opened.page.select_option("#colour", by)
        expected = defaultdict(list)
        for point in folded:
            expected[group_of(seeds, point, by)].append((point.mean("l0"), point.mean("mmcs")))
        drawn = opened.trade_off()
        drawn.pop("Pareto front")
        assert drawn == {name: sorted(some) for name, some in expected.items()}
        shades = "document.querySelector('#trade-off').data.slice(1).map((t) => t.marker.color)"
        assert len(set(opened.page.evaluate(shades))) == len(expected) > 1


def test_any_metric_against_any_other_with_its_front(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.trade_off()
    opened.page.select_option("#x", "fvu")
    opened.page.select_option("#y", "mmcs")
    rows = [(row["fvu"], row["mmcs"]) for row in finished.metrics()]
    front = [p for p in rows if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in rows)]
    assert opened.trade_off()["Pareto front"] == sorted(front)
    note = opened.text("#trade-off-note")
    assert f"{len(front)} of 4 points" in note
    assert "at least as good in both and better in one" in note
    assert "loss: sum" in note
    opened.page.select_option("#x", "true_l0")
    assert "of true_l0 neither more nor less is better" in opened.text("#trade-off-note")
    opened.page.select_option("#x", "mmcs")
    assert "against itself" in opened.text("#trade-off-note")
    assert "Pareto front" not in opened.trade_off()


def test_imported_autoencoders_stand_beside_the_front_of_the_grid(
    show: Any, finished: Run, with_more: Run
) -> None:
    front = show(finished).trade_off()["Pareto front"]
    opened = show(with_more)
    drawn = opened.trade_off()
    assert drawn["imported"] == [(0.001, 0.99999)]
    assert drawn["Pareto front"] == front
    assert "Imported autoencoders are not counted" in opened.text("#trade-off-note")


def test_runs_that_differ_in_their_variant_are_told_apart(
    show: Any, finished: Run, topk: Run
) -> None:
    opened = show(finished, topk)
    assert opened.texts("#panels h3") == [f"{finished.name}; relu"]
    opened.page.select_option("#axis", "k")
    assert opened.texts("#panels h3") == ["topk; topk"]
    opened.page.select_option("#colour", "model")
    drawn = opened.trade_off()
    assert drawn["topk"] == sorted((row["l0"], row["mmcs"]) for row in topk.metrics())
    assert len(drawn["relu"]) == 4
    note = opened.text("#trade-off-note")
    assert f"α‖latents‖₁ ({finished.name})" in note
    assert "what the variant adds to it (topk)" in note


def test_what_a_grid_tells_apart_is_shown_apart(show: Any, close: Run) -> None:
    opened = show(close)
    assert opened.heatmap()["columns"] == ["0.123456", "0.123457"]
    opened.open(close, close.cells[0].name)
    body = opened.text("#cell-body")
    assert "20240101" in body
    assert "0.1234561" in body


def test_the_scale_has_every_mark_and_no_label_on_another(
    show: Any, finished: Run, seeds: Run, close: Run
) -> None:
    opened = show(finished, seeds, close)
    boxes = """(kind) => [...document.querySelectorAll(`#scale span.${kind}`)]
      .filter((label) => getComputedStyle(label).visibility === "visible")
      .map((label) => label.getBoundingClientRect()).map(({ left, right }) => [left, right])"""
    for key in ("uniqueness", "n_learned", "precision"):
        opened.page.select_option("#metric", key)
        *_, low, high = sorted(map(float, opened.texts("#scale span.tick")))[::4]
        words = opened.text("#scale p").partition("with: ")[2].rstrip(".")
        told = [float(part.rpartition(" ")[2]) for part in words.split("; ")]
        inside = [value for value in told if low < value < high]
        assert len(inside) <= opened.page.locator("#scale i.mark").count() <= len(told)
        for kind in ("mark", "tick"):
            ends = sorted(opened.page.evaluate(boxes, kind))
            assert ends
            assert all(right < left for (_, right), (left, _) in pairwise(ends))


def test_a_failed_cell_says_why(show: Any, seeds: Run) -> None:
    opened = show(seeds)
    assert "its loss is not finite" in opened.text("#failed")
    opened.page.click("#failed summary")
    assert "at step 3" in opened.text("#failed pre")
    opened.page.evaluate("name => location.hash = name", f"seeds/{seeds.cells[0].name}")
    opened.page.wait_for_selector("#cell:not([hidden])")
    assert "at step 3" in opened.text("#cell")


# What can be done with it.


def test_hovering_shows_every_metric_of_the_cell(show: Any, finished: Run) -> None:
    opened = show(finished)
    x, y = opened.place(0, 1)
    opened.page.mouse.move(x - 3, y)
    opened.page.mouse.move(x, y)
    opened.page.wait_for_selector("#tip:not([hidden])")
    tip = opened.text("#tip")
    assert "l1=0.1_dict=8" in tip
    for key in ("recon_loss", "mmcs", "fvu", "accuracy"):
        assert key in tip
    opened.page.mouse.move(5, 5)
    opened.page.wait_for_selector("#tip", state="hidden")


def test_a_click_opens_the_cell(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.click_cell(1, 0)
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    assert opened.text("#cell-title") == "l1=0.01_dict=16"
    assert f"saesweep export {finished.path} l1=0.01_dict=16 --to saelens" in opened.text("#cell")
    opened.page.click("text=Next →")
    opened.page.wait_for_selector("#cell-title:has-text('0.1')")
    opened.page.click("text=Close")
    assert opened.page.locator("#cell").is_hidden()


def test_a_link_to_a_cell_opens_it(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.evaluate("() => location.hash = '%'")  # cut short by whoever copied it
    opened.open(finished, "l1=0.1_dict=8")
    assert opened.text("#cell-title") == "l1=0.1_dict=8"


def test_names_of_folders_need_not_be_unicode(show: Any, finished: Run, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    shutil.copytree(finished.path, path)
    opened = show(Run(path))
    opened.page.locator("#cells tbody button").first.click()
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")


def test_the_keyboard_is_enough(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.locator("#panels .js-plotly-plot").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        opened.page.keyboard.press(key)
    row = finished.metrics()[-1]
    said = opened.page.locator("#live").text_content()
    best = ", best" if row["cell"] in best_of(finished.metrics(), "mmcs") else ""
    assert said.startswith("4× (16), L1 0.1: ")
    assert said.endswith(best)
    assert float(said.removesuffix(best).rpartition(" ")[2]) == pytest.approx(row["mmcs"], rel=5e-3)
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    assert opened.text("#cell-title") == "l1=0.1_dict=16"
    assert opened.page.evaluate("document.activeElement.id") == "cell-title"


def test_the_keys_of_the_browser_stay_its_own(show: Any, finished: Run) -> None:
    opened = show(finished)
    taken = """(held) => {
      const event = new KeyboardEvent("keydown", { key: "ArrowLeft", cancelable: true, ...held });
      return !document.querySelector("#panels .js-plotly-plot").dispatchEvent(event);
    }"""
    assert opened.page.evaluate(taken, {})
    assert not opened.page.evaluate(taken, {"altKey": True})


def test_closing_leads_back_to_where_the_reader_was(show: Any, finished: Run) -> None:
    opened = show(finished)
    focused = "document.activeElement.getAttribute('role') || document.activeElement.innerText"
    opened.page.locator("#cells tbody button").nth(2).focus()
    name = opened.page.evaluate(focused)
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    opened.page.click("text=Next →")
    opened.page.click("text=Close")
    assert opened.page.evaluate(focused) == name
    opened.click_cell(0, 0)
    opened.page.click("text=Close")
    assert opened.page.evaluate(focused) == "group"
    opened.open(finished, finished.cells[0].name)
    opened.page.click("#theme")
    opened.page.click("text=Close")
    assert opened.page.evaluate("document.activeElement.id") in ("matrices-title", "theme")


def test_closing_at_once_is_no_error(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.evaluate("""() => {
      document.querySelector("#cells tbody button").click();
      [...document.querySelectorAll("#cell button")].find((b) => b.innerText === "Close").click();
    }""")
    opened.page.wait_for_timeout(300)
    assert opened.page.locator("#cell .js-plotly-plot").count() == 0


def test_cells_that_were_opened_leave_nothing_behind(show: Any, finished: Run) -> None:
    opened = show(finished)
    session = opened.page.context.new_cdp_session(opened.page)

    def nodes() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Memory.getDOMCounters")["nodes"])

    opened.open(finished, finished.cells[0].name)
    counted = []
    for _ in range(3):
        for _ in range(4):
            opened.page.click("text=Next →")
            opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
        opened.page.wait_for_timeout(200)
        counted.append(nodes())
    assert counted[-1] < 1.2 * counted[0]


def test_the_same_as_tables(show: Any, seeds: Run) -> None:
    opened = show(seeds)
    opened.page.check("#as-tables")
    assert opened.page.locator("#panels table").count() == 1  # those on L1
    assert "±" in opened.text("#panels")
    opened.page.select_option("#axis", "k")
    opened.page.locator("#panels td button").first.click()
    assert "_k=1_" in opened.text("#cell-title")
    opened.page.click("text=seed 1")
    assert "seed=1" in opened.text("#cell-title")


def test_the_table_of_cells_is_sorted_and_searched(show: Any, finished: Run) -> None:
    opened = show(finished)
    rows = sorted(finished.metrics(), key=lambda row: row["fvu"])
    opened.page.click("#cells [data-key=fvu]")
    assert opened.texts("#cells tbody th[scope=row]") == [row["cell"] for row in rows]
    assert opened.page.locator("#cells th[aria-sort=ascending]").count() == 1
    opened.page.click("#cells [data-key=fvu]")
    assert opened.texts("#cells tbody th") == [row["cell"] for row in reversed(rows)]
    opened.page.fill("#find", "dict=16")
    assert opened.page.locator("#cells tbody tr").count() == 2


BACKGROUND = "getComputedStyle(document.body).backgroundColor"
WHITE, NIGHT = "rgb(255, 255, 255)", "rgb(20, 23, 26)"


def test_themes_switch(show: Any, finished: Run) -> None:
    opened = show(finished, scheme="dark")
    assert opened.page.evaluate(BACKGROUND) == NIGHT
    assert opened.text("#theme") == "Light"
    opened.page.click("#theme")
    assert opened.page.evaluate(BACKGROUND) == WHITE
    assert opened.text("#theme") == "Dark"
    opened.page.click("#theme")
    assert opened.page.evaluate(BACKGROUND) == NIGHT


def test_the_theme_follows_the_system(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_selector("#theme:text-is('Light')")
    assert opened.page.evaluate(BACKGROUND) == NIGHT


AS_PRINTED = """() => {
  const see = () => ({
    background: getComputedStyle(document.body).backgroundColor,
    plots: document.querySelectorAll("#cell .plots .js-plotly-plot .lines path").length,
    points: document.querySelectorAll("#trade-off .points path").length,
    folded: document.querySelectorAll("details:not([open])").length,
    rows: document.querySelectorAll("#cells tbody tr").length,
    cut: [...document.querySelectorAll(".wide")]
      .filter((holder) => holder.scrollWidth > holder.clientWidth + 1).length,
    log: document.querySelector("#failed pre")?.textContent,
    wide: Math.max(...[...document.querySelectorAll("svg")]
      .map((drawing) => drawing.getBoundingClientRect().right)),
  });
  window.seen = { before: see() };
  window.addEventListener("beforeprint", () => { window.seen.printed = see(); });
  window.addEventListener("afterprint", () => { window.seen.after = see(); });
}"""


def test_print_is_light_and_leaves_nothing_out(show: Any, seeds: Run) -> None:
    opened = show(seeds, scheme="dark")
    opened.open(seeds, seeds.cells[1].name)
    opened.page.evaluate(AS_PRINTED)
    opened.page.pdf()
    before, printed, after = (
        opened.page.evaluate("window.seen")[name] for name in ("before", "printed", "after")
    )
    assert (before["background"], printed["background"]) == (NIGHT, WHITE)
    assert printed["plots"] == before["plots"] == after["plots"] > 5
    assert printed["points"] > 5
    assert printed["folded"] == 0 < before["folded"] == after["folded"]
    assert printed["cut"] == 0 < before["cut"]
    assert "at step 3" in printed["log"]
    assert printed["wide"] <= 1280 / 2 + 44 * 16 / 2 + 1  # in the middle, as wide as paper
    assert after["background"] == NIGHT
    assert opened.text("#theme") == "Light"


def test_print_has_all_rows(show: Any, waiting: Run) -> None:
    opened = show(waiting)
    opened.page.evaluate(AS_PRINTED)
    opened.page.pdf()
    seen = opened.page.evaluate("window.seen")
    assert [seen[name]["rows"] for name in ("before", "printed", "after")] == [100, 130, 100]


def test_animations_can_be_stopped(show: Any, with_more: Run) -> None:
    opened = show(with_more)
    opened.page.locator(".animation").scroll_into_view_if_needed()
    opened.page.click(".animation >> text=Pause")
    assert opened.page.locator(".animation canvas").is_visible()
    assert opened.page.locator(".animation img").is_hidden()
    opened.page.click(".animation >> text=Play")
    assert opened.page.locator(".animation img").is_visible()


@pytest.mark.parametrize("inline", [False, True])
def test_animations_stand_still_for_who_asks_for_calm(
    show: Any, with_more: Run, inline: bool
) -> None:
    calm = show(with_more, motion="reduce", inline=inline)
    calm.page.locator(".animation").scroll_into_view_if_needed()
    calm.page.wait_for_selector(".animation >> text=Play")
    # As one does that was there before the script and whose load is told after it.
    calm.page.locator(".animation img").dispatch_event("load")
    assert calm.page.locator(".animation img").is_hidden()
    shown = "({ clientWidth, clientHeight }) => [clientWidth, clientHeight]"
    assert calm.page.locator(".animation canvas").evaluate(shown) == [40, 30]
    calm.open(with_more, with_more.cells[0].name)
    assert calm.page.locator("#cell video").get_attribute("aria-label").endswith("as it is learned")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(
    show: Any, finished: Run, seeds: Run, topk: Run, width: int
) -> None:
    opened = show(finished, seeds, topk, width=width)
    opened.open(seeds, seeds.cells[1].name)
    for key in ("mmcs", "uniqueness"):
        opened.page.select_option("#metric", key)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_strangers_run_runs_nothing(show: Any, hostile: Run) -> None:
    opened = show(hostile)
    opened.page.evaluate(
        "location.hash = encodeURIComponent(document.querySelector('h1').innerText)"
    )
    opened.trade_off()
    opened.page.locator("#failed summary").first.click()
    for state in ("failed", "done"):
        opened.page.locator(f"#cells tr:has(td:text-is('{state}')) button").first.click()
        opened.page.wait_for_timeout(300)
    x, y = opened.place(1, 1)
    opened.page.mouse.move(x - 3, y)
    opened.page.mouse.move(x, y)
    assert opened.page.evaluate("window.harmed") is None
    assert opened.page.locator("img[src=x], [onerror], [onload], iframe").count() == 0
    # The data, Plotly packed, the page's own; and Plotly unpacked by that.
    assert opened.page.evaluate("document.scripts.length") == 4
    assert "<img src=x" in opened.text("h1")


def test_a_run_without_a_finished_cell_can_be_read(show: Any, waiting: Run) -> None:
    opened = show(waiting)
    assert "No cell is done yet" in opened.text("#panels")
    assert opened.page.locator("select:visible").count() == 0
    opened.page.click("#theme")
    assert opened.page.evaluate(BACKGROUND) == NIGHT
    opened.page.evaluate("name => location.hash = name", f"many/{waiting.cells[0].name}")
    opened.page.wait_for_selector("#cell:not([hidden])")
    assert f"saesweep resume {waiting.path}" in opened.text("#cell")
    opened.page.click("text=Show all 130")
    assert opened.page.locator("#cells tbody tr").count() == 130


# What leads elsewhere, and what to do next.


def test_plots_have_four_buttons_and_none_sends_anything(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.trade_off()
    opened.open(finished, finished.cells[0].name)
    opened.page.hover("#trade-off")
    told = "all => all.map((b) => b.dataset.title)"
    buttons = opened.page.locator(".modebar-btn").evaluate_all(told)
    assert buttons == ["Zoom", "Pan", "Reset axes", "Download plot as a PNG"]
    assert opened.page.locator(".modebar-btn--logo, .modebar a[href]").count() == 0
    sends = """[...document.querySelectorAll(".js-plotly-plot")].map(
      ({ _context: { showSendToCloud, plotlyServerURL } }) => showSendToCloud || plotlyServerURL)"""
    assert not any(opened.page.evaluate(sends))
    words = """[...document.body.querySelectorAll("*:not(script)")].flatMap((element) => [
      ...element.getAttributeNames().map((name) => element.getAttribute(name)),
      ...[...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data)])"""
    for word in opened.page.evaluate(words):
        assert not re.search(r"share chart|sharing|cloud|upload|chart.studio", word, re.I), word


@pytest.mark.parametrize(
    ("state", "command"),
    [
        ("running", "saesweep status {} --watch"),
        ("queued", "saesweep status {} --watch"),
        ("waiting", "saesweep resume {}"),
        ("interrupted", "saesweep resume {}"),
        ("failed", "saesweep resume {} --retry-failed"),
        ("damaged", "saesweep resume {} --retry-failed"),
    ],
)
def test_advice_fits_what_has_become_of_a_cell(
    show: Any, odd: Run, monkeypatch: pytest.MonkeyPatch, state: str, command: str
) -> None:
    monkeypatch.setattr(Run, "state", lambda self, cell, running=(): state)
    opened, expected = show(odd), command.format(shlex.quote(str(odd.path)))
    assert opened.texts("#panels code") == [expected]
    opened.page.locator("#cells tbody button").first.click()
    commands = opened.texts("#cell .commands code")
    assert expected in commands
    assert any("saesweep logs" in one for one in commands) == (state != "waiting")
    assert sum("saesweep resume" in one for one in commands) == ("resume" in command)
    alarming = state in ("failed", "damaged")
    assert opened.page.locator("#cell .alarm").count() == alarming
    assert [one for one in opened.texts("#failed p code")] == [expected] * alarming


# Seeds, names and numbers.


def test_seeds_that_failed_are_told_and_whole(show: Any, odd: Run) -> None:
    opened = show(odd)
    states = opened.texts("#cells tbody td:nth-child(2)")
    assert states == ["1/2 done, 1 failed", "2 failed", *["2/2 done"] * 4]
    opened.page.fill("#find", "failed")
    assert opened.page.locator("#cells tbody tr").count() == 2
    opened.open(odd, odd.cells[-1].name)
    assert opened.texts("#cell button[aria-pressed]") == ["seed 0", f"● seed {WHOLE}"]
    assert f"seed\t{WHOLE}" in opened.text("#cell table")


def test_integers_that_javascript_would_round_tell_runs_apart(show: Any, tmp_path: Path) -> None:
    seeds = [1, WHOLE, WHOLE + 1]
    text = TINY + "grid: {l1: [0.1], dict_ratio: [2], seed: [SEED]}\n"
    runs = [trained(text.replace("SEED", str(seed)), tmp_path, f"r{seed}") for seed in seeds]
    opened = show(*runs)
    opened.page.select_option("#colour", "apart:seed")
    drawn = opened.trade_off()
    assert [len(drawn[str(seed)]) for seed in seeds] == [1, 1, 1]


def test_cells_are_sorted_in_the_order_of_the_grid(show: Any, odd: Run) -> None:
    opened, names = show(odd), [point.name for point in points(odd.metrics())]
    opened.page.click("#cells [data-key=name]")
    assert opened.texts("#cells tbody th") == names
    opened.page.click("#cells [data-key=name]")
    assert opened.texts("#cells tbody th") == names[::-1]


# What stands where.


CLASHES = """() => {
  const box = (element) => element.getBoundingClientRect();
  const inside = (one, other) => {
    const [a, b] = [box(one), box(other)];
    return a.left >= b.left - 0.5 && a.right <= b.right + 0.5 && a.top >= b.top - 0.5;
  };
  const clash = (one, other) => {
    const [a, b] = [box(one), box(other)];
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  };
  const found = [];
  for (const panel of document.querySelectorAll(".panel")) {
    const plot = panel.querySelector(".svg-container");
    const texts = [...panel.querySelectorAll("h3, .gtitle, .annotation-text")];
    texts.forEach((text, i) => {
      const { textContent: words, scrollWidth, clientWidth } = text;
      if (!inside(text, panel) || scrollWidth > clientWidth) found.push(`${words} is cut`);
      texts.slice(0, i).filter((one) => clash(one, text)).forEach((one) => {
        found.push(`${words} on ${one.textContent}`);
      });
    });
    if (box(panel).width > box(plot).width + 1) found.push("a panel wider than its plot");
  }
  for (const plot of document.querySelectorAll("#cell .js-plotly-plot")) {
    for (const text of plot.querySelectorAll(".xtitle, .ytitle")) {
      if (!inside(text, plot)) found.push(`${text.textContent} is cut`);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("width", [1280, 720, 390])
def test_no_words_lie_on_others_or_are_cut(
    show: Any, odd: Run, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    density = {"low": -3, "counts": [0] * 23 + [4], "dead": 128}
    monkeypatch.setattr("saesweep.report.details._density", lambda *_: density)
    opened = show(odd, width=width)
    opened.open(odd, odd.cells[-1].name)
    assert opened.page.locator(f".settings td:text-is('{WHOLE}')").bounding_box()["height"] < 40
    assert "128 latents never fire" in opened.text("#cell .plots")
    assert opened.page.locator("#panels h3").count() == 2
    assert opened.page.evaluate(CLASHES) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1280:
        listen = f"addEventListener('beforeprint', () => {{ window.found = ({CLASHES})(); }})"
        opened.page.evaluate(listen)
        opened.page.pdf()
        assert opened.page.evaluate("window.found") == []


def test_an_outline_leaves_its_number_free(show: Any, narrow: Run) -> None:
    opened = show(narrow, width=390)
    opened.page.select_option("#metric", "fvu")
    free = """() => {
      const plot = document.querySelector("#panels .js-plotly-plot"), { shapes } = plot.layout;
      const { xaxis } = plot._fullLayout, left = plot.getBoundingClientRect().left + xaxis._offset;
      const [{ x0, x1, line }] = shapes, at = (x) => left + xaxis.l2p(x);
      const text = plot.querySelectorAll(".textpoint text")[(x0 + x1) / 2].getBoundingClientRect();
      return [text.left - at(x0) - line.width / 2, at(x1) - line.width / 2 - text.right];
    }"""
    assert min(opened.page.evaluate(free)) > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_stay_while_the_table_is_scrolled(show: Any, odd: Run, scheme: str) -> None:
    opened = show(odd, width=390, scheme=scheme)
    names = """() => {
      const holder = document.querySelector("#cells").closest(".wide");
      holder.scrollLeft = 200;
      return [...holder.querySelectorAll("th:first-child")].map((name) => [
        name.getBoundingClientRect().left - holder.getBoundingClientRect().left,
        getComputedStyle(name).backgroundColor, name.offsetWidth < holder.clientWidth / 1.5]);
    }"""
    found = opened.page.evaluate(names)
    assert opened.page.evaluate("document.querySelector('.wide:has(#cells)').scrollLeft") == 200
    assert {tuple(one) for one in found} == {(0, opened.page.evaluate(BACKGROUND), True)}


def test_escape_closes_a_cell_and_home_and_end_lead_to_the_ends(show: Any, narrow: Run) -> None:
    opened = show(narrow)
    opened.page.locator("#panels .js-plotly-plot").focus()
    said = []
    for key in ("End", "Home", "End"):
        opened.page.keyboard.press(key)
        said.append(opened.page.locator("#live").text_content().partition(":")[0])
    assert said == ["2× (8), L1 0.07", "2× (8), L1 0.01", "2× (8), L1 0.07"]
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    assert opened.text("#cell-title") == "l1=0.07_dict=8"
    opened.page.keyboard.press("Escape")
    assert opened.page.locator("#cell").is_hidden()
    assert opened.page.evaluate("document.activeElement.getAttribute('role')") == "group"


def test_small_words(show: Any, finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = finished.baselines()[0]
    monkeypatch.setattr(Run, "baselines", lambda self: [row])
    assert show(finished).text("[aria-label^=Classical] summary").startswith("1 row; ")


def test_where_the_best_is_if_it_is_elsewhere(show: Any, seeds: Run) -> None:
    opened = show(seeds)
    told = []
    for axis in ("l1", "k"):
        opened.page.select_option("#axis", axis)
        told += opened.text("#matrices-note").split(" Means")[:1]
    assert "The best is outlined." in told
    elsewhere = [f"The best cell is in the matrices over {title}." for title in TITLES]
    assert len({*told} & {*elsewhere}) == 1
