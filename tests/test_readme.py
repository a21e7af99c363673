"""README.md says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saesweep.cli import app
from saesweep.config_file import load_config, parse_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_tree_names_every_file_of_the_source() -> None:
    tree = README[README.index("## The source") : README.index("## What does not work yet")]
    named = set(re.findall(r"[a-z_]+\.py", tree))
    files = {p.name for p in (ROOT / "saesweep").rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == files


def test_every_command_exists() -> None:
    commands = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if not command.hidden
    }
    used = {word for block in blocks("sh") for word in re.findall(r"saesweep ([a-z]+) ", block)}
    assert used - {"run"} <= commands
    assert commands <= set(re.findall(r"saesweep ([a-z]+)", README))


def test_the_config_that_is_explained_is_the_toy_config() -> None:
    explained = parse_config(blocks("yaml")[0], "README.md")
    assert explained == load_config(ROOT / "configs/toy.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_its_small_version_too(path: Path) -> None:
    load_config(path)
    smaller = re.search(r"^# Smaller: saesweep run \S+ (.*)$", path.read_text(), re.MULTILINE)
    assert smaller is not None
    changes = re.findall(r"--set (\S+)", smaller[1])
    assert changes
    load_config(path, changes)


def test_links_and_images_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
