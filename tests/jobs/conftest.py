"""What is tested here are jobs: figures are drawn elsewhere."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _undrawn(undrawn: None) -> None:
    pass
