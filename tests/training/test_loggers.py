from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saesweep.catalogue import HISTORY
from saesweep.config import SweepConfig
from saesweep.errors import UsageError
from saesweep.extras import is_installed
from saesweep.run_folder import Run
from saesweep.sweep import new_run, run_sweep
from saesweep.training import loggers

TENSORBOARD = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="no tensorboard is installed"
)
pytestmark = pytest.mark.usefixtures("undrawn")


def logged(config: SweepConfig, *names: str) -> SweepConfig:
    jobs = config.jobs.model_copy(update={"loggers": [*names]})
    return config.model_copy(update={"jobs": jobs})


def of_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By metric, steps and values, as TensorBoard's own reader finds them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def check_tensorboard(run: Run) -> None:
    for cell in run.cells:
        history, found = run.history(cell), of_tensorboard(run.path / "tensorboard" / cell.name)
        assert {"loss", "fvu", "mmcs"} <= set(found) <= set(HISTORY)
        for key, events in found.items():
            expected = zip(history["step"], history[key], strict=True)
            assert events == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]


@TENSORBOARD
def test_tensorboard_has_every_history(small: SweepConfig, tmp_path: Path) -> None:
    run = run_sweep(new_run(logged(small, "tensorboard"), tmp_path)).run
    assert len(run.cells) == 4
    check_tensorboard(run)


@TENSORBOARD
def test_a_cell_that_goes_on_has_each_step_once(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = logged(small, "tensorboard")
    jobs = config.jobs.model_copy(update={"checkpoint_every": 1e-9})  # after each step
    run = new_run(config.model_copy(update={"jobs": jobs}), tmp_path)
    original = loggers.Loggers.log

    def stops(self: Any, records: Any) -> None:
        original(self, records)
        if records[0].history[-1]["epoch"] >= 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(loggers.Loggers, "log", stops)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(run)
    monkeypatch.undo()
    before = of_tensorboard(run.path / "tensorboard" / run.cells[0].name)
    assert [step for step, _ in before["loss"]] == [0, 5, 10]
    assert run.folder(run.cells[0]).checkpoints()
    run_sweep(run)
    check_tensorboard(run)


def test_a_package_that_is_missing_is_said_before_anything_trains(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "is_installed", lambda name: False)
    with pytest.raises(UsageError, match=r"jobs\.loggers: wandb is not installed; pip install"):
        new_run(logged(small, "wandb"), tmp_path)
    assert list(tmp_path.iterdir()) == []


class FakeWandb:
    """What is used of wandb, written down; ``broken``: it raises where this says."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.runs = broken, {}  # type: ignore[var-annotated]
        self.Settings = self._settings

    class _settings(SimpleNamespace):
        model_fields: dict[str, Any] = {}  # noqa: RUF012

    def init(self, **given: Any) -> Any:
        if self.broken == "init":
            raise ConnectionError("no network")
        one = self.runs.setdefault(given["id"], SimpleNamespace(given=given, rows=[], ends=[]))

        def log(row: dict[str, float], step: int) -> None:
            if self.broken == "log":
                raise OSError(28, "No space left on device")
            one.rows.append((step, row))

        def finish(exit_code: int) -> None:
            one.ends.append(exit_code)

        step = one.rows[-1][0] + 1 if one.rows else 0
        return SimpleNamespace(log=log, step=step, finish=finish)


@pytest.fixture
def with_wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(broken: str = "") -> FakeWandb:
        fake = FakeWandb(broken)
        monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
        monkeypatch.setattr(loggers, "refuse_missing", lambda settings: None)
        monkeypatch.setattr("saesweep.sweep.refuse_missing", lambda settings: None)
        return fake

    return put


def test_wandb_has_a_run_for_each_cell(small: SweepConfig, tmp_path: Path, with_wandb: Any) -> None:
    fake = with_wandb()
    run = run_sweep(new_run(logged(small, "wandb"), tmp_path)).run
    assert {one.given["name"] for one in fake.runs.values()} == {cell.name for cell in run.cells}
    for one in fake.runs.values():
        history = run.history(one.given["name"])
        assert one.given["group"] == run.name and one.ends == [0]
        assert [step for step, _ in one.rows] == history["step"].tolist()
        assert [row["loss"] for _, row in one.rows] == pytest.approx(history["loss"].tolist())


@pytest.mark.parametrize("broken", ["init", "log"])
def test_a_logger_that_fails_is_dropped(
    broken: str, small: SweepConfig, tmp_path: Path, with_wandb: Any, finished: Run
) -> None:
    with_wandb(broken)
    summary = run_sweep(new_run(logged(small, "wandb"), tmp_path))
    assert summary.done
    own, expected = summary.run.metrics(), finished.metrics()
    assert [row["loss"] for row in own] == [row["loss"] for row in expected]
    assert [row["fvu"] for row in own] == [row["fvu"] for row in expected]
    (event,) = [e for e in summary.run.events() if e["event"] == "logger_dropped"]
    assert event["logger"] == "wandb"
    for cell in summary.run.cells:
        assert summary.run.folder(cell).logs().count("wandb failed, and logs no more") == 1


def test_a_folder_of_that_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `wandb` leaves one beside every script that used it."""
    (tmp_path / "some_logger").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("some_logger")
    (tmp_path / "some_logger" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert is_installed("some_logger")
