"""Files that appear whole or not at all, and readers that take any damage in one line."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch  # noqa: F401 - now, as another user might not be allowed to later
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import files
from saesweep.errors import RunError, StorageError

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=150)
Readers = [
    *(files.read_json, files.read_rows, files.read_columns, files.read_arrays, files.read_text)
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Writing


def test_a_file_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    files.write_text(path, "héllo")
    assert path.read_text(encoding="utf-8") == "héllo"
    files.write_text(path, "again")
    assert path.read_text(encoding="utf-8") == "again"
    assert names(path.parent) == ["c.txt"]


def test_the_temporary_file_has_the_same_ending(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write(temporary: Path) -> None:
        seen.append(temporary)
        temporary.write_bytes(b"x")

    files.atomic_write(tmp_path / "frames.gif", write)
    assert seen[0].suffix == ".gif"
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(files.TEMPORARY)


def fail_at(place: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets the disk be full at ``place``; returns what is to write."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(temporary: Path) -> None:
        temporary.write_text("new, but only hal")
        if place == "write":
            full()

    if place != "write":
        monkeypatch.setattr(os, place, full)
    return write


@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
@pytest.mark.parametrize("old", ["old", None])
def test_a_full_disk_leaves_everything_as_it_was(
    place: str, old: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)
    write = fail_at(place, monkeypatch)
    with pytest.raises(StorageError) as caught:
        files.atomic_write(path, write)
    monkeypatch.undo()
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert caught.value.exit_code == 1
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert not old or path.read_text() == old


def test_what_is_written_is_flushed_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, happened = tmp_path / "a.txt", []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        happened.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def record_replace(old: Path, new: Path) -> None:
        happened.append(f"replace {new.name}")
        replace(old, new)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc to see what a descriptor is")
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    files.write_text(path, "x")
    assert happened == [
        f"fsync {files.temporary_name(path, os.getpid()).name}",
        "replace a.txt",
        f"fsync {tmp_path.name}",
    ]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_of_the_writer_is_passed_on(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        raise error

    with pytest.raises(type(error)):
        files.atomic_write(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, "x" * 100_000),
    "json": lambda path: files.write_json(path, {"a": ["x"] * 100_000}),
    "rows": lambda path: files.write_rows(path, [{"a": 1}] * 100_000, ["a"]),
    "tensors": lambda path: files.write_tensors(path, {"a": torch.zeros(100_000)}),
    "line": lambda path: files.append_line(path, "x" * 100_000),
}


@pytest.fixture
def at_most_64_kib() -> Iterator[None]:
    """The system refuses larger files, as a quota or a full disk does in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.usefixtures("at_most_64_kib")
