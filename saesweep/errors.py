"""The errors a user can cause or meet, and the exit code of each."""

from __future__ import annotations

from collections.abc import Sequence


class SaesweepError(Exception):
    """Something the user should hear about in one or two lines, without a traceback."""

    exit_code = 1


class UsageError(SaesweepError):
    """What was asked for cannot be done: a wrong name, option or folder."""

    exit_code = 2


class ConfigError(UsageError):
    """A config is wrong; ``problems`` has one line for each thing that is."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class RunError(UsageError):
    """A run folder is missing, damaged, taken, or in use by another process."""


class Interrupted(SaesweepError):
    """The user, or the system, asked to stop."""

    exit_code = 130


class StorageError(SaesweepError):
    """The disk refused a write: it is full, read-only, or gone."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine or of a device, ran out: torch has no one error for it."""
    known = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    named = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return named or any(text in str(error) for text in known)
