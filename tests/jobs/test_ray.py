"""Sweeps on a real Ray cluster: two nodes on this machine, each with a CPU and a pretended GPU."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray_nodes

from saesweep.config import JobsConfig, SweepConfig
from saesweep.config_file import dump_config, parse_config
from saesweep.errors import SaesweepError, StorageError, UsageError
from saesweep.files import sha256
from saesweep.jobs import process
from saesweep.jobs.queue import Queue, Task
from saesweep.jobs.ray import HTTP2, Ray, _Tasks, attend
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes
from saesweep.sweep import run_sweep

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(ray_nodes.missing() is not None, reason=str(ray_nodes.missing())),
]

SHORT, LONG = 500, 8_000
"""Epochs: a second of training or less, and many."""


def config(epochs: int, *l1: float, **jobs: Any) -> SweepConfig:
    """A small grid on the CPUs of a cluster, with two cells for each value of L1."""
    jobs = {"backend": "ray", "device": "cpu", "checkpoint_every": 0.2, **jobs}
    sections = {
        "data": {"activation_dim": 3, "n_features": 4, "mean_active": 1, "correlation": "batch"},
        "grid": {"l1": l1 or (0.01, 0.1), "dict_ratio": [2, 4]},
        "train": {"epochs": epochs, "batch_size": 128},
        "snapshot_every": 100,
        "eval": {"n_samples": 1000, "baselines": ["random"]},
        "jobs": jobs,
    }
    return parse_config(json.dumps(sections))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, which no test takes away."""
    with ray_nodes.ray_cluster(2, gpus=1) as nodes:
        yield nodes


class Notes(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ends: dict[str, str] = {}

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, cell: Any, state: str, reason: str = "") -> None:
        assert cell.name not in self.ends
        self.handler = signal.getsignal(signal.SIGTERM)
        self.ends[cell.name] = state


def wait_for(what: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)
    return found