def test_every_writer_says_that_the_disk_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(StorageError, match=r"/file: cannot be written: File too large"):
        WRITERS[kind](path)
    if kind != "line":
        assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small disk, and not everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_writer_survives_a_disk_that_is_full(kind: str, tiny_disk: Path) -> None:
    path = tiny_disk / "file"
    path.write_text("old")
    with pytest.raises(StorageError, match="No space left on device"):
        WRITERS[kind](path)
    if kind != "line":
        assert path.read_text() == "old"
    assert names(tiny_disk) == ["file"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_that_cannot_be_is_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot be written: (Not a dir|File exists)"):
        WRITERS[kind](tmp_path / "file" / "below")


@pytest.fixture
def somebody() -> Iterator[Path]:
    """A folder of a user who is not root, as that user."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_read_only_folder_is_said(kind: str, somebody: Path) -> None:
    somebody.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written: Permission denied"):
        WRITERS[kind](somebody / "file")
    with pytest.raises(StorageError, match="cannot be written: Permission denied"):
        WRITERS[kind](somebody / "below" / "file")
    somebody.chmod(0o700)


@pytest.mark.parametrize("read", Readers)
def test_a_file_of_somebody_else_is_said(read: Any, somebody: Path) -> None:
    (somebody / "secret").touch(0o000)
    with pytest.raises(RunError, match="secret: cannot be read: Permission denied"):
        read(somebody / "secret")


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, sys; from pathlib import Path; from saesweep import files\n"
        "def write(temporary):\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)\n"
        "files.atomic_write(Path(sys.argv[1]), write)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    (left,) = set(names(tmp_path)) - {"a.txt"}
    assert left.startswith(files.TEMPORARY)  # which `Run.sweep_up` removes


# Logs


def test_lines_are_appended_below_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log"
    files.append_line(path, "öne")
    files.append_line(path, "two")
    assert path.read_text(encoding="utf-8") == "öne\ntwo\n"
    path.write_text("one\ntw")
    files.append_line(path, "three")
    assert path.read_text() == "one\ntw\nthree\n"
    path.write_text("")
    files.append_line(path, "one")
    assert path.read_text() == "one\n"


# JSON


def test_numbers_that_are_not_finite_are_null() -> None:
    data = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], "c": {"d": math.nan}, "e": "nan"}
    assert json.loads(files.to_json(data)) == {
        "a": None,
        "b": [None, [None, 1.5]],
        "c": {"d": None},
        "e": "nan",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@SOME
@given(data=st.dictionaries(st.text(), JSON, max_size=4))
def test_json_is_read_as_it_was_written(
    data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    files.write_json(path, data)
    assert files.read_json(path) == data


# Tables

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6).map(
    "w{}".format
)
NUMBERS = st.integers() | st.floats()


@SOME
@given(
    rows=st.lists(
        st.fixed_dictionaries({"cell": WORDS, "a,b": NUMBERS, 'q"': NUMBERS | WORDS}), max_size=4
    )
)
def test_rows_are_read_as_they_were_written(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    files.write_rows(path, rows, ["cell", "a,b", 'q"'])
    read = files.read_rows(path)
    assert [list(row) for row in read] == [["cell", "a,b", 'q"']] * len(rows)
    for row, again in zip(rows, read, strict=True):
        for key, value in row.items():
            if value != value:
                assert math.isnan(again[key])
            else:
                assert again[key] == value
                assert type(again[key]) is type(value)


def test_what_a_row_lacks_is_nan_and_what_is_no_column_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    files.write_rows(path, [{"a": 1, "z": 9}, {"b": 2.5}], ["a", "b"])
    assert path.read_bytes() == b"a,b\n1,nan\nnan,2.5\n"


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,b\n1,2,3\n", "a,b\n1,2\n3"])
def test_a_torn_table_is_damaged(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(RunError, match=r"a\.csv: damaged: a row is longer or shorter"):
        files.read_rows(path)


@SOME
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"epoch": st.integers(0, 2**60), "a,b": st.floats(), "c": st.floats()}
        ),
        min_size=1,
        max_size=4,
    )
)
def test_columns_of_numbers_are_those_of_the_rows(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "columns.csv"
    files.write_rows(path, rows, ["epoch", "a,b", "c"])
    columns = files.read_columns(path)
    assert list(columns) == ["epoch", "a,b", "c"]
    for name, column in columns.items():
        expected = np.array([float(row[name]) for row in rows])
        np.testing.assert_array_equal(column, expected, strict=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not rows of numbers"),
        ("a,b\n", "not rows of numbers"),
        ("a,b\n1,x\n", "not rows of numbers"),
        ("a,b\n1\n", "a row is longer or shorter than the header"),
        ("a,b\n1,2\n1,2,3\n", "a row is longer or shorter than the header"),
    ],
)
def test_a_table_that_is_not_of_numbers_has_no_columns(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(RunError, match=rf"a\.csv: damaged: {why}$"):
        files.read_columns(path)


# Texts


def test_a_part_of_a_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"begin\nmiddle\xff\nend")
    assert files.read_text(path) == "begin\nmiddle\ufffd\nend"
    assert files.read_text(path, 5) == "begin"
    assert files.read_text(path, 3, from_end=True) == "end"
    assert files.read_text(path, 1000, from_end=True) == files.read_text(path)


def test_what_lies_within_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "below").mkdir(parents=True)
    for path in (tmp_path / "outside", folder / "inside", folder / "below" / "deep"):
        path.write_text("x")
    (tmp_path / "run2").write_text("x")
    links = {
        "to_inside": folder / "below" / "deep",
        "up_and_down": Path("../run/inside"),
        "to_outside": tmp_path / "outside",
        "to_namesake": Path("../run2"),
        "to_itself": Path("to_itself"),
        "to_nothing": Path("nothing"),
        "to_folder": folder / "below",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "away").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    within = {"inside", "below/deep", "to_inside", "up_and_down", "away/run/inside"}
    others = {"away/outside", "pipe", "below", "x" * 5000, *links} - within
    for name in within | others:
        assert files.lies_within(folder / name, folder) == (name in within), name
    (tmp_path / "linked").symlink_to(folder)
    assert files.lies_within(tmp_path / "linked" / "inside", tmp_path / "linked")


# Arrays


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "half": torch.rand(2, 3).half(),
        "turned": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "count": torch.tensor([2**40]),
    }
    files.write_tensors(path, tensors)
    arrays = files.read_arrays(path)
    assert set(arrays) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy(), strict=True)


# Damage


@pytest.mark.parametrize("read", Readers)
def test_what_is_not_there_or_no_file_is_said(read: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no: cannot be read: No such file or directory"):
        read(tmp_path / "no")
    with pytest.raises(RunError, match=rf"^{tmp_path}: cannot be read: "):
        read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 8,
        b"\xff" * 100,
        (2**62).to_bytes(8, "little") + b"{}",  # a header larger than any memory
        (100_000_000).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        b"[" * 100_000,
        b'{"a": ' * 100_000,
        b"1" * 10_000,
        b"[1, 2]",
        b"null",
        b'"' + b"x" * 200_000,
        bytes(range(256)) * 10,
    ],
    ids=lambda content: repr(content[:12]),
)
@pytest.mark.parametrize("read", Readers)
def test_anything_that_is_no_such_file_is_said_in_a_line(
    read: Any, content: bytes, tmp_path: Path
) -> None:
    survives(read, tmp_path / "file", content)


def survives(read: Callable[[Path], Any], path: Path, content: bytes) -> None:
    """``content`` is read or refused with one line that names the file."""
    path.write_bytes(content)
    try:
        read(path)
    except RunError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)


def valid(kind: str, folder: Path) -> bytes:
    path = folder / f"valid-{kind}"
    if kind == "read_json":
        files.write_json(path, {"metrics": {"mmcs": 0.5, "mcc": math.nan}, "files": {"a": "ff"}})
    elif kind in ("read_rows", "read_columns"):
        files.write_rows(
            path, [{"epoch": 0, "loss": 0.5}, {"epoch": 10, "loss": 0.25}], ["epoch", "loss"]
        )
    else:
        files.write_tensors(path, {"W_enc": torch.rand(2, 3), "epoch": torch.arange(4)})
    return path.read_bytes()


@pytest.mark.parametrize("read", Readers)
@SOME
@given(data=st.data())
def test_a_file_with_any_damage_is_read_or_refused(
    read: Callable[[Path], Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(valid(read.__name__, folder))
    first = data.draw(st.integers(0, len(content)))
    removed = data.draw(st.integers(0, 16) | st.just(len(content)))
    content[first : first + removed] = data.draw(st.binary(max_size=16))
    survives(read, folder / "damaged", bytes(content))


@pytest.mark.parametrize("read", Readers)
@SOME
@given(content=st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(
    read: Callable[[Path], Any], content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    survives(read, tmp_path_factory.getbasetemp() / "any", content)


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("read", [*Readers, files.sha256])
def test_a_device_or_a_pipe_is_not_read(read: Any, tmp_path: Path) -> None:
    endless, pipe = tmp_path / "endless", tmp_path / "pipe"
    endless.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    for path in (endless, pipe):
        with pytest.raises(RunError, match="not a regular file"):
            read(path)


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        files.write_text(tmp_path / "pipe", "text")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
