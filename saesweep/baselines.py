"""The study of classical methods: fitted, written down, and drawn."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from saesweep.config import SweepConfig
from saesweep.config_file import load_config
from saesweep.continuing import keep_ground_truth
from saesweep.data.sources import synthetic_of
from saesweep.dictionaries.classical.methods import METHODS
from saesweep.errors import UsageError
from saesweep.figures.baselines import draw_baselines
from saesweep.files import Row, write_rows
from saesweep.jobs.slurm_queue import refuse_if_queued
from saesweep.metrics.baseline_study import (
    COLUMNS,
    SAMPLES,
    SEEDS,
    Plan,
    Progress,
    Study,
    study,
)
from saesweep.reporting import Reporter
from saesweep.run_folder import Run

TABLE = "baseline_study.csv"
"""What the table of all fits is called, in a run's ``metrics/`` or in a folder of its own."""


PART = "baseline_study.part.csv"
"""What a study that was cut off leaves, beside the table of an earlier one: the fits it had."""


@dataclass(frozen=True)
class Subject:
    """Whose data is studied."""

    config: SweepConfig
    folder: Path
    """Where the study goes, if the data is not a run's."""
    run: Run | None = None


@dataclass(frozen=True)
class Written:
    """A study, and where it was written."""

    study: Study
    folder: Path
    files: list[Path]


def plan_of(
    config: SweepConfig,
    methods: Sequence[str] = (),
    samples: Sequence[int] = (),
    seeds: int = SEEDS,
    dict_sizes: Sequence[int] = (),
) -> Plan:
    """The plan with defaults where nothing is given: every method, `SAMPLES`, n_features atoms.

    ``UsageError`` if there is no such method.
    """
    for name in methods:
        if name not in METHODS:
            close = difflib.get_close_matches(name, METHODS, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"--method {name}: {hint}should be one of {', '.join(METHODS)}")
    return Plan(
        list(dict.fromkeys(methods)) or list(METHODS),
        sorted(set(samples)) or SAMPLES,
        seeds,
        sorted(set(dict_sizes)) or [config.data.n_features],
    )


def subject_at(path: Path, changes: Sequence[str] = (), out: Path | None = None) -> Subject:
    """The run in the folder ``path``, or the config in the file ``path`` with ``changes``.

    A config's study goes into ``out``, or ``outputs/NAME_baselines``. ``UsageError`` if a run is
    given ``changes`` or ``out``: its config and its place are fixed.
    """
    if not path.is_dir():
        config = load_config(path, changes)
        return Subject(config, out or Path("outputs") / f"{config.name}_baselines")
    run = Run(path)
    for option, given in (("--set", bool(changes)), ("--out", out is not None)):
        if given:
            raise UsageError(f"{option} is for a CONFIG, and {path} is a run")
    return Subject(run.config, run.path, run)


def study_of(
    subject: Subject, plan: Plan, reporter: Reporter | None = None, progress: Progress = None
) -> Written:
    """Study the data of ``subject``; a run's table and figures go with its others.

    A run is held throughout, so that no sweep begins that would have to be waited for at the end.
    ``RunError`` where one is going on; ``UsageError`` where the run was made of other features than
    its config draws now.
    """
    config, run, folder = subject.config, subject.run, subject.folder
    source = synthetic_of(config, "a study of baselines")
    table, figures = folder / TABLE, folder
    if run is not None:
        table, figures = run.metrics_dir / TABLE, run.figures_dir
        refuse_if_queued(run)  # before the lock, which puts such jobs out of date

    part = table.with_name(PART)

    def keep(rows: Sequence[Row]) -> None:
        write_rows(part, rows, COLUMNS)

    with run.lock() if run is not None else nullcontext():
        if run is not None:
            keep_ground_truth(run, source)
        keep([])  # if that cannot be written, it is better known before
        found = study(config, plan, source, reporter, progress, keep)
        part.replace(table)
        files = [table, *draw_baselines(table, config, figures)]
        if run is not None:
            run.record("baseline_study", fits=len(found.rows), left_out=found.left_out)
    return Written(found, folder, files)