@contextmanager
def sweeping(path: Path, settings: SweepConfig, address: str) -> Iterator[Any]:
    """`saesweep run` in a process of its own, and the run that it makes."""
    file = path / "config.yaml"
    file.write_text(dump_config(settings))
    words = ["run", str(file), "--out", str(path), "--name", "it", "--ray-address", address]
    process = subprocess.Popen(
        [sys.executable, "-m", "saesweep", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, Run(wait_for(lambda: (path / "it" / "jobs").exists() and path / "it"))
    finally:
        process.kill()
        process.communicate()


def checkpoints(run: Run) -> list[str]:
    return [cell.name for cell in run.cells if run.folder(cell).checkpoints()]


def test_a_sweep_on_two_nodes_gives_the_numbers_of_a_local_one(
    cluster: Any, tmp_path: Path
) -> None:
    notes = Notes()
    chosen = config(SHORT, ray={"address": cluster.address})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saesweep.jobs.work.Work.do", None)  # this process does no job
        there = run_sweep(Run.create(chosen, tmp_path), notes)
    here = run_sweep(Run.create(config(SHORT, backend="local"), tmp_path))
    assert there.done and set(notes.ends.values()) == {"done"}
    for one, other in zip(there.rows, here.rows, strict=True):
        texts = {key for key, value in other.items() if isinstance(value, str)}
        assert {key: one[key] for key in texts} == {key: other[key] for key in texts}
        for key in other.keys() - texts:
            assert one[key] == pytest.approx(other[key], rel=1e-3, abs=1e-4, nan_ok=True), key
    assert any("2 jobs at once" in note and "2 nodes" in note for note in notes.notes)
    # Two jobs of two cells each.
    assert [there.run.folder(c).result()["cells_in_job"] for c in there.run.cells] == [2] * 4
    assert {there.run.folder(c).result()["host"] for c in there.run.cells} == {socket.gethostname()}
    events = [event["event"] for event in there.run.events()]
    assert events == ["start", *["cell_done"] * 4, "end"]
    # Ray takes SIGTERM; a sweep needs it to stop with checkpoints.
    assert isinstance(getattr(notes.handler, "__self__", None), Wishes)
    import ray

    assert not ray.is_initialized()


def test_a_lost_node_costs_no_cell_and_no_result(tmp_path: Path) -> None:
    with ray_nodes.ray_cluster(2) as nodes:
        chosen = config(LONG, stack=1)
        with sweeping(tmp_path, chosen, nodes.address) as (process, run):
            done = lambda: [c.name for c in run.cells if run.folder(c).state() == "done"]
            wait_for(lambda: len(done()) >= 2 and len(checkpoints(run)) >= 2)
            before = {name: _result(run, name) for name in done()}
            hit = checkpoints(run)
            nodes.remove_node(nodes.worker_nodes.copy().pop(), allow_graceful=False)
            out, said = process.communicate(timeout=90)
    assert process.returncode == 0, said
    assert '"done": true' in out and out.startswith("{")
    assert [row["state"] for row in run.metrics()] == ["done"] * 4  # whole: hashes are compared
    assert {name: _result(run, name) for name in before} == before
    ended = [event for event in run.events() if event["event"] == "job_ended_early"]
    assert len(ended) == 1 and "node" in ended[0]["how"], ended
    (lost,) = ended[0]["cells"]
    assert lost in hit and "from step" in run.folder(lost).logs()
    events = [event["cell"] for event in run.events() if event["event"] == "cell_done"]
    assert sorted(events) == sorted(cell.name for cell in run.cells)
    assert "starting it again" in said and "raylet" not in said + out


def _result(run: Run, name: str) -> tuple[int, str]:
    path = run.folder(name).path / "result.json"
    return path.stat().st_mtime_ns, sha256(path)


def test_each_job_sees_its_share_of_a_gpu_and_no_other(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = {"device": "cuda", "per_device": 2, "stack": 1}
    chosen = config(SHORT, ray={"address": cluster.address}, **settings)
    run = Run.create(chosen, tmp_path)
    seen = tmp_path / "seen"
    seen.mkdir()
    # Says that it is there, and stays until all four are: so they run at the same time.
    there = (
        "import os, pathlib, sys, time\n"
        "name, folder = sys.stdin.readline().strip(), pathlib.Path(sys.argv[1])\n"
        "(folder / str(os.getpid())).write_text(os.environ['CUDA_VISIBLE_DEVICES'] + name)\n"
        "end = time.monotonic() + 30\n"
        "while len(list(folder.iterdir())) < 4 and time.monotonic() < end: time.sleep(0.05)\n"
        "print('over', flush=True)\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setattr(
        "saesweep.jobs.process.job_command",
        lambda folder, device, token: [sys.executable, "-c", there, str(seen), device],
    )
    began = time.monotonic()
    run_sweep(run)
    assert time.monotonic() - began < 30
    told = sorted(path.read_text() for path in seen.iterdir())
    assert told == sorted(f'0["{cell.name}"]' for cell in run.cells)  # each node's only GPU


@pytest.mark.parametrize(("per_device", "share"), [(1, 1.0), (2, 0.5), (3, 0.3333), (7, 0.1428)])
def test_the_shares_of_a_gpu_come_to_no_more_than_all_of_it(per_device: int, share: float) -> None:
    place = Ray(JobsConfig(per_device=per_device))
    place.__dict__["nodes"] = [{"GPU": 2.0, "CPU": 1.0}, {"CPU": 8.0}]
    assert (place.device, place.slots) == ("cuda", 2 * per_device)
    assert place._resources() == {"num_gpus": share, "num_cpus": 0}


def test_a_cluster_that_cannot_do_it_is_refused() -> None:
    place = Ray(JobsConfig.model_validate({"device": "cuda"}))
    place.__dict__["nodes"] = [{"CPU": 4.0}]
    with pytest.raises(UsageError, match="device cuda: the Ray started here has no GPU"):
        assert place.slots
    place = Ray(JobsConfig.model_validate({"ray": {"cpus": 3}}))
    place.__dict__["nodes"] = [{"CPU": 2.0}, {"CPU": 2.0}]
    with pytest.raises(UsageError, match=r"ray.cpus 3: the largest node .* has 2"):
        assert place.slots
    place.__dict__["nodes"] = [{"CPU": 7.0}, {"CPU": 5.0}]
    assert place.slots == 3
    with pytest.raises(UsageError, match="device cuda:1: a cluster chooses"):
        Ray(JobsConfig(device="cuda:1"))


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'saesweep[ray]'")):
        Ray(JobsConfig())


def test_ctrl_c_leaves_checkpoints_that_go_on_anywhere(
    cluster: Any, tmp_path: Path, saesweep: Any
) -> None:
    with sweeping(tmp_path, config(LONG, 0.1), cluster.address) as (process, run):
        wait_for(lambda: len(checkpoints(run)) == 2)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert out == "" and "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: interrupted; continue with")
    assert len(checkpoints(run)) == 2 and not run.running()
    stopped = [run.folder(cell).logs() for cell in run.cells]
    assert all("stopped after step" in log for log in stopped)
    again = saesweep("resume", run.path, "--backend", "local", OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert all("from step" in run.folder(cell).logs() for cell in run.cells)
    assert [row["state"] for row in run.metrics()] == ["done"] * 2


@pytest.mark.parametrize("address", ["127.0.0.1:PORT", "ray://127.0.0.1:1", "nowhere"])
def test_an_address_without_a_cluster_is_one_line(
    address: str, tmp_path: Path, small_file: Path, saesweep: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    address = address.replace("PORT", str(port))
    words = ("run", small_file, "--ray-address", address, "--device", "cpu", "-q")
    done = saesweep(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and address in line


def test_a_listener_of_another_kind_is_no_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)
        port = other.getsockname()[1]

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                assert connection.recv(100) == HTTP2
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UsageError, match="what answers there is no Ray cluster"):
            Ray(JobsConfig.model_validate({"ray": {"address": f"127.0.0.1:{port}"}}))
        thread.join()


def test_a_job_that_is_killed_is_tried_again_until_retries_are_spent(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is killed once and then does its job; one is killed every time."""
    chosen = config(SHORT, 0.1, ray={"address": cluster.address}, retries=1, stack=1)
    run = Run.create(chosen, tmp_path)
    lucky, doomed = (cell.name for cell in run.cells)
    real = process.job_command
    # Stands before the real command: it hands the job on, unless it kills itself.
    deadly = (
        "import json, os, pathlib, signal, subprocess, sys\n"
        "line, mark = sys.stdin.readline(), pathlib.Path(sys.argv[1])\n"
        f"if json.loads(line) == [{doomed!r}] or not mark.exists():\n"
        f"    if json.loads(line) == [{lucky!r}]: mark.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "real = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, text=True)\n"
        "real.stdin.write(line)\n"
        "real.stdin.flush()\n"
        "sys.stdin.read()\n"
        "real.stdin.close()\n"
        "sys.exit(real.wait())\n"
    )
    mark = str(tmp_path / "killed")

    def command(folder: Path, device: str, token: str | None) -> list[str]:
        return [sys.executable, "-c", deadly, mark, *real(folder, device, token)]

    monkeypatch.setattr("saesweep.jobs.process.job_command", command)
    notes = Notes()
    summary = run_sweep(run, notes)
    assert notes.ends == {lucky: "done", doomed: "failed"} and not summary.done
    assert "killed by SIGKILL" in run.folder(doomed).error()
    assert run.folder(doomed).error().endswith(", 2 times")
    again = "a job was killed by SIGKILL (by the system, if memory ran out); starting it again"
    assert [note for note in notes.notes if "again" in note] == [again] * 2


def test_a_cpu_job_has_its_cores_and_no_gpu() -> None:
    """As many threads as cores were asked for; Ray would set one by itself."""
    work: Any = SimpleNamespace(device="cpu")
    environment = _Tasks(work, {"num_cpus": 3}).environment
    told = (
        "import os, sys; sys.exit('{CUDA_VISIBLE_DEVICES}{OMP_NUM_THREADS}'.format(**os.environ))"
    )
    assert attend([sys.executable, "-c", told], "[]", environment) == (False, 1, "3")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_job_whose_task_is_cancelled_ends_in_peace(
    stop: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear(*_: Any) -> bool:
        time.sleep(1)  # until it listens
        raise stop

    monkeypatch.setattr("saesweep.jobs.ray._hear", hear)
    told = (
        "import sys, time\n"
        "sys.stdin.read()\n"  # until it is let go
        "time.sleep(0.3)\n"
        "sys.exit('checkpoints')\n"
    )
    assert attend([sys.executable, "-c", told], "[]", {}) == (False, 1, "checkpoints")


def test_a_full_disk_ends_the_sweep(cluster: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run = Run.create(config(SHORT, ray={"address": cluster.address}), tmp_path)
    words = "print('error: no space left', file=sys.stderr)"
    command = [sys.executable, "-c", f"import sys; {words}; sys.exit({os.EX_IOERR})"]
    monkeypatch.setattr("saesweep.jobs.process.job_command", lambda *_: command)
    with pytest.raises(StorageError, match=r"^no space left$"):
        run_sweep(run)


def test_a_lost_cluster_ends_the_sweep_and_fails_no_cell(tmp_path: Path) -> None:
    from ray import exceptions

    def get(_: Any) -> None:
        raise exceptions.LocalRayletDiedError

    work: Any = SimpleNamespace(device="cpu", run=Run.create(config(SHORT), tmp_path))
    tasks = _Tasks(work, {"num_cpus": 1})
    tasks.ray = SimpleNamespace(get=get, exceptions=exceptions)
    tasks.running["it"] = Task(())
    with pytest.raises(SaesweepError, match="continue with `saesweep resume"):
        tasks._ended(Queue(work, []), "it")
