"""What a SLURM task does: start the command that does a job, and see it to its end.

Every task imports this module, so it imports little: what its own process takes in memory is taken
from the training.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

FOR_TASKS = {signal.SIGTERM, signal.SIGUSR2}
"""Signals that SLURM may send to all processes of a task, but that its own process answers."""


class JobTask:
    """What an array task does: start the command that does a job, and see it to its end.

    submitit calls it, and calls `checkpoint` shortly before the time limit.
    """

    def __init__(self, command: list[str], line: str) -> None:
        self.command, self.line = command, line
        self.child: subprocess.Popen[bytes] | None = None
        self.to_end = False

    def __call__(self) -> None:
        """Exit as the command did, where it did not say that its job is over.

        SIGTERM comes from `scancel`, or where another job is more important; SIGKILL follows.
        """
        with _handling({signal.SIGTERM: self._let_go, signal.SIGUSR1: _ignore}):
            self.child = child = self._start()
            stdin, stdout = _pipe(child.stdin), _pipe(child.stdout)
            with stdout:
                try:
                    if self.to_end:  # told so while the child started
                        stdin.close()
                    # If it died, its output tells; a signal may have closed the pipe.
                    with contextlib.suppress(BrokenPipeError, ValueError):
                        stdin.write(f"{self.line}\n".encode())
                    answer = b"\n"
                    while answer and answer != b"over\n":  # `process.OVER`, without its imports
                        answer = stdout.readline()
                finally:
                    stdin.close()
                status = child.wait()
        if not answer and status:
            sys.exit(128 - status if status < 0 else status)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
            # Where SLURM does not bind tasks to cores, each would take the whole node.
            environment.setdefault("OMP_NUM_THREADS", cores)
        # The child keeps them blocked: it is stopped by `_let_go`, once, whoever else is signalled.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_TASKS)
        try:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=environment,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _let_go(self, *_: object) -> None:
        """Close the child's input: it writes checkpoints and ends.

        Not by a signal: a second one, from SLURM at the time limit, would mean at once.
        """
        self.to_end = True
        if self.child is not None:
            _pipe(self.child.stdin).close()

    def checkpoint(self) -> DelayedSubmission:
        """Have checkpoints written. submitit then puts what this returns back into the queue."""
        from submitit.helpers import DelayedSubmission

        self._let_go()
        if self.child is not None:
            # This is in a signal handler, so not `Popen.wait`: its lock may be held below.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(JobTask(self.command, self.line))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _ignore(*_: object) -> None:
    """For SIGUSR1, which is meant for the child. Ignored in earnest, it would be so there, too."""


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Callable[..., None]]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
