"""The other end of a job: the process that does it, here or on another machine."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from saesweep.config import JobsConfig
from saesweep.errors import Interrupted
from saesweep.jobs.process import OVER
from saesweep.jobs.work import Work
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes


class _Spoken(Reporter):
    """Says on standard error what is worth a line."""

    def note(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it, or the disk is full
            print(text, file=sys.stderr, flush=True)


def work_on(path: Path, names: Sequence[str], device: str, token: str | None) -> None:
    """Do the job of the cells ``names`` of the run at ``path``; ``Interrupted`` if told to stop.

    With ``-`` for names, jobs are read from standard input, a JSON list of names a line, and each
    is answered on standard output when it is over. Whoever asks is gone when the input ends: then
    checkpoints are written, and the process ends.
    """
    run, wishes = Run(path), Wishes()
    settings = JobsConfig.model_validate(run.sweep_facts().get("jobs") or run.config.jobs)
    work = Work(run, device, settings, _Spoken(), wishes, token)
    with wishes.listen():
        if [*names] != ["-"]:
            work.do([run.cell(name) for name in names])
            unanswered = wishes.stop
        else:
            jobs, answers = _Asked(wishes), _kept_for_answers()
            while (cells := jobs.next()) is not None:
                work.do([run.cell(name) for name in cells])
                if not wishes.stop:
                    answers.write(OVER)
                    answers.flush()
                    jobs.answered += 1
            unanswered = jobs.answered < jobs.asked
    if unanswered:
        raise Interrupted("asked to stop; checkpoints are written")


def _kept_for_answers() -> IO[bytes]:
    """Standard output, from where what libraries print, in C too, goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


class _Asked:
    """The jobs that are asked for on standard input."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.asked = self.answered = 0
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self.asked += 1
            self._lines.put(line)
        self.wishes.stop = True

    def next(self) -> list[str] | None:
        """The cells of the next job; None when there is a wish to stop."""
        while not self.wishes.stop:
            with contextlib.suppress(queue.Empty):  # a signal is only a wish, and wakes nobody
                names: list[str] = json.loads(self._lines.get(timeout=0.2))
                return None if self.wishes.stop else names
        return None
