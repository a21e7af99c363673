"""`saesweep report`: where the page goes, and what it does not write over."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from saesweep.errors import UsageError
from saesweep.report.write import write_report
from saesweep.run_folder import Run

pytest.importorskip("plotly")
Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished.path, tmp_path / "copied")
    return Run(tmp_path / "copied")


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
    with pytest.raises(UsageError, match=r"pip install 'saesweep\[report\]'"):
        write_report([copied])


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


def test_a_run_is_taken_once(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(finished.path)
    with pytest.raises(UsageError, match="link: is the same run as"):
        write_report([finished, Run(tmp_path / "link")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
