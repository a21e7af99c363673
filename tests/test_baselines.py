"""The command `baselines`: what it takes, prints and leaves."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import pytest
from typer.testing import CliRunner, Result

from saesweep.baselines import TABLE, plan_of, study_of, subject_at
from saesweep.cli import app
from saesweep.config import SweepConfig
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.errors import RunError, UsageError
from saesweep.files import read_rows
from saesweep.metrics.baseline_study import COLUMNS, summary
from saesweep.run_folder import Run

QUICK = [
    *("--method", "pca", "--method", "kmeans", "--method", "random", "--method", "truth"),
    *("--samples", "40", "--samples", "20", "--seeds", "2"),
]


@pytest.fixture
def call(
    tmp_path: Path, small_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs `saesweep baselines` in this process, in a folder with ``small.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    runner = CliRunner()

    def run(*words: str | Path) -> Result:
        return runner.invoke(app, ["baselines", *map(str, words)])

    return run


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy of a finished run."""
    return Run(shutil.copytree(finished.path, tmp_path / "copy"))


def test_a_config_is_studied_into_a_folder_of_its_own(call, tmp_path: Path) -> None:
    said = call("small.yaml", *QUICK, "--set", "eval.n_samples=500")
    assert said.exit_code == 0, said.output
    folder = tmp_path / "outputs/small_baselines"
    assert {path.name for path in folder.iterdir()} == {
        TABLE,
        "baselines_mmcs.png",
        "baselines_mcc.png",
    }
    assert all(iio.imread(path).ndim == 3 for path in folder.glob("*.png"))
    lines = said.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "outputs/small_baselines: 3 files"
    assert (
        "left out: kmeans of 4 on 20 samples: needs 8 samples a cluster, 32 in all" in said.stderr
    )
    assert "pca on 40 samples, seed 1: mcc 0." in said.stderr
    rows = summary(read_rows(folder / TABLE))
    (pca,) = (row for row in rows if row["baseline"] == "pca" and row["samples"] == 40)
    shown = f"{pca['mmcs']:.3f} ± {pca['mmcs_spread']:.3f}"
    assert any(line.startswith("PCA") and shown in line for line in lines)


def test_csv_and_json_have_every_number_of_the_table_of_fits(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saesweep.baselines.draw_baselines", lambda *_: [])
    words = ["small.yaml", *QUICK, "--out", "here", "--set", "eval.n_samples=500"]
    data = json.loads(call(*words, "--format", "json").stdout)
    table = list(csv.DictReader(io.StringIO(call(*words, "--format", "csv").stdout)))
    expected = summary(read_rows(tmp_path / "here" / TABLE))
    assert len(data) == len(table) == len(expected) == 2 + 2 + 1 + 1
    for one, other, row in zip(data, table, expected, strict=True):
        assert list(one) == list(other) == list(row)
        for key, value in row.items():
            if isinstance(value, str):
                assert one[key] == other[key] == value
            elif value != value:
                assert one[key] is None
                assert other[key] == "nan"
            else:
                assert one[key] == float(other[key]) == pytest.approx(value)
    with_files = json.loads(call(*words, "--json").stdout)
    assert with_files["rows"] == data
    assert with_files["files"][0] == f"here/{TABLE}"
    assert with_files["left_out"] == [
        "kmeans of 4 on 20 samples: needs 8 samples a cluster, 32 in all"
    ]
    quiet = call(*words, "-q")
    assert quiet.output == ""
    markdown = call(*words, "--format", "md").stdout.splitlines()
    assert len(markdown) == 2 + len(expected)
    assert {line.count("|") for line in markdown} == {11}


def test_a_run_keeps_its_study_with_its_other_tables(run: Run) -> None:
    subject = subject_at(run.path)
    plan = plan_of(subject.config, ["pca", "kmeans", "truth"], [40], 1, [8])
    written = study_of(subject, plan)
    assert written.files == [
        run.metrics_dir / TABLE,
        run.figures_dir / "baselines_mmcs.png",
        run.figures_dir / "baselines_mcc.png",
    ]
    assert all(path.is_file() for path in written.files)
    with (run.metrics_dir / TABLE).open() as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    event = run.events()[-1]
    assert (event["event"], event["fits"], len(event["left_out"])) == ("baseline_study", 2, 1)
    assert not run.is_locked()


def test_a_run_in_use_is_refused(run: Run) -> None:
    subject = subject_at(run.path)
    plan = plan_of(subject.config, ["pca"], [40], 1)
    with run.lock(), pytest.raises(RunError, match="in use by process"):
        study_of(subject, plan)
    assert not (run.metrics_dir / TABLE).exists()


def test_defaults_are_every_method_and_as_many_atoms_as_features(small: SweepConfig) -> None:
    plan = plan_of(small)
    assert list(plan.methods) == list(METHODS)
    assert tuple(plan.samples) == (1024, 4096, 16_384)
    assert (plan.seeds, list(plan.dict_sizes)) == (3, [4])
    chosen = plan_of(small, ["nmf", "pca", "nmf"], [64, 32, 64], 5, [8, 4])
    assert (chosen.methods, chosen.samples, chosen.dict_sizes) == (
        ["nmf", "pca"],
        [32, 64],
        [4, 8],
    )


def test_mistakes_are_answered_in_a_line(call, finished: Run, tmp_path: Path) -> None:
    mistakes = {
        ("none.yaml",): "none.yaml: cannot be read",
        ("small.yaml", "--method", "kmean"): "--method kmean: did you mean kmeans?",
        ("small.yaml", "--format", "xml"): "should be one of table, csv, json, md",
        ("small.yaml", "--set", "data.decay=2"): "--set data.decay=2",
        (str(finished.path), "--set", "seed=1"): "--set is for a CONFIG",
        (str(finished.path), "--out", "there"): "--out is for a CONFIG",
        (str(tmp_path),): "it has no config.yaml",
    }
    for words, expected in mistakes.items():
        said = call(*words)
        assert isinstance(said.exception, UsageError), words
        assert expected in str(said.exception)
        assert len(str(said.exception).splitlines()) == 1
    for words in (["--samples", "1"], ["--seeds", "0"], ["--dict-size", "0"]):
        assert call("small.yaml", *words).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
