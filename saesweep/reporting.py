"""What a sweep tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping

from saesweep.grid import Cell, Job


class Reporter:
    """Hears of everything that happens in a sweep, and by itself says nothing.

    A display overrides what it shows.
    """

    def planned(self, cells: list[Cell], states: Mapping[str, str], jobs: list[Job]) -> None:
        """The sweep starts: its cells, the state of each by name, and the jobs to do."""

    def foreseen(self, text: str) -> None:
        """What the sweep will take, in lines, before it starts."""

    def progress(self, epoch: int, rows: Mapping[str, Mapping[str, float]]) -> None:
        """Some cells took a snapshot after ``epoch``: their metrics by name."""

    def finished(self, cell: Cell, state: str, reason: str = "") -> None:
        """A cell is ``done`` or ``failed``."""

    def note(self, text: str) -> None:
        """Something else worth a line."""


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "cell"), counted(12, "cell")
    ('1 cell', '12 cells')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(5), duration(65), duration(3700)
    ('5s', '1m 05s', '1h 01m')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"
