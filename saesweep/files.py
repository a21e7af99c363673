"""Files that appear whole or not at all, and readers that answer damage with one line."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saesweep.errors import RunError, StorageError

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[str, np.ndarray[Any, Any]]
"""Arrays by name."""
Row = dict[str, Any]
"""One line of a table by column name."""
TEMPORARY = ".tmp-"
"""How the names of files begin that are not finished."""
_HERE = socket.gethostname().replace("-", "_").replace("/", "_")


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a temporary file, flush it to disk, and move it to ``path``.

    The temporary name has the same ending. Raises ``StorageError`` if the disk refuses; ``path`` is
    then as it was before. A device or a pipe is never replaced by a file: root could, /dev/null.
    """
    temporary = temporary_name(path, os.getpid())
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("not a regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, path)
        _flush(path.parent, os.O_RDONLY)  # else the new name itself may be lost with the power
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone or read-only
            temporary.unlink(missing_ok=True)


def temporary_name(path: Path, pid: int) -> Path:
    """What ``path`` is called while process ``pid`` of this machine writes it."""
    return path.with_name(f"{TEMPORARY}{_HERE}-{pid}-{path.name}")


def is_being_written(temporary: Path) -> bool:
    """Whether the process that the name of a temporary file tells of may be alive.

    One on another machine may be, for a day.
    """
    host, number, *_ = [*temporary.name.removeprefix(TEMPORARY).split("-", 2), "", ""]
    if host != _HERE:
        with contextlib.suppress(OSError):
            return time.time() - temporary.stat().st_mtime < 86_400
        return False
    try:
        os.kill(int(number), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:  # alive, and another user's
        return True
    return True


def sweep_up(folder: Path) -> None:
    """Remove what killed processes left unfinished in ``folder`` and below."""
    for path in [*folder.rglob(f"{TEMPORARY}*")]:
        if not is_being_written(path):
            with contextlib.suppress(OSError):  # it does no harm
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8."""
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def append_line(path: Path, line: str) -> None:
    """Add ``line`` at the end of a log, in one write, below a last line that a kill tore off."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` as JSON; numbers that are not finite become null, as JSON has none."""
    write_text(path, to_json(data) + "\n")


def to_json(data: Any) -> str:
    """``data`` as JSON text; numbers that are not finite become null, as JSON has none.

    >>> print(to_json({"mmcs": float("nan")}))
    {
      "mmcs": null
    }
    """
    return json.dumps(_finite(data), indent=2, allow_nan=False, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_rows(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Write ``rows`` as CSV with a header of ``columns``; what a row lacks is ``nan``."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([row.get(column, math.nan) for column in columns] for row in rows)

    atomic_write(path, write)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], header: dict[str, str] | None = None
) -> None:
    """Write ``tensors`` as safetensors, with ``header`` as its metadata."""
    from safetensors.torch import save

    content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, header)
    atomic_write(path, lambda temporary: temporary.write_bytes(content))


def lies_within(path: Path, folder: Path) -> bool:
    """Whether ``path`` is a regular file in ``folder``, or a link to one that is.

    A stranger's folder may hold links to files of yours, which are not to be passed on.
    """
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name that is too long; a link to itself
        return False


def read_text(path: Path, most: int | None = None, *, from_end: bool = False) -> str:
    """The text of a file, or at most ``most`` bytes of it from its start or its end.

    What is no UTF-8 becomes �. ``RunError`` if it cannot be read.
    """
    _refuse_special(path)
    try:
        with path.open("rb") as file:
            if most is not None and from_end:
                file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read(most).decode("utf-8", "replace")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {_reason(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; ``RunError`` if there is none."""
    _refuse_special(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {_reason(error)}") from None
    if not isinstance(data, dict):
        raise RunError(f"{path}: damaged: not a mapping")
    return data


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file, numbers as numbers; ``RunError`` if it cannot be read."""
    _refuse_special(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read: {_reason(error)}") from None
    if any(None in row or None in row.values() for row in rows):
        raise RunError(f"{path}: damaged: a row is longer or shorter than the header")
    return [{key: _number(text) for key, text in row.items()} for row in rows]


def read_columns(path: Path) -> Arrays:
    """The columns of a CSV file of numbers alone, [rows] each; ``RunError`` if it is none.

    The numbers that `read_rows` finds, in a fifth of the time.
    """
    _refuse_special(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read: {_reason(error)}") from None
    if any(len(row) != len(head) for row in rows):
        raise RunError(f"{path}: damaged: a row is longer or shorter than the header")
    try:
        columns = [np.array([*map(float, column)]) for column in zip(*rows, strict=True)]
    except ValueError:
        columns = []
    if not columns:
        raise RunError(f"{path}: damaged: not rows of numbers")
    return dict(zip(head, columns, strict=True))


def read_last_row(path: Path) -> Row:
    """The last row of a CSV file, whose rows take up to 4 KiB; ``RunError`` if it cannot be read.

    A history of 100 rows takes 3 ms to read whole, and this 0.05.
    """
    _refuse_special(path)
    try:
        with path.open("rb") as file:
            head = file.readline()
            start = max(file.tell(), file.seek(0, os.SEEK_END) - 4096)
            file.seek(start)
            text = (head + file.read().splitlines(keepends=True)[-1]).decode()
        (row,) = csv.DictReader(text.splitlines(), strict=True)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read: {_reason(error)}") from None
    if None in row or None in row.values():
        raise RunError(f"{path}: damaged: its last row does not fit its header")
    return {key: _number(text) for key, text in row.items()}


def read_arrays(path: Path) -> Arrays:
    """The arrays of a safetensors file; ``RunError`` if it cannot be read."""
    from safetensors.numpy import load_file

    return dict(_of_safetensors(path, load_file))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in the dtypes they have; ``RunError`` as above."""
    from safetensors.torch import load_file  # numpy has no bfloat16

    return _of_safetensors(path, load_file)


def read_header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; ``RunError`` if it cannot be read."""
    from safetensors import safe_open

    def metadata(path: Path) -> dict[str, str]:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}

    return _of_safetensors(path, metadata)


def _of_safetensors(path: Path, load: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    from safetensors import SafetensorError

    _refuse_special(path)
    try:
        with path.open("rb"):  # safetensors says of every file it cannot open: not found
            pass
        return load(path)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read: {_reason(error)}") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    _refuse_special(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_special(path: Path) -> None:
    """Refuse a device or a pipe in the place of a record: reading it might never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise RunError(f"{path}: cannot be read: not a regular file")


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error).partition("\n")[0] or type(error).__name__
