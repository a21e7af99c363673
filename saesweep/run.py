"""Temporary names for work in progress; use saesweep.files and saesweep.run_folder."""

from saesweep.files import atomic_write
from saesweep.run_folder import Run

__all__ = ["Run", "atomic_write"]
