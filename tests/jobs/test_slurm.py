"""Sweeps on a real SLURM: a controller and a node with two CPUs and two pretended GPUs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import slurm as clusters

from saesweep.config import JobsConfig, SlurmConfig
from saesweep.config_file import load_config
from saesweep.doctor import examine
from saesweep.errors import StorageError, UsageError
from saesweep.grid import plan
from saesweep.jobs import backends, slurm_queue, slurm_sweep
from saesweep.jobs import slurm as backend
from saesweep.jobs.slurm import Slurm
from saesweep.jobs.slurm_queue import Record, Seen, ask, live_jobs, refuse_if_queued
from saesweep.jobs.slurm_task import JobTask
from saesweep.jobs.work import Work
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes
from saesweep.sweep import new_run

Environment = dict[str, str]

CONFIG = """
name: small
data: {activation_dim: 3, n_features: 4, mean_active: 1, correlation: batch}
grid: {l1: [0.01, 0.1], dict_size: [8], train.epochs: [50, 1500]}
train: {steps_per_epoch: 10, batch_size: 128}
snapshot_every: 100
eval: {n_samples: 1000, baselines: [random]}
jobs: {backend: slurm, stack: 1, plot: false, checkpoint_every: 0.2, slurm: {cpus: 1, gpus: 0}}
"""
SHORT = ["l1=0.01_dict=8_train.epochs=50", "l1=0.1_dict=8_train.epochs=50"]
LONG = ["l1=0.01_dict=8_train.epochs=1500", "l1=0.1_dict=8_train.epochs=1500"]
"""Some seconds each."""
TWO = ["--set", "grid.l1=[0.1]"]
PLOT = ["--set", "jobs.plot=true"]
ONE_LONG = [*TWO, "--set", "grid.train.epochs=[1500]"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    why_not = clusters.missing()
    if why_not is not None:
        pytest.skip(why_not)
    with clusters.slurm_cluster(tmp_path_factory.mktemp("slurm") / "cluster") as added:
        yield added


@pytest.fixture
def cluster(started: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The cluster is that of this process and of those that it starts."""
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    yield
    slurm("scancel", "--quiet", "--user=root")
    until(lambda: not slurm("squeue", "-h"), "no jobs are left")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_sweep, "GRACE", 1.0)
    monkeypatch.setattr(slurm_sweep, "GRACE_DONE", 1.0)


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def until(true: Callable[[], object], what: str, seconds: float = 180, pause: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(pause)


class Sweep:
    """The command line in a process of its own, from a folder with a config."""

    def __init__(self, folder: Path, *words: str) -> None:
        (folder / "small.yaml").write_text(CONFIG)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "saesweep", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def run(self) -> Run:
        return Run(self.folder / "outputs/run1")

    def end(self, seconds: float = 90) -> tuple[int, str]:
        text, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, text

    def checkpointed(self, cell: str) -> Callable[[], bool]:
        folder = self.folder / "outputs/run1/cells" / cell
        return (folder / "checkpoint.safetensors").exists

    @contextmanager
    def held(self, cell: str) -> Iterator[None]:
        """From the first checkpoint of ``cell`` on, its process stands still within.

        Or it might be done by the time at which SLURM, and a machine with other things to do, get
        round to what is asked of them.
        """
        until(self.checkpointed(cell), f"a checkpoint of {cell}", pause=0.005)
        pid = self.run.running()[cell].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def job_of(self, cell: str) -> str:
        jobs = Record.of(self.run).jobs
        return next(job for job, cells in jobs.items() if cell in cells)


def ended(folder: Path, *words: str) -> tuple[int, str]:
    return Sweep(folder, *words).end()


# On a cluster


@pytest.mark.slurm
def test_a_cancelled_task_is_left_to_a_resume_and_goes_on(cluster: None, tmp_path: Path) -> None:
    words = ["--backend", "slurm", "--device", "cpu", *TWO]
    sweep = Sweep(tmp_path, "run", "small.yaml", *words)
    with sweep.held(LONG[1]):
        job = sweep.job_of(LONG[1])
        slurm("scancel", job)
        until(lambda: slurm("squeue", "-h", "-j", job, "-o", "%T") != "RUNNING", "it is cancelled")
    code, text = sweep.end()
    assert code == 1, text
    assert "SLURM job" in text and "was cancelled; `saesweep resume outputs/run1`" in text
    states = {cell.name: sweep.run.folder(cell).state() for cell in sweep.run.cells}
    assert states == {SHORT[1]: "done", LONG[1]: "waiting"}
    assert sweep.run.folder(LONG[1]).checkpoints()
    assert "with a checkpoint" in sweep.run.folder(LONG[1]).logs()
    assert live_jobs(sweep.run) == {}

    code, text = ended(tmp_path, "resume", "outputs/run1", "--backend", "slurm")
    assert code == 0, text
    assert "from step" in sweep.run.folder(LONG[1]).logs()

    there = sweep.run
    with sweeping(tmp_path, "grid.l1=[0.1]", "jobs.backend=local", "jobs.per_device=2") as local:
        local[1]()
    here = local[0].run
    metrics = [
        [run.folder(cell).result()["metrics"] for cell in run.cells] for run in (here, there)
    ]
    assert str(metrics[0]) == str(metrics[1])  # as text, for nan is not nan


@pytest.mark.slurm
def test_a_detached_sweep_writes_its_tables_by_itself(cluster: None, tmp_path: Path) -> None:
    began = time.monotonic()
    words = ["--backend", "slurm", "--detach", "--device", "cpu", *TWO]
    sweep = Sweep(tmp_path, "run", "small.yaml", *words, "--set", "jobs.slurm.at_once=1", *PLOT)
    code, text = sweep.end()
    assert code == 0, text
    assert "submitted; follow it with `saesweep status outputs/run1 --watch`" in text
    assert time.monotonic() - began < 30
    run = sweep.run
    assert set(live_jobs(run).values()) <= {"queued", "running"}
    assert live_jobs(run)[LONG[1]] == "queued"
    code, text = ended(tmp_path, "status", "outputs/run1", "--json")
    assert {cell["cell"] for cell in json.loads(text)["cells"]} == {SHORT[1], LONG[1]}

    with pytest.raises(UsageError, match=r"SLURM still has jobs \d+_.*; wait for them, or `scanc"):
        refuse_if_queued(run)
    code, text = ended(tmp_path, "resume", "outputs/run1")
    assert code == 2
    assert "SLURM still has jobs" in text

    until((run.metrics_dir / "metrics.csv").exists, "the table", 90)
    assert [row["state"] for row in run.metrics()] == ["done"] * 2
    assert {row["device"] for cell in run.cells if (row := run.folder(cell).result())} == {"cpu"}
    until(lambda: any(run.figures_dir.glob("*.png")), "a figure")
    until(lambda: not Record.of(run).alive(), "the last job is over")
    refuse_if_queued(run)
    assert run.events()[-1]["event"] == "end"


@pytest.mark.slurm
def test_before_its_time_limit_a_task_goes_back_into_the_queue(
    cluster: None, tmp_path: Path
) -> None:
    words = ["--backend", "slurm", "--device", "cpu", *ONE_LONG]
    sweep = Sweep(tmp_path, "run", "small.yaml", *words)
    with sweep.held(LONG[1]):
        job = sweep.job_of(LONG[1])
        assert "_" not in job  # a single one needs no array
        slurm("scancel", "--batch", "--signal=USR2", job)
        time.sleep(1)  # nothing shows that it has come
    until(lambda: slurm("squeue", "-h", "-o", "%T %r") == "PENDING BeginTime", "it is put back")
    assert "stopped after step" in sweep.run.folder(LONG[1]).logs()
    assert live_jobs(sweep.run) == {LONG[1]: "queued"}

    time.sleep(2)  # a job that starts in the second in which it was put back has no credential
    slurm("scontrol", "update", f"jobid={job}", "StartTime=now")  # else in two minutes
    code, text = sweep.end()
    assert code == 0, text
    assert "from step" in sweep.run.folder(LONG[1]).logs()
    assert "job_ended_early" not in {event["event"] for event in sweep.run.events()}


@pytest.mark.slurm
def test_ctrl_c_cancels_the_jobs_which_write_checkpoints(cluster: None, tmp_path: Path) -> None:
    words = ["--backend", "slurm", "--device", "cpu", "--set", "jobs.checkpoint_every=1000"]
    sweep = Sweep(tmp_path, "run", "small.yaml", *words)

    def trains() -> bool:
        log = tmp_path / "outputs/run1/cells" / LONG[0] / "log.txt"
        return log.exists() and "training" in log.read_text()

    until(trains, "it trains")
    sweep.process.send_signal(signal.SIGUSR1)  # checkpoints, and on
    until(sweep.checkpointed(LONG[0]), "a checkpoint")
    assert LONG[0] in sweep.run.running()
    sweep.process.send_signal(signal.SIGINT)
    code, text = sweep.end()
    assert code == 130, text
    assert "continue with `saesweep resume outputs/run1`" in text
    assert slurm("squeue", "-h") == ""
    assert "with a checkpoint" in sweep.run.folder(LONG[0]).logs()
    assert not sweep.run.is_locked()


class Listener(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@contextmanager
def sweeping(
    folder: Path, *changes: str, wishes: Wishes | None = None
) -> Iterator[tuple[Work, Callable[[], bool], Listener]]:
    """Some work, and what does it in this process, without tables and figures."""
    (folder / "small.yaml").write_text(CONFIG)
    run = Run.create(load_config(folder / "small.yaml", changes), folder)
    settings = run.config.jobs
    place, listener = backends.backend(settings), Listener()
    with run.lock(jobs=settings.model_dump()) as token:
        work = Work(run, place.device, settings, listener, wishes or Wishes(), token)
        jobs = plan(run.config, run.cells, settings.stack, place.slots)
        yield work, lambda: place.run(work, jobs), listener


def stand_in(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Tasks run ``script``, with what they read in ``line``, in the place of training."""
    program = f"import os, pathlib, sys\nline = sys.stdin.readline()\n{script}"
    command = [sys.executable, "-S", "-c", program]
    monkeypatch.setattr(slurm_sweep, "job_command", lambda *_: command)


@pytest.mark.slurm
def test_a_killed_job_is_tried_again_and_then_failed(
    cluster: None, quick: None, tmp_path: Path
) -> None:
    changes = ["grid.l1=[0.1]", "grid.train.epochs=[1500]", "jobs.retries=1"]
    killed: list[int] = []
    with sweeping(tmp_path, *changes) as (work, go, listener):

        def kill() -> None:
            while len(killed) < 2:
                for claim in work.run.running().values():
                    if claim.pid not in killed:
                        killed.append(claim.pid)
                        os.kill(claim.pid, signal.SIGKILL)
                time.sleep(0.1)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        assert go()
        killer.join(1)
    how = "was killed by SIGKILL (by the system, if memory ran out)"
    assert work.run.folder(LONG[1]).error() == f"its process {how}, 2 times"
    assert f"a job {how}; starting it again" in listener.notes
    assert len(Record.of(work.run).jobs) == 2
    assert work.any_failed


@pytest.mark.slurm
def test_a_task_sees_the_gpu_that_it_asked_for(
    cluster: None, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    stand_in(
        monkeypatch,
        f"name = pathlib.Path({str(seen)!r}, str(os.getpid()))\n"
        "names = ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'SET_UP')\n"
        "name.write_text(' '.join(os.environ[name] for name in names))\n"
        f"while len(list(pathlib.Path({str(seen)!r}).iterdir())) < 2: pass\n"
        "print('over', flush=True)",
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    more = ["jobs.slurm.setup=[export SET_UP=yes]", "jobs.slurm.options={comment: a b}"]
    changes = ["jobs.slurm.gpus=1", "grid.l1=[0.1]", *more]
    with sweeping(tmp_path, *changes) as (work, go, _):
        assert work.device == "cuda"
        assert go()
    assert sorted(path.read_text() for path in seen.iterdir()) == ["0 1 yes", "1 1 yes"]
    script = next((work.run.path / "jobs/slurm").glob("*_submission.sh")).read_text()
    assert "#SBATCH --gpus-per-node=1\n" in script
    assert "#SBATCH --comment='a b'\n" in script


@pytest.mark.slurm
def test_large_grids_are_several_arrays(
    cluster: None, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_sweep, "ARRAY_MOST", 3)
    stand_in(monkeypatch, "print('over', flush=True)")
    with sweeping(tmp_path, "jobs.slurm.at_once=8") as (work, go, _):
        assert go()
    first, second = sorted((work.run.path / "jobs/slurm").glob("*_submission.sh"))
    assert "#SBATCH --array=0-2%3\n" in first.read_text()
    assert "--array" not in second.read_text()
    assert len(Record.of(work.run).jobs) == 4


@pytest.mark.slurm
def test_a_task_that_the_disk_refused_ends_the_sweep(
    cluster: None, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, f"print('error: /x: full', file=sys.stderr); sys.exit({os.EX_IOERR})")
    with (
        sweeping(tmp_path) as (_, go, _),
        pytest.raises(StorageError, match=r"^/x: full$"),
    ):
        go()
    until(lambda: not slurm("squeue", "-h"), "the others are cancelled")


@pytest.mark.slurm
def test_a_cancelled_task_that_waited_is_not_tried_again(
    cluster: None, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "while not os.path.exists('go'): pass\nprint('over', flush=True)")
    monkeypatch.chdir(tmp_path)
    with sweeping(tmp_path, "jobs.slurm.at_once=1") as (work, go, listener):

        def cancel() -> None:
            until(lambda: "3" in slurm("squeue", "-h", "-r", "-o", "%K"), "it is queued")
            time.sleep(1.5)  # it has been seen
            slurm("scancel", *(job for job in Record.of(work.run).jobs if job.endswith("_3")))
            time.sleep(0.5)
            Path("go").touch()

        canceller = threading.Thread(target=cancel, daemon=True)
        canceller.start()
        assert go()
        canceller.join()
    assert [note for note in listener.notes if "was cancelled" in note]
    assert len(Record.of(work.run).jobs) == 4


@pytest.mark.slurm
def test_a_controller_that_does_not_answer_is_waited_for(
    cluster: None, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def sometimes(name: str) -> dict[str, Seen] | None:
        asked.append(name)
        return None if 1 < len(asked) < 4 else ask(name)

    monkeypatch.setattr(slurm_sweep, "ask", sometimes)
    stand_in(monkeypatch, "print('over', flush=True)")
    with sweeping(tmp_path, "grid.l1=[0.1]", "grid.train.epochs=[50]") as (work, go, listener):
        assert go()
    news = [note for note in listener.notes if note.startswith("SLURM ")]
    assert news == ["SLURM does not answer; waiting for it", "SLURM answers again"]
    assert len(Record.of(work.run).jobs) == 1


@pytest.mark.slurm
def test_a_job_that_cannot_be_submitted_again_is_tried_later(
    cluster: None, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_sweep, "REFUSED_SECONDS", 1.0)
    stand_in(monkeypatch, "sys.exit(3)")
    submitted: list[int] = []
    submit = Slurm.submit

    def sometimes(self: Slurm, tasks: Sequence[JobTask], *rest: Any) -> list[str]:
        submitted.append(len(tasks))
        if len(submitted) == 2:  # heard, but it seemed not
            submit(self, tasks, *rest)
            raise UsageError("SLURM takes no jobs: Socket timed out")
        return submit(self, tasks, *rest)

    monkeypatch.setattr(Slurm, "submit", sometimes)
    changes = ["grid.l1=[0.1]", "grid.train.epochs=[50]", "jobs.retries=1"]
    with sweeping(tmp_path, *changes) as (work, go, listener):
        assert go()
    assert submitted == [1, 1, 1]
    assert "SLURM takes no jobs: Socket timed out; trying again in 1 s" in listener.notes
    assert work.run.folder(SHORT[1]).error() == "its process exited with code 3, 2 times"


@pytest.mark.slurm
def test_what_sbatch_refuses_is_told_in_a_line(cluster: None, tmp_path: Path) -> None:
    with (
        sweeping(tmp_path, "jobs.slurm.partition=nowhere") as (_, go, _),
        pytest.raises(
            UsageError,
            match=r"^SLURM takes no jobs: .*Invalid partition name specified$",
        ),
    ):
        go()


@pytest.mark.slurm
def test_a_wish_to_stop_comes_before_any_submission(cluster: None, tmp_path: Path) -> None:
    wishes = Wishes()
    wishes.stop = True
    with sweeping(tmp_path, wishes=wishes) as (work, go, _):
        assert go()
    assert Record.of(work.run).jobs == {}


# Without one


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLURM's commands, which do nothing, and are alone in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in backend.PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_what_is_needed_is_named(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    Slurm(JobsConfig(backend="slurm"))
    (programs / "sbatch").unlink()
    with pytest.raises(UsageError, match="no sbatch here"):
        Slurm(JobsConfig(backend="slurm"))
    monkeypatch.setattr(backend, "is_installed", lambda name: False)
    with pytest.raises(UsageError, match=r"needs submitit: pip install 'saesweep\[slurm\]'"):
        Slurm(JobsConfig(backend="slurm"))


def test_a_cluster_that_does_not_answer_is_no_place_for_jobs(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands may be installed on a machine that belongs to no cluster."""
    pytest.importorskip("submitit")
    squeue = programs / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2\nexit 1\n")
    with pytest.raises(UsageError, match="no cluster answers here: slurm_load_jobs error: Unable"):
        Slurm(JobsConfig(backend="slurm"))
    squeue.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(slurm_queue, "PATIENCE", 0.2)
    with pytest.raises(UsageError, match="no answer from squeue"):
        Slurm(JobsConfig(backend="slurm"))


def test_a_run_that_finds_no_cluster_leaves_no_folder(programs: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (programs / "squeue").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "small.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "small.yaml")
    with pytest.raises(UsageError, match="no cluster answers here: exit code 1"):
        new_run(config, tmp_path / "outputs")
    assert not (tmp_path / "outputs").exists()
    finding = examine(tmp_path, config)[-1]
    assert (finding.what, finding.state) == ("small", "stop")
    assert finding.words == "backend slurm: no cluster answers here: exit code 1"


@pytest.mark.parametrize(
    ("device", "gpus", "chosen"),
    [("auto", 1, "cuda"), ("auto", 0, "cpu"), ("cpu", 1, "cpu"), ("cuda", 2, "cuda")],
)
def test_the_device(programs: Path, device: str, gpus: int, chosen: str) -> None:
    pytest.importorskip("submitit")
    place = Slurm(JobsConfig(device=device, slurm=SlurmConfig(gpus=gpus)))
    assert place.device == chosen
    assert ("GPU" in place.describe()) == (chosen == "cuda")
    assert place.slots == 16


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (JobsConfig(device="cuda:1"), "device cuda:1: SLURM gives out the devices"),
        (JobsConfig(device="cuda", slurm=SlurmConfig(gpus=0)), "jobs.slurm.gpus: 0"),
        (JobsConfig(slurm=SlurmConfig(options={"time": 3})), "use jobs.slurm.minutes"),
        (JobsConfig(slurm=SlurmConfig(options={"job-name": "x"})), "options: job-name: saesweep"),
    ],
)
def test_what_cannot_be_asked_for(programs: Path, settings: JobsConfig, words: str) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(UsageError, match=words):
        Slurm(settings)


def test_without_a_record_slurm_is_not_asked(finished: Run, tmp_path: Path, programs: Path) -> None:
    (programs / "squeue").write_text(f"#!/bin/sh\n: > {tmp_path}/asked\n")
    assert live_jobs(finished) == {}
    refuse_if_queued(finished)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("state", "words"),
    [("PENDING", "queued"), ("RUNNING", "running"), ("COMPLETING", "running"), ("X", "x")],
)
def test_states_in_words(state: str, words: str) -> None:
    assert Seen(state).in_words == words
    assert Seen(state).alive


def run_task(program: Sequence[str]) -> object:
    """The exit code of a task that runs ``program``."""
    try:
        JobTask([sys.executable, "-S", "-c", "\n".join(program)], "[]")()
    except SystemExit as error:
        return error.code
    return 0


def test_a_task_exits_as_its_command_did() -> None:
    read = "import os, sys, signal; sys.stdin.readline()"
    assert run_task([read, "print('over', flush=True)", "sys.stdin.read()"]) == 0
    assert run_task([read, "sys.exit(74)"]) == 74
    assert run_task([read, "os.kill(os.getpid(), 9)"]) == 137
    # Sent by some clusters to every process of a task: the child must survive it.
    assert run_task([read, "os.kill(os.getpid(), signal.SIGUSR2)", "sys.exit(3)"]) == 3


def test_a_task_that_is_to_end_lets_its_command_end() -> None:
    before = signal.getsignal(signal.SIGTERM)
    tell = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getppid(), signal.SIGTERM)"
    too = "sys.stdin.read(); os.kill(os.getpid(), signal.SIGTERM)"  # as SLURM does
    assert run_task([tell, too, "sys.exit(130)"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_squeue_fails_nothing_is_known(programs: Path) -> None:
    assert ask("a") == {}
    (programs / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert ask("a") is None
