"""How large the report of a run is, and how soon a browser shows it: see docs/benchmarks.md.

    python benchmarks/report.py outputs/toy outputs/many

Runs are given; `saesweep run` makes them, for example of

    grid: {l1: {logspace: [0.01, 1, 40]}, dict_size: {linspace: [4, 53, 50]}}

with `train: {epochs: 100, batch_size: 256}` and `snapshot_every: 1`: 2,000 cells of 101 snapshots.
Needs Chromium, playwright and the extra `report`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from saesweep.report.write import write_report
from saesweep.run_folder import Run

TIMES = 5
SEEN = "['listed', 'plotly', 'ready'].map(name => Number(document.body.dataset[name]))"


def load(browser: Browser, path: Path) -> tuple[float, float, float]:
    """Milliseconds until the table of cells is there; of Plotly's start; until matrices are."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]")
    listed, plotly, ready = page.evaluate(SEEN)
    page.context.close()
    return listed, plotly, ready


def main() -> None:
    chromium = shutil.which("chromium") or sys.exit("needs Chromium")
    print(
        f"{'run':<20}{'cells':>7}{'MB':>7}{'write s':>9}{'table ms':>10}{'matrices ms':>13}", end=""
    )
    print(f"{'of which Plotly':>17}")
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for word in sys.argv[1:]:
            run, began = Run(word), time.perf_counter()
            path = write_report([run], Path(folder).resolve() / f"{run.name}.html")
            taken = time.perf_counter() - began
            times = [load(browser, path) for _ in range(TIMES)]
            listed, plotly, ready = (median(column) for column in zip(*times, strict=True))
            size = path.stat().st_size / 1e6
            print(f"{run.name:<20}{len(run.cells):>7}{size:>7.1f}{taken:>9.1f}", end="")
            print(f"{listed:>10.0f}{ready:>13.0f}{plotly:>17.0f}")


if __name__ == "__main__":
    main()
