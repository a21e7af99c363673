"""A sweep on activations from files, where no true feature is known."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from saesweep.config import SweepConfig
from saesweep.config_file import changed, parse_config
from saesweep.errors import RunError, UsageError
from saesweep.files import read_json
from saesweep.grid import Cell
from saesweep.plan_text import plan_json, plan_text
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.sweep import new_run, run_sweep
from tests.conftest import Command

D, ROWS = 8, 3000

CONFIG = """
name: files
data: {source: activations, path: PATH, activation_dim: 8, held_out: 0.1, buffer_rows: 512}
grid: {l1: [0.05, 0.5], dict_ratio: [1, 2]}
train: {epochs: 10, steps_per_epoch: 5, batch_size: 128}
snapshot_every: 5
jobs: {plot: false}
"""


def activations() -> np.ndarray:
    """[3000, 8] sparse sums of 12 directions, off the origin and of an odd scale."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(12, D))
    codes = random.random((ROWS, 12)) * (random.random((ROWS, 12)) < 0.15)
    return (7 * codes @ directions + 3).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    for number, part in enumerate(np.split(activations(), [1000, 1700])):
        np.save(path / f"{number}.npy", part)
    return path


@pytest.fixture
def config(folder: Path) -> SweepConfig:
    return parse_config(CONFIG.replace("PATH", str(folder)))


def done(config: SweepConfig, out: Path) -> Run:
    summary = run_sweep(new_run(config, out))
    assert summary.done
    return summary.run


def held_out() -> np.ndarray:
    """The rows held out, by their definition: 16 stretches, between equal parts of the others."""
    held, trained, x = 300, ROWS - 300, activations()
    parts = []
    for k in range(16):
        before, after = k * held // 16, (k + 1) * held // 16
        start = (2 * k + 1) * trained // 32 + before
        parts.append(x[start : start + after - before])
    return np.concatenate(parts)


@pytest.mark.parametrize("normalize", ["none", "mean", "scale", "both"])
def test_metrics_are_those_of_the_rows_held_out(
    normalize: str, config: SweepConfig, tmp_path: Path
) -> None:
    run = done(changed(config, [f"data.normalize={normalize}"]), tmp_path)
    x, everything = held_out(), activations().astype(np.float64)
    mean = everything.mean(0) if normalize in ("mean", "both") else np.zeros(D)
    scale = 1.0
    if normalize in ("scale", "both"):
        scale = math.sqrt(D / ((everything - mean) ** 2).sum(1).mean())
    x = torch.tensor((x - mean) * scale, dtype=torch.float32)
    for row in run.metrics():
        sae = run.sae(row["cell"])
        latents = sae.encode(x)
        error = (x - sae.decode(latents)).square()
        assert row["recon_loss"] == pytest.approx(error.mean().item(), rel=1e-4)
        spread = (x - x.mean(0)).square().sum()
        assert row["fvu"] == pytest.approx((error.sum() / spread).item(), rel=1e-4)
        assert row["l0"] == pytest.approx((latents != 0).sum(1).double().mean().item(), abs=0.02)
        density = run.snapshots(row["cell"])["density"]
        np.testing.assert_allclose(density, (latents != 0).double().mean(0), atol=0.01)
        for key in ("mmcs", "mcc", "f1", "n_learned", "true_l0"):
            assert math.isnan(row[key])
        assert run.folder(row["cell"]).result()["eval_samples"] == 300
    kept = run.normalization()
    assert kept is not None
    np.testing.assert_allclose(kept.mean, mean, atol=1e-4)
    assert kept.scale == pytest.approx(scale, rel=1e-5)


def test_pca_is_the_baseline(config: SweepConfig, tmp_path: Path) -> None:
    run = done(config, tmp_path)
    (row,) = run.baselines()
    assert row["baseline"] == "pca"
    assert row["fvu"] == pytest.approx(0, abs=1e-4)  # as many components as dimensions


def test_cells_alone_have_the_numbers_of_the_stack(config: SweepConfig, tmp_path: Path) -> None:
    together = done(config, tmp_path)
    alone = done(changed(config, ["jobs.stack=1", "data.buffer_rows=512"]), tmp_path)
    for one, other in zip(together.metrics(), alone.metrics(), strict=True):
        assert one["fvu"] == pytest.approx(other["fvu"], rel=1e-3)


