"""The documentation says what is true: its commands and code run, configs parse, the site builds.

Page by page, blocks are taken in their order, in an empty folder with a copy of ``configs/``:

- ``sh``: every line that begins with ``saesweep`` is run in this process; other lines are not. To
  ``saesweep run``, and to nothing else, `CHEAP` is appended: few epochs and samples, no figures,
  few baselines, and two penalties where the config is that of the toy data. What needs more than a
  test has says so at the end of its line, as ``# not run: needs a GPU``, with one of `REASONS`; or
  its block is ``text``. Such commands are parsed, and not run.
- ``python``: is run; the blocks of a page share their names.
- ``yaml``: one that is a whole config is parsed.
- a block with a ``title="FILE"`` is written to that file first; the entry points of a
  ``pyproject.toml`` are then those of an installed package.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml

import saesweep
from saesweep import model_config
from saesweep.catalogue import METRICS
from saesweep.cli import app
from saesweep.config import SweepConfig
from saesweep.config_file import load_config, parse_config

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("not a checkout: there is no docs/", allow_module_level=True)
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))

CHEAP = (
    *("train.epochs=20", "eval.n_samples=1024", "eval.baselines=[random,truth]"),
    "jobs.plot=false",
)
CHEAP_GRID = "grid.l1=[0.1,0.177827941]"
REASONS = {"needs a cluster", "needs a GPU", "needs a network", "needs a model", "takes hours"}
EXTRAS = {"saesweep report": "plotly", ".frame()": "pandas"}
"""What a page needs that is not always installed."""
SHELL = {"|", ">", "<", "&", "&&", ";", "||"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    language: str
    title: str
    body: str


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)[ ]*(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [
        Block(
            text[: match.start()].count("\n") + 1,
            match[1],
            title[1] if (title := re.search(r'title="([^"]+)"', match[2])) else "",
            match[3],
        )
        for match in found
    ]


def commands(block: Block) -> Iterator[tuple[list[str], str | None]]:
    """The words of each ``saesweep …`` in a block, and why it is not run."""
    for line in block.body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "saesweep" in words:
            assert words[0] == "saesweep", f"{line}: nothing may stand before saesweep"
            assert not SHELL & {*words}, f"{line}: one command a line"
            reason = re.search(r"#.*\bnot run: (.*)$", line)
            yield words[1:], reason[1].strip() if reason else None


def cheap(words: list[str]) -> list[str]:
    if words[0] != "run":
        return words
    changes = [*CHEAP, CHEAP_GRID] if "toy" in words[1] else [*CHEAP]
    return [*words, *(word for change in changes for word in ("--set", change))]


def run_command(words: list[str]) -> None:
    """Raises what the command line would tell as an error."""
    code = app(cheap(words), standalone_mode=False, prog_name="saesweep")
    assert not code, f"{shlex.join(['saesweep', *words])} ended with {code}"


def check_command(words: list[str]) -> None:
    """Raises where a command that is not run has an option that is not there, or no such config."""
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])
    missing = [w for w in words if w.startswith("configs/") and not (ROOT / w).exists()]
    assert missing == []


def install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package of a ``pyproject.toml`` be importable, with its entry points."""
    facts = tomllib.loads(project.read_text())["project"]
    name, folder = facts["name"], project.parent
    monkeypatch.syspath_prepend(folder.absolute())
    known = folder / f"{name}-{facts['version']}.dist-info"
    known.mkdir()
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {facts['version']}\n"
    (known / "METADATA").write_text(about)
    lines = []
    for group, points in facts["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {where}" for point, where in points.items())]
    (known / "entry_points.txt").write_text("\n".join(lines) + "\n")
    model_config.offered.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a page is tried out, on one core: threads of small products wait for each other."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    modules = {*sys.modules}
    yield tmp_path
    torch.set_num_threads(threads)
    for name in {*sys.modules} - modules:  # those that a page made
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    monkeypatch.undo()
    model_config.offered.cache_clear()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for words, module in EXTRAS.items():
        if words in "".join(block.body for block in blocks(page)):
            pytest.importorskip(module)
    assert text.count("\n```") == 2 * len(blocks(page)), "a fence that is not closed, or indented"
    assert not re.search(r"^ +saesweep ", text, re.MULTILINE), "a command outside of fences"
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        where = f"{page}, line {block.line}"
        print(where)  # pytest shows it with a failure
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
            if path.name == "pyproject.toml":
                install(path, monkeypatch)
        if block.language in ("sh", "text"):
            run_commands(block, where)
        elif block.language == "python":
            exec(compile("\n" * block.line + block.body, str(DOCS / page), "exec"), names)
        elif block.language == "yaml" and is_whole(block.body):
            parse_config(block.body, where)


