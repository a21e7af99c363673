"""The report of an SAE as text."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from saesweep.run_folder import Run
from saesweep.sae_report import AtomUse, Bin, Firing, Near, SaeReport, report
from saesweep.sae_text import as_json, rendered

CELL = "l1=0.01_dict=16"


@pytest.fixture(scope="module")
def found(finished: Run) -> SaeReport:
    return report(finished, CELL, top=3)


def lines(report: SaeReport, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """What a terminal shows."""
    stream = io.BytesIO()
    file = io.TextIOWrapper(stream, encoding=encoding, errors="backslashreplace")
    Console(file=file, width=width).print(rendered(report))
    file.flush()
    return [line.rstrip() for line in stream.getvalue().decode(encoding).splitlines()]


def section(text: list[str], title: str) -> list[str]:
    """The lines below ``title``."""
    start = text.index(title) + 1
    return text[start : text.index("", start) if "" in text[start:] else None]


@pytest.mark.parametrize("width", [60, 80])
def test_it_fits(found: SaeReport, width: int) -> None:
    wide = [
        AtomUse(131_071, 6.104e-05, 0.0001234, 99_999, -0.12345, 0.0001234),
        AtomUse(131_070, 6.104e-05, 1234.5, 99_998, 0.12345, 0.0001234),
    ]
    name = "model.variant=variational_prior_rate=0.05_dict=131072_train.lr=0.0003_seed=10"
    many = replace(
        found,
        cell=name,
        most_used=wide,
        metrics={**found.metrics, "brier": 0.123456, "calibration_error": 0.00123456},
    )
    text = lines(many, width)
    assert max(map(len, text)) <= width
    assert "…" not in "".join(text)
    assert name in "".join(line.strip().removeprefix("cell").strip() for line in text)


def test_each_section_has_its_numbers(found: SaeReport) -> None:
    text = lines(found)
    assert text[0].split() == ["cell", CELL]
    assert "state     done, 20 epochs, loss: sum" in text
    assert "sparsity  l1=0.01" in text
    assert section(text, "tensors")[0].split() == ["W_enc", "[3,", "16]", "float32"]
    words = " ".join(section(text, "metrics, on 1,000 samples")).split()
    shown = dict(zip(words[::2], words[1::2], strict=True))
    assert float(shown["mmcs"]) == pytest.approx(found.metrics["mmcs"], rel=1e-3)
    assert "brier" not in shown  # of variational cells alone
    use, row = found.most_used[0], section(text, "most used atoms")[1].split()
    assert row[0] == str(use.latent)
    assert float(row[1]) == pytest.approx(use.frequency, rel=1e-2)
    assert float(row[2]) == pytest.approx(use.mean_active, rel=1e-2)
    assert row[3] == str(use.feature)
    assert use.cosine is not None
    assert row[4] == f"{use.cosine:+.3f}"
    assert len(section(text, "features recovered best")) == 1 + 3
    assert len(section(text, "features recovered worst")) == 1 + 1  # four features


def test_bars_are_as_long_as_their_counts(found: SaeReport) -> None:
    decades = [Bin(0.01, 0.1, 1000), Bin(0.1, 1.0, 500)]
    told = replace(found, firing=Firing(1000, dead=1, always=0, decades=decades))
    bars = [line.count("█") for line in section(lines(told), TITLE)]
    assert bars == [0, 1, 28, 14, 0]
    ascii_bars = [line.count("#") for line in section(lines(told, encoding="ascii"), TITLE)]
    assert ascii_bars == bars


TITLE = "how often latents fire, on 1,000 samples"


def test_an_ascii_terminal_gets_no_escapes(found: SaeReport) -> None:
    assert "\\" not in "".join(lines(found, encoding="ascii"))


def test_it_says_on_how_many_samples_latents_were_watched(found: SaeReport) -> None:
    cut = replace(found, eval_samples=65_536)
    assert "how often latents fire, on 1,000 of the 65,536 samples" in lines(cut)


def test_short_lists_are_one_list(found: SaeReport) -> None:
    text = lines(replace(found, least_used=[], worst_recovered=[]))
    assert "atoms by use" in text
    assert "features by recovery" in text
    assert not [line for line in text if line.startswith("least used")]


def test_a_dead_dictionary_and_an_atom_alone_are_said(found: SaeReport) -> None:
    dead = replace(found, most_used=[], least_used=[], near=Near(None, 0))
    text = lines(dead)
    assert section(text, "atoms by use") == ["none: no latent fires"]
    assert section(text, "atoms near to each other") == ["none: there is one atom"]


def test_without_the_truth_it_says_why(found: SaeReport) -> None:
    blind = [replace(use, feature=None, cosine=None, probability=None) for use in found.most_used]
    text = lines(
        replace(
            found, most_used=blind, best_recovered=[], worst_recovered=[], no_truth="[it] is gone"
        )
    )
    assert section(text, "nothing is said of true features") == ["[it] is gone"]
    assert section(text, "most used atoms")[0].split() == ["latent", "fires", "in", "mean", "value"]
    assert not [line for line in text if "recover" in line]


def test_json_has_everything(found: SaeReport) -> None:
    data = json.loads(as_json(found))
    assert data["cell"] == CELL
    assert data["options"]["penalty"] == "lp"
    assert data["metrics"]["brier"] is None
    assert math.isnan(found.metrics["brier"])
    assert data["most_used"][0] == vars(found.most_used[0])
    assert data["near"]["nearest"]["latents"] == [*found.near.nearest.latents]  # type: ignore[union-attr]
    assert [one["latents"] for one in data["firing"]["decades"]] == [
        one.latents for one in found.firing.decades
    ]
