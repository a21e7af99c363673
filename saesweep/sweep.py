"""A sweep from config to tables and figures: the whole story on one page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from saesweep import provenance
from saesweep.config import JobsConfig, SweepConfig
from saesweep.continuing import keep_data, refuse_to_mix
from saesweep.data.batch import Source
from saesweep.data.ground_truth import ground_truth
from saesweep.data.sources import at_home, source_of, synthetic_of
from saesweep.data.synthetic import SyntheticSource
from saesweep.errors import RunError
from saesweep.figures.data.caption import describe
from saesweep.figures.data.draw import draw_data
from saesweep.figures.data.samples_map import SAMPLES, Draw, decays_beside, samples_map
from saesweep.figures.stills import draw_stills
from saesweep.figures.style import save
from saesweep.files import Row, read_json, sha256, write_json
from saesweep.grid import Job, plan
from saesweep.jobs.backends import Backend, backend
from saesweep.jobs.slurm_queue import refuse_if_queued
from saesweep.jobs.work import Work
from saesweep.locks import this_process
from saesweep.metrics.baselines import write_baselines
from saesweep.metrics.collect import collect
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes
from saesweep.training.loggers import refuse_missing
from saesweep.version import __version__

DRAWN = ".drawn.json"
"""Beside the figures: which tables they show."""


@dataclass(frozen=True)
class Summary:
    """What a sweep came to."""

    run: Run
    rows: list[Row]
    """One a cell, as `Run.metrics`."""
    over: bool = True
    """False where jobs were only submitted, and go on by themselves."""

    @property
    def done(self) -> bool:
        """Whether every cell is."""
        return self.over and all(row["state"] == "done" for row in self.rows)


def new_run(config: SweepConfig, out: str | Path = "outputs", name: str | None = None) -> Run:
    """Make a run folder for ``config``, once it is known that what it asks for is there."""
    _ = backend(config.jobs).slots  # a cluster is asked for them
    refuse_missing(config.jobs)
    return Run.create(at_home(config), out, name)


def run_sweep(
    run: Run,
    reporter: Reporter | None = None,
    *,
    settings: JobsConfig | None = None,
    retry_failed: bool = False,
) -> Summary:
    """Train every cell of ``run`` that is not trained, then write its tables and figures.

    Cells that are done are not touched; failed and damaged ones only with ``retry_failed``. Others
    go on from their checkpoints. ``settings`` take the place of `jobs` in the config. Asked by a
    signal to stop, it writes checkpoints and raises ``KeyboardInterrupt``.
    """
    reporter = reporter or Reporter()
    settings = settings or run.config.jobs
    place = backend(settings)
    refuse_missing(settings)
    refuse_if_queued(run)  # before the lock, which puts such jobs out of date
    wishes = Wishes()
    with (
        wishes.listen(),
        run.lock(jobs=settings.model_dump()) as token,
        _recorded(run),
    ):
        refuse_to_mix(run, place.device)
        run.sweep_up()
        provenance.write(run, place.device)

        work = Work(run, place.device, settings, reporter, wishes, token)
        # Not on a GPU, which may be another process's or machine's; on the CPU it serves the jobs
        # of this process, too, as features and their correlation are the same everywhere.
        on_cpu = place.device == "cpu"
        source = work.source if on_cpu else source_of(run.config)
        keep_data(run, source)

        jobs = _jobs(run, place, work, retry_failed)
        over = place.run(work, jobs)
        wishes.check()
        if not over:
            return Summary(run, [], over=False)
        summary = _conclude(run, source, reporter, wishes)
        if settings.plot:
            _draw(run, reporter, wishes)
        return summary


def _jobs(run: Run, place: Backend, work: Work, retry_failed: bool) -> list[Job]:
    """The jobs for the cells that wait; with ``retry_failed`` for those that failed, too."""
    states: dict[str, str] = {cell.name: run.folder(cell).state() for cell in run.cells}
    if retry_failed:
        for name, state in states.items():
            if state in ("failed", "damaged"):
                run.folder(name).retry()
                states[name] = "waiting"
    todo = [cell for cell in run.cells if states[cell.name] == "waiting"]
    jobs = plan(run.config, todo, work.settings.stack, place.slots)
    work.reporter.planned(run.cells, states, jobs)
    if jobs:
        work.reporter.note(place.describe())
    return jobs


def write_up(run: Run) -> Summary:
    """Write the tables and figures of ``run``, whose jobs are over."""
    wishes, reporter = Wishes(), Reporter()
    jobs = run.sweep_facts().get("jobs") or {}
    with wishes.listen(), run.lock(), _recorded(run):
        source = source_of(run.config, normalization=run.normalization())
        summary = _conclude(run, source, reporter, wishes)
        if jobs.get("plot", True):
            _draw(run, reporter, wishes)
        return summary


def _conclude(run: Run, source: Source, reporter: Reporter, wishes: Wishes) -> Summary:
    """Write the tables of what is done."""
    reporter.note("baselines")
    write_baselines(run, source, reporter, wishes)
    if run.config.eval.model_tokens:
        from saesweep.harvesting.recovered import write_recovered  # imports transformers

        reporter.note("the model's loss with reconstructions")
        write_recovered(run, reporter, wishes)
    rows = collect(run, wishes.check)
    return Summary(run, rows)


def _draw(run: Run, reporter: Reporter, wishes: Wishes) -> None:
    """Draw the figures, unless they show what is there already."""
    if not _drawn(run):
        reporter.note("figures")
        drawn = draw_stills(run, report=lambda _: wishes.check())
        names = [path.name for path in drawn]
        write_json(run.figures_dir / DRAWN, {"files": names, "of": _what_is_drawn(run)})


def _drawn(run: Run) -> bool:
    """Whether the figures show what is there: to draw them takes longer than all tables."""
    try:
        drawn = read_json(run.figures_dir / DRAWN)
        there = all((run.figures_dir / name).is_file() for name in drawn["files"])
        return bool(there and drawn["of"] == _what_is_drawn(run))
    except (RunError, LookupError, TypeError):
        return False


def _what_is_drawn(run: Run) -> dict[str, str]:
    tables = (run.metrics_dir / "metrics.csv", run.metrics_dir / "baselines.csv")
    return {"saesweep": __version__, **{path.name: sha256(path) for path in tables}}


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


def draw_data_of(config: SweepConfig, folder: Path) -> list[Path]:
    """Draw the data figures of ``config`` into ``folder``, without a run."""
    source = synthetic_of(config, "a drawing of data")
    truth = ground_truth(source, source.evaluation_set(config.eval.n_samples))
    return draw_data(
        {name: tensor.numpy() for name, tensor in truth.items()}, source.config, folder
    )


def draw_map_of(config: SweepConfig, folder: Path) -> Path:
    """Draw samples of ``config``, and of its laws with other decays, by t-SNE into ``folder``."""
    draws = []
    data = synthetic_of(config, "a map of samples").config
    for label, law in decays_beside(data).items():
        source = SyntheticSource(law, config.seed)
        batch = source.sample_set("map", SAMPLES)
        largest, strongest = batch.codes_true.max(dim=1)
        strongest = torch.where(largest > 0, strongest, -1)
        draws.append(Draw(label, batch.x.numpy(), strongest.numpy(), source.probabilities.numpy()))
    figure = samples_map(draws, config.seed, [describe(data)])
    return save(figure, folder / "samples_map.png")
