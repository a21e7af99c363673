"""Why cells failed, and the ends of their logs: short, and each text once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from saesweep.cell_folder import CellFolder
from saesweep.files import Row, lies_within
from saesweep.run_folder import Run

MOST_LOG, LEAST_LOG = 4096, 512
"""Characters of a log that are kept, where few cells failed and where many did."""
ALL_LOGS = 2 << 20
"""Characters of all logs of a page, unless `LEAST_LOG` of each takes more."""
LOG_LINES = 40
MOST_REASON = 300
"""Characters of a reason that are kept."""
FAILED = ("failed", "damaged")
ELSEWHERE = "is, or leads to, a file outside the run, and is left out"


class Logs:
    """The logs of the cells that failed: equal ones are kept once."""

    def __init__(self, failed: int) -> None:
        self.most = max(LEAST_LOG, min(MOST_LOG, ALL_LOGS // max(1, failed)))
        self._places: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        """All of them, in the order of the places that `add` gave."""
        return [*self._places]

    def add(self, log: str) -> int:
        """The place of the end of ``log``."""
        end = "\n".join(log.splitlines()[-LOG_LINES:])[-self.most :]
        return self._places.setdefault(end, len(self._places))


def failure(run: Run, folder: CellFolder, logs: Logs) -> Row:
    """Why a cell failed, and the place of its log in ``logs``; None if it has none.

    What is not in the run is left out: a stranger's may lead to files that are not to be passed on.
    """
    outside = [path.name for path in folder.log_files() if not lies_within(path, run.path)]
    if outside:
        return {"reason": f"{' and '.join(outside)} {ELSEWHERE}", "log": None}
    reason = folder.error() or "its files are not those of its result"
    log = logs.add(folder.logs(4 * logs.most)) if folder.log_files() else None
    return {"reason": _shortened(reason), "log": log}


def _shortened(reason: str) -> str:
    return reason if len(reason) <= MOST_REASON else f"{reason[:MOST_REASON]}…"


def failed_together(pages: Iterable[Row], logs: Sequence[str], several: bool) -> list[Row]:
    """The cells that failed, those of one state, reason and log together.

    With the name of their run where there are ``several``.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for page in pages:
        for cell in page["cells"]:
            if "reason" in cell:
                name = f"{page['label']}: {cell['name']}" if several else cell["name"]
                key = cell["state"], cell["reason"], cell["log"]
                groups.setdefault(key, []).append(name)
    return [
        {
            "names": names,
            "state": state,
            "reason": reason,
            "log": logs[log] if log is not None else "",
        }
        for (state, reason, log), names in groups.items()
    ]
