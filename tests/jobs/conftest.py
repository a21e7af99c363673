"""What is tested here are jobs: figures, seconds of each sweep, are drawn elsewhere."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saesweep.sweep.draw_stills", lambda run, report: [])
