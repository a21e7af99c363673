"""A sweep from config to tables and figures: the whole story on one page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from saesweep import provenance
from saesweep.config import DEVICE, DEVICE_RULE, SweepConfig
from saesweep.data.ground_truth import ground_truth
from saesweep.data.synthetic import SyntheticSource
from saesweep.errors import UsageError
from saesweep.figures.data import draw_data
from saesweep.figures.stills import draw_stills
from saesweep.files import Row, write_tensors
from saesweep.grid import plan
from saesweep.jobs.local import run_jobs
from saesweep.metrics.baselines import write_baselines
from saesweep.metrics.collect import collect
from saesweep.metrics.totals import EvaluationSet
from saesweep.reporting import Reporter
from saesweep.run_folder import Run, this_process


@dataclass(frozen=True)
class Summary:
    """What a sweep came to."""

    run: Run
    rows: list[Row]
    """One a cell, as `Run.metrics`."""

    @property
    def done(self) -> bool:
        """Whether every cell is."""
        return all(row["state"] == "done" for row in self.rows)


def new_run(config: SweepConfig, out: str | Path = "outputs", name: str | None = None) -> Run:
    """Make a run folder for ``config``, once it is known that the device it asks for is there."""
    choose_device(config.jobs.device)
    return Run.create(config, out, name)


def run_sweep(
    run: Run,
    reporter: Reporter | None = None,
    *,
    device: str | None = None,
    retry_failed: bool = False,
    fail_fast: bool = False,
) -> Summary:
    """Train every cell of ``run`` that was not trained yet, then write its tables and figures.

    Cells that are done are not touched; failed and damaged ones only with ``retry_failed``. With
    ``fail_fast`` the first cell that fails ends the training. ``device`` overrides `jobs.device`.
    """
    reporter = reporter or Reporter()
    config = run.config
    device = choose_device(device or config.jobs.device)
    with run.lock(), _recorded(run):
        _refuse_to_mix(run, device)
        run.sweep_up()
        provenance.write(run, device)

        source = SyntheticSource(config.data, config.seed, device)
        evaluation = source.evaluation_set(config.eval.n_samples)
        write_tensors(
            run.path / "data" / "ground_truth.safetensors", ground_truth(source, evaluation)
        )
        data = EvaluationSet(evaluation, source.features)

        states = {cell.name: run.folder(cell).state() for cell in run.cells}
        wanted = {"waiting", "failed", "damaged"} if retry_failed else {"waiting"}
        jobs = plan(config, [cell for cell in run.cells if states[cell.name] in wanted])
        reporter.planned(run.cells, states, jobs)
        run_jobs(run, jobs, source, data, reporter, fail_fast=fail_fast)

        reporter.note("baselines")
        write_baselines(run, source, reporter)
        rows = collect(run)
        reporter.note("figures")
        draw_stills(run)
    return Summary(run, rows)


@contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """Note in the run's events that this process started, and how it ended."""
    run.record("start", **this_process())
    try:
        yield
    except BaseException as error:
        run.record("stop", reason=type(error).__name__)
        raise
    run.record("end")


def choose_device(wanted: str) -> str:
    """The torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``UsageError`` without it."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(DEVICE, wanted):
        raise UsageError(f"device {wanted}: should be {DEVICE_RULE}")
    if wanted.startswith("cuda"):
        index = int(wanted.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise UsageError(
                f"device {wanted}: this machine has {torch.cuda.device_count()} for CUDA"
            )
    return wanted


def _refuse_to_mix(run: Run, device: str) -> None:
    """Refuse what would put cells of two sweeps into one run.

    Another config, or another kind of device: its generator draws other batches.
    """
    if provenance.is_edited(run):
        raise UsageError(
            f"{run.path}/config.yaml was edited after the run began, and would mix two sweeps: "
            "restore it, or start a new run with it"
        )
    before = provenance.device_kind(run)
    if before is not None and before != device.partition(":")[0]:
        raise UsageError(
            f"{run.path}: trained on {before} before, and {device} would draw other batches: "
            f"continue it with --device {before}"
        )


def draw_data_of(config: SweepConfig, folder: Path) -> list[Path]:
    """Draw the data figures of ``config`` into ``folder``, without a run."""
    source = SyntheticSource(config.data, config.seed)
    truth = ground_truth(source, source.evaluation_set(config.eval.n_samples))
    return draw_data({name: tensor.numpy() for name, tensor in truth.items()}, config, folder)
