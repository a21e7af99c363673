"""For the site: pages link to `../configs/`, as it is in the repository; the site has a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

CONFIGS = Path(__file__).parent.parent / "configs"


def on_files(files: Files, config: Any) -> Files:
    """Put the ready configs into the site."""
    for path in sorted(CONFIGS.rglob("*.yaml")):
        name = path.relative_to(CONFIGS.parent).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to configs lead to that copy."""
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"]({up}../configs/", f"]({up}configs/")
