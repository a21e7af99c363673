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