def run_commands(block: Block, where: str) -> None:
    for command, reason in commands(block):
        if block.language == "sh" and reason is None:
            run_command(command)
        else:
            assert block.language == "text" or reason in REASONS, where
            check_command(command)


def is_whole(text: str) -> bool:
    return {"data", "grid"} <= {*yaml.safe_load(text)}


def test_most_commands_are_run() -> None:
    """Were the blocks not found, all the tests above would pass."""
    ran = [
        words
        for page in PAGES
        for block in blocks(page)
        if block.language == "sh"
        for words, reason in commands(block)
        if reason is None
    ]
    assert len(ran) > 40
    assert {"run", "resume", "status", "logs", "sae", "results", "compare"} <= {w[0] for w in ran}
    assert {"export", "import", "gif", "report"} <= {w[0] for w in ran}
    languages = [block.language for page in PAGES for block in blocks(page)]
    assert min(languages.count("python"), languages.count("yaml")) >= 4
    assert {*languages} <= {"sh", "text", "python", "yaml", "toml"}


def test_all_that_is_public_is_documented() -> None:
    named = re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)
    names = {one.rpartition(".")[2] for one in named}
    assert names == {*saesweep.__all__} - {"__version__"}
    for one in named:
        home, _, name = one.rpartition(".")
        assert getattr(import_module(home), name) is getattr(saesweep, name)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_images_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    here = (DOCS / page).parent
    assert [x for x in links if x and ":" not in x and not (here / x).exists()] == []


def test_the_config_of_the_tutorial_is_the_ready_one() -> None:
    (told,) = [block.body for block in blocks("tutorial.md") if block.title]
    assert parse_config(told) == load_config(ROOT / "configs/toy_long.yaml")


def test_the_files_of_a_run_are_described(small: SweepConfig, tmp_path: Path) -> None:
    finished = saesweep.run(small, out=tmp_path, changes=["jobs.plot=false"])
    text = (DOCS / "files.md").read_text(encoding="utf-8")
    cell = finished.folder(finished.cells[0])
    names = {
        *json.loads((finished.path / "provenance.json").read_text()),
        *(event["event"] for event in finished.events()),
        *finished.ground_truth(),
        *json.loads((finished.path / "jobs" / "sweep.json").read_text()),
        *(path.name for path in cell.path.iterdir()),
        *cell.history(),
        *cell.snapshots(),
        *finished.sae(finished.cells[0]).tensors(),
        *json.loads((cell.path / "result.json").read_text()),
        *json.loads((cell.path / "cell.json").read_text()),
    }
    for table in ("metrics", "prediction", "baselines"):
        head = (finished.metrics_dir / f"{table}.csv").read_text().partition("\n")[0]
        names |= {f"{table}.csv", *head.split(",")} - {*METRICS}
    matrices = {f"{key}.csv" for key in METRICS}
    names |= {path.name for path in finished.metrics_dir.iterdir()} - matrices
    described = {*re.findall(r"`([^`]+)`", text)}
    assert len(names) > 60
    assert {name for name in names if name not in described} == set()


def test_the_site_builds(tmp_path: Path) -> None:
    """As ``pip install mkdocs-material 'mkdocstrings[python]'`` lets one do; nothing may warn."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mkdocs = shutil.which("mkdocs", path=beside)
    if mkdocs is None:
        pytest.skip("mkdocs is not installed: pip install mkdocs-material 'mkdocstrings[python]'")
    built = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for page in PAGES:
        assert (tmp_path / "site" / page).with_suffix(".html").is_file()
    html = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    for name in ("saesweep.run", "saesweep.notebook.Run.heatmap", "saesweep.notebook.Run.metrics"):
        assert f'id="{name}"' in html
    fetched = r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//'
    pages = (tmp_path / "site").rglob("*.html")
    assert [p.name for p in pages if re.search(fetched, p.read_text(encoding="utf-8"))] == []
