"""The page in a real browser: what can be done with it, and that it asks nobody for anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saesweep.report.write import write_report
from saesweep.run_folder import Run

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("plotly")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
    # Playwright's own loop, left behind when a test ends.
    pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"),
]


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

    def call(*runs: Run, width: int = 1280, scheme: str = "light") -> Opened:
        path = write_report(runs, tmp_path / "report.html")
        viewport = {"width": width, "height": 900}
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        shown.append(Opened(context.new_page(), path))
        return shown[-1]

    yield call
    for opened in shown:
        assert opened.complaints == []
        assert all(url.startswith("file:") for url in opened.requests)
        opened.page.context.close()


def test_a_metric_is_chosen_from_the_list(show: Any, finished: Run) -> None:
    opened = show(finished)
    assert "Mean Max Cosine Similarity" in opened.text("#definition")
    assert "truth 1" in opened.text("#scale")
    opened.page.select_option("#metric", "recon_loss")
    assert "lower is better" in opened.text("#definition")
    row = finished.metrics()[0]
    shown = opened.page.locator("#panels .textpoint").all_text_contents()
    assert float(shown[0]) == pytest.approx(row["recon_loss"], rel=5e-3)


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
    body = opened.text("#cell")
    assert f"saesweep export {finished.path} l1=0.01_dict=16 --to saelens" in body
    assert "How often latents fire" in body
    assert "True features: learned" in body
    opened.page.click("text=Next →")
    opened.page.wait_for_function("document.querySelector('#cell-title').innerText.includes('0.1')")
    opened.page.click("text=Close")
    assert opened.page.locator("#cell").is_hidden()


def test_a_link_to_a_cell_opens_it(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.evaluate("() => location.hash = '%'")  # cut short by whoever copied it
    opened.page.evaluate("name => location.hash = name", f"{finished.name}/l1=0.1_dict=8")
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    assert opened.text("#cell-title") == "l1=0.1_dict=8"


def test_the_keyboard_is_enough(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.locator("#panels .js-plotly-plot").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        opened.page.keyboard.press(key)
    value = finished.metrics()[-1]["mmcs"]
    said = opened.page.locator("#live").text_content()
    assert said.startswith("4× (16), L1 0.1: ")
    assert float(said.rpartition(" ")[2]) == pytest.approx(value, rel=5e-3)
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    assert opened.text("#cell-title") == "l1=0.1_dict=16"
    assert opened.page.evaluate("document.activeElement.id") == "cell-title"


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
    shown = opened.page.locator("#cells tbody tr td:first-child").all_inner_texts()
    assert shown == [row["cell"] for row in rows]
    assert opened.page.locator("#cells th[aria-sort=ascending]").count() == 1
    opened.page.click("#cells [data-key=fvu]")
    shown = opened.page.locator("#cells tbody tr td:first-child").all_inner_texts()
    assert shown == [row["cell"] for row in reversed(rows)]
    opened.page.fill("#find", "dict=16")
    assert opened.page.locator("#cells tbody tr").count() == 2


def test_any_metric_against_any_other_with_its_front(show: Any, finished: Run) -> None:
    opened = show(finished)
    opened.page.locator("#trade-off").scroll_into_view_if_needed()
    opened.page.wait_for_selector("#trade-off.js-plotly-plot")
    assert "Pareto front" in opened.text("#trade-off-note")
    opened.page.select_option("#x", "fvu")
    opened.page.select_option("#y", "mmcs")
    rows = [(row["fvu"], row["mmcs"]) for row in finished.metrics()]
    front = [p for p in rows if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in rows)]
    drawn = opened.page.evaluate("[...document.querySelector('#trade-off').data[0].x]")
    assert drawn == pytest.approx(sorted(x for x, _ in front), rel=1e-4)
    opened.page.select_option("#x", "true_l0")
    assert "No Pareto front" in opened.text("#trade-off-note")
    opened.page.select_option("#colour", "size")
    names = opened.page.evaluate("document.querySelector('#trade-off').data.map(t => t.name)")
    assert names == ["8", "16"]


def test_themes_switch_and_print_is_light(show: Any, finished: Run) -> None:
    opened = show(finished, scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = opened.page.evaluate(background)
    assert dark == "rgb(20, 23, 26)"
    opened.page.click("#theme")
    assert opened.page.evaluate(background) == "rgb(255, 255, 255)"
    opened.page.click("#theme")
    assert opened.page.evaluate(background) == dark
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate(background) == "rgb(255, 255, 255)"
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert opened.page.evaluate(background) == dark


def test_nothing_is_wider_than_a_telephone(show: Any, finished: Run, seeds: Run) -> None:
    opened = show(finished, seeds, width=390)
    opened.page.evaluate("name => location.hash = name", "seeds/" + seeds.cells[1].name)
    opened.page.wait_for_selector("#cell .plots .js-plotly-plot")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_failed_cell_says_why(show: Any, seeds: Run) -> None:
    opened = show(seeds)
    assert "its loss is not finite" in opened.text("main")
    opened.page.evaluate("name => location.hash = name", f"seeds/{seeds.cells[0].name}")
    opened.page.wait_for_selector("#cell:not([hidden])")
    assert "at step 3" in opened.text("#cell")


def test_a_strangers_run_runs_nothing(show: Any, hostile: Run) -> None:
    opened = show(hostile)
    opened.page.evaluate(
        "location.hash = encodeURIComponent(document.querySelector('h1').innerText)"
    )
    opened.page.locator("#trade-off").scroll_into_view_if_needed()
    opened.page.wait_for_selector("#trade-off.js-plotly-plot")
    for state in ("failed", "done"):
        opened.page.locator(f"#cells tr:has(td:text-is('{state}')) button").first.click()
        opened.page.wait_for_timeout(300)
    x, y = opened.place(1, 1)
    opened.page.mouse.move(x - 3, y)
    opened.page.mouse.move(x, y)
    assert opened.page.evaluate("window.harmed") is None
    assert opened.page.locator("img[src=x], script:not(:is([type], :only-child))").count() <= 2
    assert "<img src=x" in opened.text("h1")


def test_a_run_without_a_finished_cell_says_so(show: Any, finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "begun")
    run = Run(tmp_path / "begun")
    for cell in run.cells:
        shutil.rmtree(run.folder(cell).path)
    shutil.rmtree(run.metrics_dir)
    assert "No cell is done yet" in show(run).text("#panels")
