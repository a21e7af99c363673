"""Signals as wishes: a sweep that is asked to stop, or to save, does so at its next step.

An exception out of a signal handler may strike anywhere, and is lost where it strikes in a callback
of Python's own; so the first signal only leaves a note.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ask to stop. The first two mean at once when they come twice; a closed terminal may send the last
twice by itself."""
SAVE = "SIGUSR1"
"""Asks for checkpoints; clusters send it before time runs out."""


class Wishes:
    """What the process was asked for."""

    def __init__(self) -> None:
        self.stop = False
        """Write checkpoints and stop."""
        self.save = False
        """Write checkpoints and go on."""
        self._heard: set[int] = set()

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if there is a wish to stop."""
        if self.stop:
            raise KeyboardInterrupt

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Take signals as wishes within; a second one to stop raises ``KeyboardInterrupt``.

        Only the main thread may handle signals: in others they keep their meaning. A signal that is
        ignored, as by nohup, stays ignored.
        """
        before = {}
        if threading.current_thread() is threading.main_thread():
            for name in (*STOPS, SAVE):
                number = signal.Signals[name]
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, self._hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
        elif number in self._heard and number != signal.SIGHUP:
            raise KeyboardInterrupt
        else:
            self._heard.add(number)
            self.stop = True
