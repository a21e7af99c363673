"""`saesweep report`: where the page goes, and what it does not write over."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from saesweep.errors import RunError, UsageError
from saesweep.files import Row
from saesweep.report.contents import Contents
from saesweep.report.page import render
from saesweep.report.write import write_report
from saesweep.run_folder import Run

pytest.importorskip("plotly")
Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished.path, tmp_path / "copied")
    return Run(tmp_path / "copied")


def test_the_page_of_other_runs_is_not_replaced_without_a_word(
    copied: Run, seeds: Run, saesweep: Command
) -> None:
    first = saesweep("report", "copied", "--out", "page.html")
    assert "in place of" not in first.stdout
    again = saesweep("report", "copied", "--out", "page.html")
    assert again.stdout == first.stdout
    other = saesweep("report", seeds.path, "--out", "page.html")
    assert other.stdout.endswith(f"MB, in place of the report of {copied.name}\n")


def test_a_page_of_a_stranger_tells_a_terminal_nothing(
    copied: Run, saesweep: Command, tmp_path: Path
) -> None:
    saesweep("report", "copied", "--out", "page.html")
    page = tmp_path / "page.html"
    page.write_text(page.read_text().replace("<title>", "<title>\x1b]0;mine\x07\n&#27;[2J"))
    done = saesweep("report", "copied", "--out", "page.html")
    assert done.stdout.endswith(f"MB, in place of the report of ]0;mine[2J{copied.name}\n")


def test_the_command_writes_a_page_into_the_run(copied: Run, saesweep: Command) -> None:
    done = saesweep("report", "copied")
    assert (done.returncode, done.stderr) == (0, "")
    path = copied.path / "report.html"
    assert done.stdout == f"copied/report.html: {path.stat().st_size / 1e6:.1f} MB\n"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_of_several_runs_it_lies_beside_them(
    copied: Run, seeds: Run, tmp_path: Path, saesweep: Command
) -> None:
    done = saesweep("report", "copied", seeds.path, "--json")
    (written,) = json.loads(done.stdout)["files"]
    assert Path(written).resolve() == (tmp_path / "report.html").resolve()


def test_a_report_is_written_again_and_notes_are_not_written_over(
    copied: Run, tmp_path: Path
) -> None:
    path = write_report([copied])
    assert write_report([copied]) == path
    notes = tmp_path / "notes.html"
    notes.write_text("<!doctype html><p>mine")
    with pytest.raises(UsageError, match="exists and is no report of saesweep"):
        write_report([copied], notes)
    assert notes.read_text() == "<!doctype html><p>mine"
    with pytest.raises(UsageError, match="is a folder"):
        write_report([copied], tmp_path)


def test_without_the_extra_it_says_what_to_install(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    read: list[int] = []
    with pytest.raises(UsageError, match=r"pip install 'saesweep\[report\]'"):
        write_report([copied], progress=lambda done, total: read.append(done))
    assert read == []  # before the cells of a large run are read


def test_gifs_are_in_the_page_where_that_is_asked_for(copied: Run) -> None:
    copied.gifs_dir.mkdir()
    names = ("grid", copied.cells[1].name)
    contents = {name: b"GIF89a" + name.encode() * 300_000 for name in names}
    for name, content in contents.items():
        (copied.gifs_dir / f"{name}.gif").write_bytes(content)
    page = write_report([copied], inline=True).read_text(encoding="utf-8")
    texts = {name: base64.b64encode(content).decode() for name, content in contents.items()}
    assert f'src="data:image/gif;base64,{texts["grid"]}"' in page
    cell = f'{{"kind":"image/gif","source":"data:image/gif;base64,{texts[names[1]]}"}}'
    assert page.count(cell) == 1
    assert all(page.count(text) == 1 for text in texts.values())
    linked = write_report([copied]).read_text(encoding="utf-8")
    assert 'src="gifs/grid.gif"' in linked
    assert "data:image" not in linked.partition("<script")[0]


def test_a_gif_that_cannot_be_read_is_said_and_nothing_is_written(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied.gifs_dir.mkdir()
    gif = copied.gifs_dir / "grid.gif"
    gif.write_bytes(b"GIF89a")

    def meanwhile(told: Row) -> str:
        gif.unlink()
        return render(told)

    monkeypatch.setattr("saesweep.report.write.render", meanwhile)
    before = {path.name for path in copied.path.iterdir()}
    with pytest.raises(RunError, match=r"grid\.gif: cannot be read: No such file or directory$"):
        write_report([copied], inline=True)
    assert {path.name for path in copied.path.iterdir()} == before


def test_gifs_pass_through_little_memory(copied: Run) -> None:
    copied.gifs_dir.mkdir()
    size = 48 << 20
    (copied.gifs_dir / "grid.gif").write_bytes(b"GIF89a" + bytes(size))
    contents = Contents(copied.path, inline=True)
    source = (contents.animation(copied, "grid") or {})["source"]
    tracemalloc.start()
    written = sum(map(len, contents.pieces(f'<img src="{source}">')))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written > 4 / 3 * size
    assert peak < size / 8


def test_a_run_without_a_finished_cell_has_a_page(copied: Run) -> None:
    for cell in copied.cells:
        shutil.rmtree(copied.folder(cell).path)
    page = write_report([copied]).read_text(encoding="utf-8")
    assert "4 waiting" in page


def test_a_device_or_a_pipe_is_refused_at_once(finished: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(UsageError, match="is a link, or no regular file"):
            write_report([finished], path)
    assert (tmp_path / "link").is_symlink()
    assert Path("/dev/null").is_char_device()


def test_a_strangers_run_has_a_page_and_hangs_nothing(hostile: Run, saesweep: Command) -> None:
    done = saesweep("report", hostile.path, "--out", "page.html", "--inline", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_run_is_taken_once(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(finished.path)
    with pytest.raises(UsageError, match="link: is the same run as"):
        write_report([finished, Run(tmp_path / "link")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
