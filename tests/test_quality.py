"""The checks of the code itself: lint, format, types, and which module may import which."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as command; command()"
CODE = [
    path for path in ("saesweep", "tests", "benchmarks", "conftest.py") if (ROOT / path).exists()
]

CHECKS = {
    "ruff check": ("ruff", ["-m", "ruff", "check", *CODE]),
    "ruff format": ("ruff", ["-m", "ruff", "format", "--check", *CODE]),
    "mypy": ("mypy", ["-m", "mypy"]),
    "lint-imports": ("importlinter", ["-c", LINT_IMPORTS]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_code_passes(name: str) -> None:
    module, words = CHECKS[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install -e '.[dev]'")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a checkout: the settings of the checks are in pyproject.toml")
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{name}:\n{done.stdout}{done.stderr}"


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "saesweep" / "py.typed").is_file()
