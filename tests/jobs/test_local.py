"""Slots of this machine: which there are, what a job in one sees, and what becomes of its cells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from saesweep.config import JobsConfig, SweepConfig
from saesweep.config_file import parse_config
from saesweep.errors import UsageError
from saesweep.grid import Cell, Job
from saesweep.jobs import local, process, work
from saesweep.jobs.local import Local
from saesweep.jobs.queue import Queue
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes
from saesweep.sweep import run_sweep

LONG = """
data: {activation_dim: 3, n_features: 4, mean_active: 1, correlation: batch}
grid: {l1: [0.01, 0.1], dict_ratio: [2, 4]}
train: {epochs: 3000, batch_size: 128}
snapshot_every: 500
eval: {n_samples: 500, baselines: []}
jobs: {device: cpu, checkpoint_every: 0.2}
"""


class Heard(Reporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.epochs: set[int] = set()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, epoch: int, rows: Mapping[str, Mapping[str, float]]) -> None:
        self.epochs.add(epoch)

    def finished(self, cell: Cell, state: str, reason: str = "") -> None:
        self.ended.append((cell.name, state))


def same_numbers(one: Run, other: Run, tolerance: float = 1e-3) -> None:
    for cell in one.cells:
        for name, weight in one.sae(cell.name).tensors().items():
            torch.testing.assert_close(
                weight, other.sae(cell.name).tensors()[name], atol=tolerance, rtol=tolerance
            )


# Which slots there are


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretends that the machine has so many GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_on_cpus_slots_share_the_cores(gpus: Callable[[int], None]) -> None:
    gpus(0)
    (alone,) = Local(JobsConfig()).places
    assert alone.device == "cpu"
    four = Local(JobsConfig(per_device=4))
    assert (four.slots, four.device, four.in_process) == (4, "cpu", False)
    cores = len(os.sched_getaffinity(0))
    for slot in four.places:
        assert slot.environment == {
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": str(max(1, cores // 4)),
        }


def test_each_gpu_has_its_slots(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    every = Local(JobsConfig(per_device=2))
    assert every.device == "cuda"
    seen = [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in every.places]
    assert seen == ["0", "1", "2", "0", "1", "2"]  # the first jobs go to different devices
    one = Local(JobsConfig(device="cuda:1"))
    assert (one.device, one.slots, one.in_process) == ("cuda:1", 1, True)
    assert Local(JobsConfig(device="cpu")).device == "cpu"


def test_a_machine_that_is_shared_shows_its_share(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8f2a")  # as a cluster sets it
    seen = [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in Local(JobsConfig()).places]
    assert seen == ["5", "GPU-8f2a"]


def test_a_device_that_is_not_there_is_refused(gpus: Callable[[int], None]) -> None:
    gpus(2)
    with pytest.raises(UsageError, match="device cuda:2: this machine has 2 for CUDA"):
        Local(JobsConfig(device="cuda:2"))
    gpus(0)
    with pytest.raises(UsageError, match="device cuda: this machine has 0 for CUDA"):
        Local(JobsConfig(device="cuda"))


def test_one_slot_is_this_process_unless_each_cell_has_its_own() -> None:
    assert Local(JobsConfig(device="cpu")).in_process
    assert not Local(JobsConfig(device="cpu", stack=1)).in_process
    assert not Local(JobsConfig(device="cpu", per_device=2)).in_process


# Processes


def test_two_slots_give_the_numbers_of_one(tmp_path: Path) -> None:
    config = parse_config(LONG.replace("3000", "100"))
    alone = run_sweep(Run.create(config, tmp_path)).run
    heard = Heard()
    run = Run.create(config, tmp_path)
    summary = run_sweep(run, heard, settings=run.settings(["jobs.per_device=2"]))
    assert summary.done
    assert sorted(heard.ended) == sorted((cell.name, "done") for cell in run.cells)
    assert [run.folder(cell).result()["cells_in_job"] for cell in run.cells] == [2] * 4
    same_numbers(alone, run)
    # Nothing is left of the processes but their logs.
    assert {path.name for path in (run.path / "jobs").iterdir()} <= {
        "sweep.json",
        "slot-0.log",
        "slot-1.log",
    }


def test_with_stack_1_every_cell_has_a_process_and_a_device_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "sitecustomize.py"  # runs at the start of every Python below
    spy.write_text(
        "import json, os, sys\n"
        "if '_job' in sys.orig_argv:\n"
        "    facts = {k: os.environ.get(k) for k in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')}\n"
        f"    with open({str(tmp_path / 'seen.jsonl')!r}, 'a') as file:\n"
        "        facts |= {'pid': os.getpid(), 'group': os.getpgid(0)}\n"
        "        print(json.dumps(facts), file=file)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    # Two GPUs on paper: their jobs train on the CPU, and see what a GPU's job would see.
    slots = [local.Slot("cpu", {"CUDA_VISIBLE_DEVICES": str(i)}) for i in range(2)]
    monkeypatch.setattr(Local, "__init__", _with(slots))
    config = parse_config(LONG.replace("3000", "60"))
    run = Run.create(config, tmp_path)
    summary = run_sweep(run, settings=run.settings(["jobs.stack=1", "jobs.per_device=2"]))
    assert summary.done
    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert len({one["pid"] for one in seen}) == len(run.cells) == len(seen)
    assert {one["CUDA_VISIBLE_DEVICES"] for one in seen} == {"0", "1"}
    assert all(one["group"] == one["pid"] != os.getpgid(0) for one in seen)
    assert all(run.folder(cell).result()["cells_in_job"] == 1 for cell in run.cells)


def _with(slots: list[local.Slot]) -> Callable[[Local, JobsConfig], None]:
    def init(self: Local, settings: JobsConfig) -> None:
        self.devices, self.places, self.slots = ["cpu"], slots, len(slots)
        self.alone, self.device = settings.stack == 1, "cpu"

    return init


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_jobs(run: Run, number: int, times: int) -> threading.Thread:
    """Kills a job, ``times`` times, each time when its first cell has a new checkpoint."""
    struck = []

    def kill() -> None:
        for _ in range(times):
            wait_for(partial(strike, time.time_ns()))

    def strike(since: int) -> bool:
        for name, claim in run.running().items():
            path = run.folder(name).path / "checkpoint.safetensors"
            # One that was told to stop writes a checkpoint, too, before it ends.
            is_new = path.exists() and path.stat().st_mtime_ns > since
            if is_new and claim.pid not in struck:
                os.kill(claim.pid, number)
                struck.append(claim.pid)
                return True
        return False

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_job_that_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    config = parse_config(LONG.replace("3000", "12000"))
    heard, run = Heard(), Run.create(config, tmp_path)
    thread = kill_jobs(run, signal.SIGKILL, 1)
    summary = run_sweep(run, heard, settings=run.settings(["jobs.per_device=2"]))
    thread.join()
    assert summary.done
    (note,) = [note for note in heard.notes if "was killed by SIGKILL" in note]
    assert note.endswith("starting it again, in two halves")
    killed = [event for event in run.events() if event["event"] == "job_ended_early"]
    assert len(killed) == 1
    for name in killed[0]["cells"]:
        assert "from step" in run.folder(name).logs()
    same_numbers(run_sweep(Run.create(config, tmp_path)).run, run)


def test_a_job_that_is_killed_too_often_fails_its_cells(tmp_path: Path) -> None:
    config = parse_config(LONG.replace("[2, 4]", "[2]").replace("3000", "6000"))
    heard, run = Heard(), Run.create(config, tmp_path)
    thread = kill_jobs(run, signal.SIGTERM, 2)
    settings = ["jobs.stack=1", "jobs.retries=1"]
    summary = run_sweep(run, heard, settings=run.settings(settings))
    thread.join()
    first, second = summary.rows
    assert (first["state"], second["state"]) == ("failed", "done")
    reason = run.folder(first["cell"]).error()
    # A job that is asked to stop writes its checkpoint, and exits by itself.
    assert reason.startswith("its process exited with code 130")
    assert reason.endswith("2 times")
    assert run.folder(first["cell"]).checkpoints()
    again = run_sweep(run, retry_failed=True, settings=run.settings(settings))
    assert again.done
    assert "from step" in run.folder(first["cell"]).logs()


def test_jobs_do_not_outlive_their_sweep(tmp_path: Path) -> None:
    run = Run.create(parse_config(LONG.replace("3000", "200000")), tmp_path)
    words = ["resume", str(run.path), "--per-device", "2"]
    sweep = subprocess.Popen([sys.executable, "-m", "saesweep", *words], stderr=subprocess.DEVNULL)
    wait_for(lambda: len([*run.path.glob("cells/*/checkpoint.safetensors")]) == 4)
    children = psutil.Process(sweep.pid).children()
    assert len(children) == 2
    sweep.kill()
    sweep.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    assert run.running() == {}
    assert all("stopped after step" in run.folder(cell).logs() for cell in run.cells)


def test_a_signal_to_save_harms_no_worker_that_starts(tmp_path: Path) -> None:
    config = LONG.replace("checkpoint_every: 0.2", "checkpoint_every: 1e6")
    run = Run.create(parse_config(config.replace("3000", "20000")), tmp_path)
    settings = run.settings(["jobs.per_device=2", "jobs.retries=0"])
    saved = []

    def ask() -> None:
        while not saved and time.monotonic() < began + 60:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.2)
            saved.extend(run.path.glob("cells/*/checkpoint.safetensors"))

    began, heard = time.monotonic(), Heard()
    thread = threading.Thread(target=ask)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        thread.start()
        assert run_sweep(run, heard, settings=settings).done
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert saved
    assert not [note for note in heard.notes if "again" in note]


def test_a_signal_to_the_sweep_and_its_workers_at_once_saves_all(tmp_path: Path) -> None:
    """As systemd and cluster managers send it."""
    slow = LONG.replace("batch_size: 128", "batch_size: 50000").replace("0.2}", "1e6}")
    run = Run.create(parse_config(slow), tmp_path)
    words = ["resume", str(run.path), "--per-device", "2"]
    sweep = subprocess.Popen([sys.executable, "-m", "saesweep", *words], stderr=subprocess.DEVNULL)
    wait_for(lambda: len([*run.path.glob("cells/*/cell.json")]) == 4)
    time.sleep(1)
    for one in [*psutil.Process(sweep.pid).children(), sweep]:
        one.send_signal(signal.SIGTERM)
    assert sweep.wait(timeout=60) == 130
    assert all(run.folder(cell).checkpoints() for cell in run.cells)


def test_what_else_is_printed_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if '_job' in sys.orig_argv:\n"
        "    import atexit\n"
        "    os.write(1, b'a library says hello\\nand has not')\n"
        "    os.write(1, b' ended\\n')\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    run = Run.create(parse_config(LONG.replace("3000", "50")), tmp_path)
    assert run_sweep(run, settings=run.settings(["jobs.per_device=2"])).done


# By hand


def test_a_job_can_be_done_by_hand(tmp_path: Path) -> None:
    run = Run.create(parse_config(LONG.replace("3000", "50")), tmp_path)
    command = [sys.executable, "-m", "saesweep", "_job", str(run.path)]
    names = [cell.name for cell in run.cells]
    done = subprocess.run([*command, *names[:2]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert [run.folder(name).state() for name in names] == ["done", "done", "waiting", "waiting"]
    stale = subprocess.run(
        [*command, names[2], "--token", "0"], capture_output=True, text=True, check=False
    )
    assert stale.returncode == 2
    assert "another sweep has taken over" in stale.stderr
    gone = subprocess.run(
        [*command, "-"], input=f'["{names[2]}"]\n', capture_output=True, text=True, check=False
    )
    assert gone.returncode == 130  # whoever asked was gone when it could begin
    assert run.folder(names[2]).state() == "waiting"


def test_cells_of_other_batches_are_never_stacked(tmp_path: Path) -> None:
    grid = "grid: {l1: [0.1], dict_ratio: [2, 4], train.batch_size: [64, 128]}"
    config = parse_config(LONG.replace("3000", "20").replace(LONG.splitlines()[2], grid))
    run = Run.create(config, tmp_path)
    work.Work(run, "cpu", config.jobs, Reporter(), Wishes()).do(run.cells)  # as by hand
    assert [run.folder(cell).result()["cells_in_job"] for cell in run.cells] == [2] * 4


# Memory


def hungry(most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Training more than ``most`` cells stacked runs out of memory; the stacks that were tried."""
    tried, train = [], work.train_stack

    def train_stack(run: Run, cells: list[Cell], *rest: object) -> None:
        tried.append(len(cells))
        if len(cells) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        train(run, cells, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "train_stack", train_stack)
    return tried


