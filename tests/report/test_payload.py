"""What the page is told: the same numbers as the tables, seeds folded, files by relative links."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from saesweep.catalogue import METRICS
from saesweep.config_file import dump_config, parse_config
from saesweep.figures.style import LOSSES, OTHER_LOSSES
from saesweep.report.failures import LEAST_LOG, LOG_LINES, MOST_LOG, MOST_REASON, Logs
from saesweep.report.payload import payload
from saesweep.run_folder import Run
from saesweep.tables import results_html
from tests.report.conftest import SECRET, seal

BEGIN = "data: {activation_dim: 3, n_features: 4, mean_active: 1}\n"


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished.path, tmp_path / "copied")
    return Run(tmp_path / "copied")


def change(run: Run, cell: int, **metrics: float | None) -> None:
    """Give a cell that is done other metrics."""
    folder = run.folder(run.cells[cell])
    path = folder.path / "result.json"
    result = json.loads(path.read_text())
    result["metrics"] |= metrics
    path.write_text(json.dumps(result))
    seal(folder)


def best(run: Run, key: str) -> list[int]:
    (page,) = payload([run], run.path)["runs"]
    return [place for place, point in enumerate(page["points"]) if key in point["best"]]


# Numbers


def test_cells_and_metrics_are_those_of_the_run(finished: Run) -> None:
    (page,) = payload([finished], finished.path)["runs"]
    rows = finished.metrics()
    assert [cell["name"] for cell in page["cells"]] == [row["cell"] for row in rows]
    assert page["columns"] == ["l1_penalty", "dict_size", "dict_ratio", "loss"]
    for key in METRICS:
        expected = [None if math.isnan(row[key]) else row[key] for row in rows]
        if all(value is None for value in expected):
            assert key not in page["metrics"]
        else:
            assert page["metrics"][key] == expected  # with all digits
            shown = [point["mean"].get(key) for point in page["points"]]
            assert shown == expected


def test_points_fold_the_seeds_that_are_done(seeds: Run) -> None:
    (page,) = payload([seeds], seeds.path)["runs"]
    by_name = {row["cell"]: row for row in seeds.metrics()}
    folded = [point for point in page["points"] if point["done"] == 2]
    assert len(page["points"]) == 8
    assert len(folded) == 6
    for point in folded:
        values = [by_name[page["cells"][i]["name"]]["mmcs"] for i in point["cells"]]
        assert point["mean"]["mmcs"] == fmean(values)
        assert point["spread"]["mmcs"] == stdev(values)


def test_what_json_has_no_number_for_is_said(copied: Run) -> None:
    change(copied, 0, fvu=math.inf, mmcs=None)
    (page,) = payload([copied], copied.path)["runs"]
    point = page["points"][0]
    assert point["mean"]["fvu"] == page["metrics"]["fvu"][0] == "inf"
    assert "mmcs" not in point["mean"]
    assert page["metrics"]["mmcs"][0] is None
    json.dumps([page["points"], page["metrics"], page["cells"]], allow_nan=False)


def test_a_cell_has_the_values_of_its_config() -> None:
    text = BEGIN + "grid: {l1: [0.1234561, 0.1234569], dict_size: 5, seed: [20240101, 7], "
    text += "model.decoder_bias: [true, false]}"
    shown = untrained(text)
    (page,) = shown["runs"]
    at = {name: place for place, name in enumerate(page["columns"])}
    values = [[cell["axes"][at[name]] for name in at if name != "loss"] for cell in page["cells"]]
    expected = [
        [l1, 5, 1.25, seed, bias]
        for l1 in (0.1234561, 0.1234569)
        for seed in (20240101, 7)
        for bias in (True, False)
    ]
    assert [name for name in at if name != "loss"] == [
        *("l1_penalty", "dict_size", "dict_ratio", "seed", "model.decoder_bias")
    ]
    assert values == expected
    assert all(type(row[-1]) is bool and type(row[-2]) is int for row in values)
    assert [point["sparsity"] for point in page["points"]] == [*[0.1234561] * 2, *[0.1234569] * 2]
    assert page["points"][1]["apart"] == {"model.decoder_bias": False}


def untrained(text: str) -> dict[str, Any]:
    """What is told of a run that has not begun."""
    with tempfile.TemporaryDirectory() as folder:
        return payload([Run.create(parse_config(text), folder)], Path(folder))


# Which are best


def test_the_best_of_a_metric_are_those_of_all_digits(copied: Run) -> None:
    for cell, (fvu, mmcs, dead) in enumerate([(0.5, 0.9, 2), (0.5, 0.9000001, 2), (0.5, 0.9, 2)]):
        change(copied, cell, fvu=fvu, mmcs=mmcs, dead_neurons=dead, l0=float(cell))
    change(copied, 3, fvu=0.5 + 1e-9, mmcs=None, dead_neurons=2, l0=3.0, mcc=None)
    for cell in range(3):
        change(copied, cell, mcc=0.5 if cell == 0 else None)
    assert best(copied, "fvu") == [0, 1, 2]  # all that tie
    assert best(copied, "mmcs") == [1]
    assert best(copied, "dead_neurons") == []  # none is better than another
    assert best(copied, "mcc") == []  # nothing to be better than
    assert best(copied, "l0") == []  # no way is better


def test_the_best_are_those_of_the_rows_of_the_run(finished: Run, seeds: Run) -> None:
    for run in (finished, seeds):
        (page,) = payload([run], run.path)["runs"]
        rows = [row for row in run.metrics() if row["state"] == "done"]
        for key, metric in METRICS.items():
            means = []
            for point in page["points"]:
                names = {page["cells"][i]["name"] for i in point["cells"]}
                values = [row[key] for row in rows if row["cell"] in names and row[key] == row[key]]
                means.append(fmean(values) if values else None)
            known = [mean for mean in means if mean is not None]
            top = None
            if metric.direction and len(set(known)) > 1:
                top = min(known) if metric.direction == "lower" else max(known)
            expected = [i for i, mean in enumerate(means) if top is not None and mean == top]
            assert best(run, key) == expected, key


def test_the_digits_of_a_seed_survive_javascript(finished: Run, tmp_path: Path) -> None:
    """It reads whole numbers as doubles: 2^53 + 1 would become another seed."""
    config = parse_config(
        dump_config(finished.config).replace("l1:", "seed: [9007199254740993]\n  l1:")
    )
    run = Run.create(config, tmp_path)
    (page,) = payload([run], tmp_path)["runs"]
    assert {cell["axes"][page["columns"].index("seed")] for cell in page["cells"]} == {
        "9007199254740993"
    }


def test_the_best_of_the_page_are_those_of_the_tables(finished: Run) -> None:
    (page,) = payload([finished], finished.path)["runs"]
    html = results_html(finished.metrics(), 99)
    lines = [re.findall(r"<td>(.*?)</td>", line) for line in html.split("<tr>")[2:]]
    keys = payload([finished], finished.path)["main"]["metrics"]
    for place, key in enumerate(keys, start=1):
        bold = [line[0] for line in lines if line[place].startswith("<b>")]
        marked = [point["name"] for point in page["points"] if key in point["best"]]
        assert bold == marked


# What is said of a run


def test_a_point_says_where_in_the_grid_it_is(seeds: Run) -> None:
    (page,) = payload([seeds], seeds.path)["runs"]
    places = {
        (p["model"], p["variant"], p["axis"], p["sparsity"], p["size"]) for p in page["points"]
    }
    sparse = [("relu", "l1", x) for x in (0.01, 0.1)] + [("topk", "k", x) for x in (1, 2)]
    assert places == {(name, name, *rest, size) for name, *rest in sparse for size in (8, 16)}


def test_a_point_names_its_variant_where_the_grid_has_but_one() -> None:
    (page,) = untrained(BEGIN + "grid: {k: 1, dict_size: [4, 8]}\nmodel: {variant: topk}")["runs"]
    assert [(point["model"], point["variant"]) for point in page["points"]] == [("topk", "")] * 2


def test_a_run_says_what_was_trained(finished: Run, seeds: Run) -> None:
    one, two = payload([finished, seeds], finished.path)["runs"]
    assert one["loss"] == [LOSSES["sum"]]
    assert two["loss"] == [LOSSES["sum"], OTHER_LOSSES["sum"]]  # of relu, and of topk
    text = BEGIN + "grid: {l1: 1, dict_size: 4, train.loss: [sum, mean]}"
    assert untrained(text)["runs"][0]["loss"] == [LOSSES["mean"], LOSSES["sum"]]


def test_the_main_metrics_are_those_of_the_tables(finished: Run, copied: Run) -> None:
    shown = ["recon_loss", "mmcs", "mmcs_larger", "dead_neurons", "l0", "fvu"]
    assert payload([finished], finished.path)["main"] == {"metric": "mmcs", "metrics": shown}
    for cell in range(4):
        change(copied, cell, mmcs=None)
    without = ["recon_loss", "fvu", "l0", "dead_neurons", "mmcs_larger"]
    assert payload([copied], copied.path)["main"] == {"metric": "fvu", "metrics": without}
    both = payload([finished, copied], finished.path)["main"]
    assert both["metric"] == "fvu"  # the one that both have
    assert set(both["metrics"]) == {*shown, *without}


def test_a_run_without_a_finished_cell_has_no_metric() -> None:
    page = untrained(BEGIN + "grid: {l1: 1, dict_size: 4}")
    assert page["main"] == {"metric": "mmcs", "metrics": []}
    assert page["runs"][0]["metrics"] == {}


def test_what_was_imported_has_its_metrics(copied: Run) -> None:
    folder = copied.path / "imported" / "theirs"
    folder.mkdir(parents=True)
    result = {"metrics": {"mmcs": 0.123456789, "fvu": None}, "dict_size": 8}
    (folder / "result.json").write_text(json.dumps(result))
    (imported,) = payload([copied], copied.path)["runs"][0]["imported"]
    assert set(imported) == {"name", "metrics"}
    assert imported["name"] == "imported/theirs"
    assert {k: v for k, v in imported["metrics"].items() if v is not None} == {"mmcs": 0.123456789}


def test_baselines_stand_beside_a_metric(finished: Run) -> None:
    (page,) = payload([finished], finished.path)["runs"]
    rows = {(row["baseline"], row["dict_size"]): row for row in finished.baselines()}
    found = page["references"]["mmcs"]
    assert found["marks"]["truth"] == pytest.approx(1)
    assert found["marks"]["PCA"] == rows["pca", 3]["mmcs"]
    assert found["rows"]["chance"]["16"] == rows["random", 16]["mmcs"]


def test_several_runs_say_what_differs(finished: Run, seeds: Run) -> None:
    page = payload([finished, seeds], finished.path)
    assert [run["label"] for run in page["runs"]] == [finished.name, "seeds"]
    differences = {row["key"]: row["values"] for row in page["differences"]}
    assert differences["name"] == ["small", "seeds"]
    assert payload([finished], finished.path)["differences"] == []
    (failed,) = page["failed"]
    assert failed["names"] == [f"seeds: {seeds.cells[0].name}"]


# Cells that failed


def test_cells_that_failed_have_their_reason_and_the_end_of_their_log(seeds: Run) -> None:
    page = payload([seeds], seeds.path)
    (failed,) = page["failed"]
    assert failed["names"] == [seeds.cells[0].name]
    cell = page["runs"][0]["cells"][0]
    assert failed["reason"] == cell["reason"] == "its loss is not finite"
    assert page["logs"] == [failed["log"]]
    assert cell["log"] == 0
    assert failed["log"].endswith("\nits loss is not finite\nat step 3")
    cells = page["runs"][0]["cells"]
    assert (cells[0]["state"], cells[-1]["state"]) == ("failed", "waiting")
    assert all(cell["log"] is None and "reason" not in cell for cell in cells[1:])
    assert page["runs"][0]["counts"] == "1 failed, 14 done, 1 waiting"


def test_cells_that_failed_alike_are_told_of_once(copied: Run) -> None:
    for cell in copied.cells[:3]:
        folder = copied.folder(cell)
        shutil.rmtree(folder.path)
        folder.path.mkdir()
        (folder.path / "log.txt").write_text("training\n")
        (folder.path / "error.txt").write_text("out of memory\nTraceback …\n")
    page = payload([copied], copied.path)
    assert page["logs"] == ["training\nout of memory\nTraceback …"]
    assert [cell["log"] for cell in page["runs"][0]["cells"]] == [0, 0, 0, None]
    (group,) = page["failed"]
    assert group["names"] == [cell.name for cell in copied.cells[:3]]
    (copied.folder(copied.cells[1]).path / "log.txt").write_text("training elsewhere\n")
    page = payload([copied], copied.path)
    assert [cell["log"] for cell in page["runs"][0]["cells"]] == [0, 1, 0, None]
    assert [len(group["names"]) for group in page["failed"]] == [2, 1]


def test_a_log_is_cut_to_its_end_however_it_is_long(copied: Run) -> None:
    folder = copied.folder(copied.cells[0])
    (folder.path / "result.json").unlink()
    folder.fail("why" * 10**5, "x" * 10**6 + "\nthe end")
    page = payload([copied], copied.path)
    (log,) = page["logs"]
    assert len(log) == MOST_LOG
    assert log.endswith("xxx\nthe end")
    assert len(page["runs"][0]["cells"][0]["reason"]) == MOST_REASON + 1
    folder.fail("why", "\n".join(f"line {i}" for i in range(100)))
    (log,) = payload([copied], copied.path)["logs"]
    assert log.splitlines()[:2] == [f"line {100 - LOG_LINES}", f"line {101 - LOG_LINES}"]


def test_of_many_logs_less_is_kept() -> None:
    logs = Logs(failed=100_000)
    assert [logs.add("x" * 9999), logs.add("y"), logs.add("x" * 9999)] == [0, 1, 0]
    assert list(map(len, logs.texts)) == [LEAST_LOG, 1]
    assert sum(len("z" * Logs(failed=2000).most) for _ in range(2000)) <= 2.1e6


# Files


def test_gifs_are_links_from_the_page(finished: Run, tmp_path: Path) -> None:
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


def test_a_link_is_one_whatever_the_folder_is_called(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"r\xff")
    shutil.copytree(finished.path, path)
    (path / "gifs").mkdir()
    (path / "gifs" / "grid.gif").write_bytes(b"GIF89a")
    (page,) = payload([Run(path)], tmp_path / "elsewhere")["runs"]
    assert page["grids"] == [{"kind": "image/gif", "source": "../r%FF/gifs/grid.gif"}]


@pytest.mark.parametrize("target", ["{secret}", "grid.gif", "/dev/zero", "../cells", "nowhere"])
def test_what_is_no_file_of_the_run_is_not_passed_on(
    target: str, copied: Run, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    copied.gifs_dir.mkdir()
    (copied.gifs_dir / "grid.gif").symlink_to(target.format(secret=tmp_path / "secret"))
    assert payload([copied], tmp_path)["runs"][0]["grids"] == []
    (copied.gifs_dir / "real.gif").write_bytes(b"GIF89a")
    (copied.gifs_dir / "grid.webp").symlink_to("real.gif")  # a link within the run is none out
    assert payload([copied], tmp_path)["runs"][0]["grids"][0]["source"] == "copied/gifs/real.gif"


@pytest.mark.parametrize("name", ["log.txt", "error.txt"])
def test_a_log_that_lies_elsewhere_is_not_passed_on(name: str, copied: Run, tmp_path: Path) -> None:
    folder = copied.folder(copied.cells[0])
    (folder.path / "result.json").unlink()
    folder.fail("why", "the details")
    (tmp_path / "secret").write_text(SECRET)
    (folder.path / name).unlink()
    (folder.path / name).symlink_to(tmp_path / "secret")
    page = payload([copied], tmp_path)
    assert SECRET not in json.dumps(page)
    assert page["runs"][0]["cells"][0]["reason"].startswith(f"{name} is, or leads to, a file outsi")
    assert page["runs"][0]["cells"][0]["log"] is None


@pytest.mark.parametrize("name", ["provenance.json", "metrics/baselines.csv"])
def test_a_record_that_lies_elsewhere_is_not_passed_on(
    name: str, copied: Run, tmp_path: Path
) -> None:
    secret = (copied.path / name).read_text().replace("pca", SECRET)
    secret = secret.replace('"saesweep": "', f'"saesweep": "{SECRET}')
    (tmp_path / "secret").write_text(secret)
    assert SECRET in secret
    (copied.path / name).unlink()
    (copied.path / name).symlink_to(tmp_path / "secret")
    assert SECRET not in json.dumps(payload([copied], tmp_path))


def test_progress_counts_the_cells(finished: Run) -> None:
    told: list[tuple[int, int]] = []
    payload([finished], finished.path, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 4) for i in range(1, 5)]
