"""Jobs as tasks of a Ray cluster: each starts the same command as a job on this machine.

Ray finds room for a job, tells it which GPU is its own, and notices that a node is lost. What is
done stands in the run's folder, which all nodes share. A node imports this file to attend to a
job, so nothing heavy is imported at its top.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from saesweep.errors import SaesweepError, UsageError
from saesweep.extras import is_installed

if TYPE_CHECKING:
    from saesweep.config import JobsConfig
    from saesweep.grid import Job
    from saesweep.jobs.queue import Queue, Task
    from saesweep.jobs.work import Work

QUIET = {
    # Its messages of workers and nodes come on standard output, which belongs to --json.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` it would upload the working folder, with all that was trained, to every node.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""What Ray reads from the environment when it is imported."""

OBJECT_STORE = 80 << 20
"""Bytes of shared memory for a Ray that is started here: tasks pass nothing but a few words."""
LOOK_SECONDS = 1.0
"""How often the folder is asked how far the jobs are."""
PATIENCE = 3.0
"""Seconds in which whatever listens at an address has to answer."""
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What opens a conversation with a head node: a greeting, and a frame of kind 4 without content,
which is answered by one of that kind."""


class Ray:
    """The slots of a Ray cluster: `jobs.per_device` for each GPU, or one for `ray.cpus` cores."""

    def __init__(self, settings: JobsConfig) -> None:
        if not is_installed("ray"):
            raise UsageError("backend ray needs Ray: pip install 'saesweep[ray]'")
        if ":" in settings.device:
            raise UsageError(
                f"device {settings.device}: a cluster chooses the GPU of each job; "
                "should be auto, cpu or cuda"
            )
        self.settings, self.address = settings, settings.ray.address
        self.started = False
        _see_that_it_listens(self.address)

    @cached_property
    def nodes(self) -> list[Mapping[str, float]]:
        """What each node has of every resource. Connects, unless this program is connected."""
        ray = _import_ray(self.address)
        if not ray.is_initialized():
            _connect(ray, self.address)
            self.started = True
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    @cached_property
    def device(self) -> str:
        """``cuda``, if the cluster has GPUs and those are wanted; else ``cpu``."""
        wanted = self.settings.device
        has = any(node.get("GPU", 0) >= 1 for node in self.nodes)
        if wanted == "cuda" and not has:
            raise UsageError(f"device cuda: {self._name} has no GPU")
        return "cuda" if has and wanted != "cpu" else "cpu"

    @cached_property
    def slots(self) -> int:
        """How many jobs have room at once. One never takes cores of two nodes."""
        if self.device == "cuda":
            gpus = sum(int(node.get("GPU", 0)) for node in self.nodes)
            return gpus * self.settings.per_device
        cores, wanted = [int(node.get("CPU", 0)) for node in self.nodes], self.settings.ray.cpus
        slots = sum(count // wanted for count in cores)
        if not slots:
            most = max(cores, default=0)
            raise UsageError(f"ray.cpus {wanted}: the largest node of {self._name} has {most}")
        return slots

    @property
    def _name(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else "the Ray started here"

    def describe(self) -> str:
        """In a line."""
        at_once = f"{self.slots} job{'s' * (self.slots > 1)} at once"
        nodes = f"{len(self.nodes)} node{'s' * (len(self.nodes) > 1)}"
        return f"on {self.device}, {at_once}, by {self._name} ({nodes})"

    def run(self, work: Work, jobs: Sequence[Job]) -> bool:
        """Run ``jobs``, each as a task of the cluster."""
        try:
            if jobs:
                _Tasks(work, self._resources()).run(jobs)
        finally:
            if self.started:
                _import_ray().shutdown()
        return True

    def _resources(self) -> dict[str, Any]:
        """What a job takes of a node, in Ray's words."""
        if self.device == "cpu":
            return {"num_cpus": self.settings.ray.cpus}
        # Ray counts in steps of 0.0001: seven times 0.1429 would be more than there is.
        share = math.floor(10_000 / self.settings.per_device) / 10_000
        return {"num_gpus": share, "num_cpus": 0}


def attend(
    command: Sequence[str], line: str, environment: Mapping[str, str]
) -> tuple[bool, int, str]:
    """On a node: start ``command``, give it the job in ``line``, and wait until it is over.

    Returns whether it said so, its exit status, and its last words. Ray cancels a task with a
    ``KeyboardInterrupt``, which comes only between bytecodes, so nothing here waits for long. Then,
    or if the node is stopped, the input of the process is closed, and it writes checkpoints. So it
    does where this process is killed.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            process_group=0,  # a Ctrl-C where this is the user's own machine does not reach it
        )
        over = False
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            over = _hear(process, line)
        if process.stdin is not None:  # it has nothing more to do, or is to write checkpoints
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        while process.poll() is None:
            time.sleep(0.1)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - 4096))
        words = errors.read().decode(errors="replace").strip()
    return over, process.returncode, words


def _hear(process: subprocess.Popen[bytes], line: str) -> bool:
    """Give ``process`` its job; whether it came to say that the job is over."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died; its output ends
        process.stdin.write(f"{line}\n".encode())
        process.stdin.flush()
    answer = b"\n"
    while answer and answer != b"over\n":  # `process.OVER`, without its imports
        if select.select([process.stdout], [], [], 0.1)[0]:
            answer = process.stdout.readline()
    return bool(answer)


