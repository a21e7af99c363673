"""The study as text."""

from __future__ import annotations

import math

from rich.console import Console

from saesweep.baselines_text import rendered
from saesweep.catalogue import METRICS
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.files import Row


def row(baseline: str, size: int, samples: int, fits: int = 3, **values: float) -> Row:
    known = dict.fromkeys(METRICS, 0.25) | values
    spread = {f"{key}_spread": 0.0123 if fits > 1 else math.nan for key in METRICS}
    place = {"baseline": baseline, "dict_size": size, "samples": samples, "fits": fits}
    return place | known | spread


def shown(rows: list[Row], width: int = 80) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(rendered(rows, "table"))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_table_fits_80_columns_and_loses_nothing() -> None:
    wide = {"mmcs": -0.1234, "mcc": 0.9876, "n_learned": 4096.0, "l0": 2048.5, "fvu": 12.345}
    rows = [row(key, 16_384, 65_536, **wide) for key in METHODS]
    lines = shown(rows)
    assert max(map(len, lines)) <= 80
    assert "…" not in "\n".join(lines)
    heads = [line.split() for line in lines if line.startswith("baseline")]
    assert heads == [
        ["baseline", "atoms", "samples", "mmcs", "mcc", "learned"],
        ["baseline", "atoms", "samples", "fvu", "l0", "f1"],
    ]
    first, second = (line for line in lines if line.startswith("ICA (components)"))
    assert first.split()[4:] == [
        "-0.123",
        "±",
        "0.012",
        "0.988",
        "±",
        "0.012",
        "4096.0",
        "±",
        "0.0",
    ]
    assert second.split()[4:] == [
        "12.345",
        "±",
        "0.012",
        "2048.50",
        "±",
        "0.01",
        "0.250",
        "±",
        "0.012",
    ]
    assert lines[-1] == "mean over 3 seeds, ± the sample standard deviation over seeds"


def test_what_is_not_known_is_said_to_be_so() -> None:
    without = dict.fromkeys(("l0", "fvu", "f1"), math.nan)
    truth = row("truth", 6, 0, fits=1)
    random = row("random", 6, 0, **without)
    lines = shown([random, truth])
    assert [line.split() for line in lines if line.startswith("truth")] == [
        ["truth", "6", "0.250", "0.250", "0.2"],
        ["truth", "6", "0.250", "0.25", "0.250"],
    ]
    assert sum(line.startswith("random") for line in lines) == 1
    markdown = str(rendered([random, truth], "md")).splitlines()
    assert markdown[2].count("n/a") == 3
    assert len({line.count("|") for line in markdown}) == 1
    assert shown([truth])[-1] == ""


def test_it_says_how_many_seeds_there_were() -> None:
    rows = [row("pca", 3, 64, fits=2), row("ica", 3, 64, fits=5), row("truth", 6, 0, fits=1)]
    assert shown(rows)[-1].startswith("mean over 2 to 5 seeds,")
    assert shown([row("pca", 3, 64, fits=1)])[-1].startswith("mean over 1 seed,")


def test_nothing_to_show_is_no_crash() -> None:
    assert shown([])[-1] == ""
    assert rendered([], "csv") == ""
    assert rendered([], "json") == "[]"
