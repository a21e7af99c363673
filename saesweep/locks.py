"""Who writes a run: one sweep at a time, and the jobs that it started.

A sweep holds ``.lock``, and says in ``jobs/sweep.json`` who it is. Each job, in whatever process
and on whatever machine, holds a *claim*: a locked file under ``jobs/`` that names its cells. Locks
go with the process that holds them, however it ends, so nothing has to be guessed from ages.

A job that outlives the sweep that started it cannot meet the jobs of the next: a sweep writes its
token, then looks for claims; a job makes its claim, then looks at the token. One of the two sees
the other. A sweep that is refused leaves the token as it was: jobs that wait in a cluster's queue
are still good.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saesweep import files
from saesweep.errors import RunError, StorageError

PATIENCE = 5.0
"""Seconds to wait for the jobs of a sweep that was killed: they write checkpoints and end."""


@dataclass(frozen=True)
class Claim:
    """A job that is running."""

    cells: frozenset[str]
    pid: Any
    host: Any


@contextlib.contextmanager
def sweep_lock(
    folder: Path, facts: dict[str, Any], timeout: float = 1, patience: float = PATIENCE
) -> Iterator[str]:
    """Hold the run in ``folder`` for a sweep, whose token it gives; ``RunError`` if it is in use.

    ``facts`` are told to its jobs, and to whoever asks for its `holder`. Waits ``timeout`` seconds
    for another sweep and ``patience`` for the jobs of one that is gone.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        by = holder(folder)
        raise _in_use(folder, by.get("pid", "?"), by.get("host", "?")) from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be locked: {error.strerror}") from None
    try:
        deadline = time.monotonic() + patience
        while left := claims(folder):
            if time.monotonic() > deadline:
                raise _in_use(folder, left[0].pid, left[0].host, ", a job of an earlier sweep")
            time.sleep(0.1)
        path, before, token = folder / "jobs" / "sweep.json", holder(folder), secrets.token_hex(8)
        files.write_json(path, {"token": token, **this_process(), **facts})
        if left := claims(folder):  # it began in between, and is of the sweep before
            files.write_json(path, before)
            raise _in_use(folder, left[0].pid, left[0].host, ", a job of an earlier sweep")
        yield token
    finally:
        lock.release()


@contextlib.contextmanager
def claim(
    folder: Path, cells: Collection[str], token: str | None = None, patience: float = 60
) -> Iterator[None]:
    """Hold ``cells`` of the run in ``folder`` for a job.

    ``RunError`` where ``token`` is not that of the sweep that holds the run now, or where another
    job has one of the cells and does not end within ``patience`` seconds.
    """
    path = folder / "jobs" / f"{secrets.token_hex(8)}.claim"
    deadline = time.monotonic() + patience
    while True:
        with _claim_file(path, cells):
            if token is not None and holder(folder).get("token") != token:
                raise RunError(f"{folder}: another sweep has taken over; this job is out of date")
            rivals = [other for other in claims(folder, but=path) if other.cells & set(cells)]
            if not rivals:
                yield
                return
        if time.monotonic() > deadline:
            raise _in_use(folder, rivals[0].pid, rivals[0].host)
        # Two jobs that began together both step back, and not for the same time.
        time.sleep(0.1 + secrets.randbelow(200) / 1000)


def claims(folder: Path, but: Path | None = None) -> list[Claim]:
    """The jobs that are running, ``but`` one; what dead ones left is removed."""
    found = []
    for path in (folder / "jobs").glob("*.claim"):
        if path != but and (text := _read_if_held(path)) is not None:
            try:
                facts = json.loads(text)
                one = Claim(frozenset(facts["cells"]), facts["pid"], facts["host"])
            except (ValueError, LookupError, TypeError):  # it is being written
                one = Claim(frozenset(), "?", "?")
            found.append(one)
    return found


def is_held(folder: Path) -> bool:
    """Whether a sweep or a job is writing the run now."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            return bool(claims(folder))
    except Timeout:
        return True
    except OSError:  # a read-only folder: nobody writes it from here
        return False


def holder(folder: Path) -> dict[str, Any]:
    """What the last sweep of the run said of itself; nothing, if that cannot be read."""
    with contextlib.suppress(RunError):
        return files.read_json(folder / "jobs" / "sweep.json")
    return {}


def this_process() -> dict[str, Any]:
    """Which process this is."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _in_use(folder: Path, pid: Any, host: Any, what: str = "") -> RunError:
    return RunError(f"{folder}: in use by process {pid} on {host}{what}; wait for it, or stop it")


@contextlib.contextmanager
def _claim_file(path: Path, cells: Collection[str]) -> Iterator[None]:
    descriptor = _write_locked(path, json.dumps({"cells": [*cells], **this_process()}))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _write_locked(path: Path, text: str) -> int:
    """Make the file ``path``, locked as long as the descriptor that it returns is open."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, text.encode())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    return descriptor


def _read_if_held(path: Path) -> str | None:
    """The text of a claim whose process lives; None, and the file removed, if it does not."""
    try:
        descriptor = os.open(path, os.O_RDWR)  # not only to read: NFS wants it so for the lock
    except OSError:  # gone, or not ours to look at
        return None
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return file.read()
        if file.read(1):  # one that is empty is about to be locked
            with contextlib.suppress(OSError):
                path.unlink()
    return None