class _Tasks:
    """The jobs of a sweep, all handed to Ray: those that find no room wait there."""

    def __init__(self, work: Work, resources: Mapping[str, Any]) -> None:
        self.ray, self.work = _import_ray(), work
        self.environment: dict[str, str] = {}
        if work.device == "cpu":
            cores = str(resources["num_cpus"])
            self.environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": cores}
        # Ray would start a job of a lost node again by itself, unseen, and one that took too much
        # memory without end. The queue does both with a line to the user, counts each kill once,
        # and halves a stack.
        self.remote = self.ray.remote(attend).options(name="saesweep", max_retries=0, **resources)
        self.running: dict[Any, Task] = {}
        self.asked_to_stop = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run ``jobs`` until all are over, or the work is."""
        from saesweep.jobs.queue import Queue

        queue = Queue(self.work, jobs)
        looked = time.monotonic()
        with self._nobody_left():
            while self._submit(queue):
                self._pass_wishes()
                ended, _ = self.ray.wait(
                    [*self.running], num_returns=len(self.running), timeout=0.2
                )
                for reference in ended:
                    self._ended(queue, reference)
                if time.monotonic() - looked > LOOK_SECONDS:
                    self._look(queue)
                    looked = time.monotonic()

    def _submit(self, queue: Queue) -> bool:
        """Hand every task to Ray; whether any is not over."""
        from saesweep.jobs.process import job_command, job_line

        command = job_command(self.work.run.path, self.work.device, self.work.token)
        while (task := queue.take()) is not None:
            line = job_line(task.cells)
            self.running[self.remote.remote(command, line, self.environment)] = task
        return bool(self.running)

    def _look(self, queue: Queue) -> None:
        """Ask the folder about the tasks that have begun: their cells are claimed by a job."""
        claimed = self.work.run.running()
        for task in self.running.values():
            if any(cell.name in claimed for cell in task.cells):
                queue.look(task)

    def _ended(self, queue: Queue, reference: Any) -> None:
        task, errors = self.running.pop(reference), self.ray.exceptions
        try:
            over, status, words = self.ray.get(reference)
        except errors.TaskCancelledError:
            queue.ended(task, "was cancelled")
        except errors.OutOfMemoryError:
            queue.ended(task, "was killed by Ray, as the memory of its node ran out", memory=True)
        except errors.RayTaskError as error:
            cause = error.cause or error
            queue.ended(task, f"could not be started: {type(cause).__name__}: {_reason(cause)}")
        except errors.LocalRayletDiedError:  # no cell is to blame, and none can be started any more
            raise SaesweepError(
                "the Ray of this machine has ended; what is done is kept: "
                f"continue with `saesweep resume {self.work.run.path}`"
            ) from None
        except errors.RayError as error:
            queue.ended(task, f"lost its worker or node ({type(error).__name__})")
        else:
            if over:
                queue.ended(task)
            else:
                queue.exited(task, status, words)

    def _pass_wishes(self) -> None:
        # A wish to save is not passed on, as nothing but a cancellation reaches a task; jobs write
        # checkpoints every `jobs.checkpoint_every` seconds by themselves.
        if self.work.over and not self.asked_to_stop:
            self.asked_to_stop = True
            self.work.note_stop()
            self._cancel()

    def _cancel(self, force: bool = False) -> None:
        for reference in self.running:
            self.ray.cancel(reference, force=force)

    @contextlib.contextmanager
    def _nobody_left(self) -> Iterator[None]:
        """After an error none may go on."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(self.ray.exceptions.RayError):
                self._cancel(force=True)
            raise


def _see_that_it_listens(address: str | None) -> None:
    """``UsageError`` unless ``address`` may be a cluster's: Ray itself would try for long."""
    if address is None or address == "auto" or "RAY_USE_TLS" in os.environ:
        return  # Ray finds out soon enough, or is the only one to speak with it
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", address)
    if match is None:
        raise UsageError(f"ray.address {address}: should be HOST:PORT of the head node, or auto")
    host, port = match[1] or match[2], int(match[3])
    try:
        with socket.create_connection((host, port), timeout=PATIENCE) as connection:
            connection.sendall(HTTP2)
            answer = connection.recv(9)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"ray.address {address}: no Ray cluster answers there: {reason}") from None
    if answer[3:4] != b"\x04":
        raise UsageError(f"ray.address {address}: what answers there is no Ray cluster")


def _import_ray(address: str | None = None) -> Any:
    if address is not None:
        # Else it tries twenty times, as where a token is missing, and complains each time.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return importlib.import_module("ray")


def _connect(ray: Any, address: str | None) -> None:
    """Connect to the cluster at ``address``, or start a Ray on this machine."""
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    with _same_handlers():
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
        except Exception as error:  # of a dozen kinds, from ConnectionError to RuntimeError
            where = f"ray.address {address}: Ray" if address else "Ray does not start here: it"
            raise UsageError(f"{where} says: {_reason(error)}") from None


@contextlib.contextmanager
def _same_handlers() -> Iterator[None]:
    """Undo at the end that Ray takes SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _reason(error: BaseException) -> str:
    """Why Ray gave up, in a line: what went wrong first, without the traceback that it quotes."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    text = str(error).strip()
    if "Traceback" in text:
        text = text.splitlines()[-1]
    return textwrap.shorten(text.split(". ")[0], 300, placeholder=" …") or type(error).__name__