def test_a_run_is_continued_from_any_folder(
    config: SweepConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    run = new_run(changed(config, [f"data.path={folder.name}"]), tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run_sweep(Run(run.path)).done


def test_other_shards_are_refused_on_resume(config: SweepConfig, tmp_path: Path) -> None:
    own = tmp_path / "own.npy"
    np.save(own, activations())
    run = done(changed(config, [f"data.path={own}"]), tmp_path)
    np.save(own, activations()[:2000])
    with pytest.raises(UsageError, match="the shards are not those that it began with"):
        run_sweep(Run(run.path))


def test_shards_of_another_width_are_refused(config: SweepConfig, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"have 8 dimensions, and data.activation_dim is 9"):
        new_run(changed(config, ["data.activation_dim=9"]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_too_few_rows_leave_no_run(config: SweepConfig, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="3000 rows are too few: held out are 0"):
        new_run(changed(config, ["data.held_out=1e-4"]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_counts_rows_and_passes(folder: Path, tmp_path: Path, saesweep: Command) -> None:
    path = tmp_path / "files.yaml"
    path.write_text(CONFIG.replace("PATH", str(folder)))
    ran = saesweep("run", path, "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "2,700 rows to train on, 300 others to measure on\n" in ran.stdout
    assert "\n  2.4 passes over the rows\n" in ran.stdout  # 10 × 5 steps of 128 samples
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    few = ("--dry-run", "--json", "--set", "eval.n_samples=100")
    plan = json.loads(saesweep("run", path, *few).stdout)
    assert plan["rows"] == {"train": 2700, "evaluation": 100}
    (job,) = plan["jobs"]
    assert job["passes"] == pytest.approx(50 * 128 / 2700)
    assert job["evaluation_share"] == pytest.approx(job["snapshots"] * 2 * 100 / (5 * 50 * 128))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.path=nowhere", "nowhere: no such folder or file"),
        ("data.path=cut", "cut: cut off: continue with `saesweep harvest CONFIG`"),
        ("data.activation_dim=9", "have 8 dimensions, and data.activation_dim is 9"),
        ("data.held_out=1e-4", "3000 rows are too few"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(
    setting: str,
    said: str,
    config: SweepConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "manifest.json").write_text('{"format": 1, "complete": false}')
    monkeypatch.chdir(tmp_path)
    wrong = changed(config, [setting])
    with pytest.raises(RunError) as ran:
        new_run(wrong)
    assert said in str(ran.value) and "\n" not in str(ran.value)
    for show in (plan_text, plan_json):
        with pytest.raises(RunError) as dry:
            show(wrong)
        assert str(dry.value) == str(ran.value)


def test_a_dry_run_that_is_refused_ends_as_the_run(
    folder: Path, tmp_path: Path, saesweep: Command
) -> None:
    path = tmp_path / "files.yaml"
    text = CONFIG.replace("PATH", str(folder))
    path.write_text(text.replace("activation_dim: 8", "activation_dim: 9"))
    dry, ran = saesweep("run", path, "--dry-run"), saesweep("run", path, "--quiet")
    assert len(dry.stderr.splitlines()) == 1 and dry.stdout == ""
    assert (dry.returncode, dry.stderr) == (ran.returncode, ran.stderr) == (2, dry.stderr)


def test_a_shard_cut_short_fails_what_is_not_done(config: SweepConfig, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, part in enumerate(np.split(activations(), [1000, 1700])):
        np.save(shards / f"{number}.npy", part)
    said: list[str] = []

    class Cutter(Reporter):
        def finished(self, cell: Cell, state: str, reason: str = "") -> None:
            os.truncate(shards / "1.npy", 5000)

        def note(self, text: str) -> None:
            said.append(text)

    run = new_run(changed(config, [f"data.path={shards}", "jobs.stack=1"]), tmp_path)
    summary = run_sweep(run, Cutter())
    assert not summary.done
    states = [row["state"] for row in run.metrics()]
    assert states == ["done", "failed", "failed", "failed"]
    assert math.isfinite(run.metrics()[0]["fvu"]) and (run.metrics_dir / "metrics.csv").exists()
    assert f"{shards}/1.npy: cannot be read: " in run.folder(run.cells[1]).error()
    assert any(text.startswith(f"no baselines: {shards}/1.npy: ") for text in said)
    np.save(shards / "1.npy", activations()[1000:1700])
    assert run_sweep(run, retry_failed=True).done and run.baselines()


def test_where_they_come_from_is_recorded(config: SweepConfig, tmp_path: Path) -> None:
    run = done(config, tmp_path)
    facts = read_json(run.path / "data" / "activations.json")
    assert facts["rows"] == ROWS
    assert [*facts["files"]] == ["0.npy", "1.npy", "2.npy"]


def test_the_commands(config: SweepConfig, folder: Path, tmp_path: Path, saesweep: Command) -> None:
    path = tmp_path / "files.yaml"
    path.write_text(CONFIG.replace("PATH", str(folder)).replace("plot: false", "plot: true"))
    ran = saesweep("run", path, "--name", "one")
    assert ran.returncode == 0, ran.stderr
    assert "fvu" in ran.stdout
    assert "mmcs " not in ran.stdout.replace("mmcs_larger", "")
    run = Run(tmp_path / "outputs" / "one")
    drawn = {file.stem for file in run.figures_dir.glob("*.png")}
    assert {"density", "fvu_matrix", "l0_against_fvu", "av_mmcs_with_larger_dicts"} <= drawn
    assert not drawn & {"mmcs_matrix", "samples", "prediction", "tracking_features"}
    status = saesweep("status", run.path)
    assert status.returncode == 0
    assert "fvu" in status.stdout
    for words in (("gif", run.path), ("data", path), ("baselines", run.path)):
        refused = saesweep(*words)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) <= 2
        assert "feature" in refused.stderr
    described = saesweep("sae", run.path, "l1=0.05_dict=8")
    assert described.returncode == 0, described.stderr
