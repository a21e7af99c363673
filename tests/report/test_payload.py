"""What the page is told: the same numbers as the tables, seeds folded, files by relative links."""

from __future__ import annotations

import base64
import math
import shutil
from pathlib import Path
from statistics import fmean, stdev

import pytest

from saesweep.catalogue import METRICS
from saesweep.report.payload import payload
from saesweep.run_folder import Run


def test_cells_and_metrics_are_those_of_the_run(finished: Run) -> None:
    (page,) = payload([finished], finished.path)["runs"]
    rows = finished.metrics()
    assert [cell["name"] for cell in page["cells"]] == [row["cell"] for row in rows]
    assert page["columns"] == ["l1_penalty", "dict_size", "dict_ratio", "loss"]
    for key in METRICS:
        expected = [row[key] for row in rows]
        if all(math.isnan(value) for value in expected):
            assert key not in page["metrics"]
        else:
            shown = [math.nan if v is None else float(v) for v in page["metrics"][key]]
            assert shown == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_points_fold_the_seeds_that_are_done(seeds: Run) -> None:
    (page,) = payload([seeds], seeds.path)["runs"]
    by_name = {row["cell"]: row for row in seeds.metrics()}
    folded = [point for point in page["points"] if point["done"] == 2]
    assert len(page["points"]) == 8
    assert len(folded) == 6
    for point in folded:
        values = [by_name[page["cells"][i]["name"]]["mmcs"] for i in point["cells"]]
        assert point["mean"]["mmcs"] == pytest.approx(fmean(values), rel=1e-4)
        assert point["spread"]["mmcs"] == pytest.approx(stdev(values), rel=1e-4)


def test_a_point_says_where_in_the_grid_it_is(seeds: Run) -> None:
    (page,) = payload([seeds], seeds.path)["runs"]
    places = {(p["variant"], p["axis"], p["sparsity"], p["size"]) for p in page["points"]}
    sparse = [("relu", "l1", x) for x in (0.01, 0.1)] + [("topk", "k", x) for x in (1, 2)]
    assert places == {(*place, size) for place in sparse for size in (8, 16)}


def test_cells_that_failed_have_their_reason_and_the_end_of_their_log(seeds: Run) -> None:
    page = payload([seeds], seeds.path)
    (failed,) = page["failed"]
    assert failed["name"] == seeds.cells[0].name
    assert failed["reason"] == "its loss is not finite"
    assert failed["log"].endswith("at step 3")
    states = [cell["state"] for cell in page["runs"][0]["cells"]]
    assert (states[0], states[-1]) == ("failed", "waiting")
    assert page["runs"][0]["counts"] == "1 failed, 14 done, 1 waiting"


def test_baselines_stand_beside_a_metric(finished: Run) -> None:
    (page,) = payload([finished], finished.path)["runs"]
    rows = {(row["baseline"], row["dict_size"]): row for row in finished.baselines()}
    found = page["references"]["mmcs"]
    assert found["marks"]["truth"] == pytest.approx(1)
    assert found["marks"]["PCA"] == pytest.approx(rows["pca", 3]["mmcs"], rel=1e-4)
    assert found["rows"]["chance"]["16"] == pytest.approx(rows["random", 16]["mmcs"], rel=1e-4)


def test_several_runs_say_what_differs(finished: Run, seeds: Run) -> None:
    page = payload([finished, seeds], finished.path)
    assert [run["label"] for run in page["runs"]] == [finished.name, "seeds"]
    differences = {row["key"]: row["values"] for row in page["differences"]}
    assert differences["name"] == ["small", "seeds"]
    assert payload([finished], finished.path)["differences"] == []
    assert page["failed"][0]["name"].startswith("seeds: ")


def test_gifs_are_links_from_the_page_or_in_it(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "a run")
    run = Run(tmp_path / "a run")
    name = run.cells[0].name
    run.gifs_dir.mkdir()
    (run.gifs_dir / f"{name}.gif").write_bytes(b"GIF89a")
    (run.gifs_dir / "grid.webp").write_bytes(b"RIFF")
    (page,) = payload([run], tmp_path)["runs"]
    link = {"kind": "image/gif", "source": "a%20run/gifs/" + name.replace("=", "%3D") + ".gif"}
    assert page["cells"][0]["animation"] == link
    assert page["cells"][1]["animation"] is None
    assert page["grids"][0]["kind"] == "image/webp"
    (page,) = payload([run], tmp_path, inline=True)["runs"]
    content = base64.b64encode(b"GIF89a").decode()
    assert page["cells"][0]["animation"]["source"] == f"data:image/gif;base64,{content}"


def test_a_link_out_of_the_run_is_not_passed_on(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    (tmp_path / "secret").write_text("of mine")
    run.gifs_dir.mkdir()
    (run.gifs_dir / "grid.gif").symlink_to(tmp_path / "secret")
    assert payload([run], tmp_path, inline=True)["runs"][0]["grids"] == []


def test_progress_counts_the_cells(finished: Run) -> None:
    told: list[tuple[int, int]] = []
    payload([finished], finished.path, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 4) for i in range(1, 5)]