def test_a_stack_without_memory_is_halved(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = hungry(1, monkeypatch)
    heard, run = Heard(), Run.create(small, tmp_path)
    assert run_sweep(run, heard).done
    assert tried == [4, 2, 1, 1, 2, 1, 1]
    assert run.folder(run.cells[0]).logs().count("done") == 1
    assert heard.notes.count("out of memory with 2 cells stacked: trying with half of them") == 2


def test_a_cell_without_memory_fails_and_says_so(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry(0, monkeypatch)
    run = Run.create(small, tmp_path)
    run_sweep(run)
    for cell in run.cells:
        reason = run.folder(cell).error()
        assert reason.startswith("out of memory: OutOfMemoryError: CUDA out of memory")


def test_a_job_that_raises_is_not_tried_again(
    small: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def train_stack(run: Run, cells: list[Cell], *rest: object) -> None:
        calls.append(len(cells))
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr(work, "train_stack", train_stack)
    run = Run.create(small, tmp_path)
    summary = run_sweep(run)
    assert calls == [4]
    assert {row["state"] for row in summary.rows} == {"failed"}
    folder = run.folder(run.cells[0])
    assert folder.error() == "ZeroDivisionError: a bug"
    assert "Traceback" in folder.logs()


def test_how_a_process_ended_is_said_in_words() -> None:
    assert (
        process.how_it_ended(-9, "") == "was killed by SIGKILL (by the system, if memory ran out)"
    )
    assert process.how_it_ended(-64, "") == "was killed by SIGRTMAX"
    assert process.how_it_ended(1, "") == "exited with code 1"


def test_a_stack_that_is_killed_for_memory_is_halved_down_to_one_cell(tmp_path: Path) -> None:
    run = Run.create(parse_config(LONG), tmp_path)
    settings = run.settings(["jobs.retries=1"])
    doing = work.Work(run, "cpu", settings, Reporter(), Wishes())
    queue, tried = Queue(doing, [Job(tuple(run.cells), 0)]), []
    while (task := queue.take()) is not None:
        tried.append(len(task.cells))
        queue.ended(task, "was killed by SIGKILL", memory=True)
    assert tried == [4, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1]  # a single cell is tried twice
    assert {run.folder(cell).error() for cell in run.cells} == {
        "its process was killed by SIGKILL, 2 times"
    }
