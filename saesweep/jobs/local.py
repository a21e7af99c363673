"""Jobs one after another, in this process."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from saesweep.data.synthetic import SyntheticSource
from saesweep.errors import StorageError
from saesweep.grid import Job
from saesweep.metrics.totals import EvaluationSet
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.training.job import train_job


def run_jobs(
    run: Run,
    jobs: Sequence[Job],
    source: SyntheticSource,
    data: EvaluationSet,
    reporter: Reporter,
    *,
    fail_fast: bool = False,
) -> None:
    """Run ``jobs``. One that raises fails its cells, and the next goes on unless ``fail_fast``.

    A disk that refuses writes ends the sweep: no other job would fare better.
    """
    for job in jobs:
        try:
            train_job(run, job, source, data, reporter, fail_fast=fail_fast)
        except StorageError:
            raise
        except Exception as error:
            _fail(run, job, error, reporter)
        if fail_fast and any(run.folder(cell).state() != "done" for cell in job.cells):
            return


def _fail(run: Run, job: Job, error: Exception, reporter: Reporter) -> None:
    """Record ``error`` as the reason why those cells of ``job`` failed that were not done."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    for cell in job.cells:
        folder = run.folder(cell)
        if folder.state() == "waiting":
            folder.fail(reason, "".join(traceback.format_exception(error)))
            run.record("cell_failed", cell=cell.name, reason=reason)
            reporter.finished(cell, "failed", reason)
