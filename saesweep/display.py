"""What a running sweep looks like: a live grid in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from saesweep.catalogue import main_metric
from saesweep.grid import Cell, Job
from saesweep.reporting import Reporter, counted, duration

WIDE = 10_000
"""Columns of a terminal into which any table fits, to measure it."""

LINE_SECONDS = 5.0
"""How often plain lines report progress."""


class Clock:
    """How much of the work of all jobs is done, and how long the rest will take."""

    def __init__(self, jobs: list[Job]) -> None:
        self.started = time.monotonic()
        self.work = {cell.name: _work(cell) for job in jobs for cell in job.cells}
        self.epochs = {cell.name: cell.train.epochs for job in jobs for cell in job.cells}
        self.total = sum(self.work.values())
        self.shares: dict[str, float] = {}
        self.before: dict[str, float] = {}  # what checkpoints had already

    def update(self, name: str, epoch: int) -> None:
        """The cell ``name`` has trained ``epoch`` epochs."""
        if name in self.work:
            self.shares[name] = epoch / self.epochs[name]
            self.before.setdefault(name, self.shares[name])

    def finish(self, name: str) -> None:
        """Nothing more will be done for the cell ``name``."""
        if name in self.work:
            self.shares[name] = 1.0
            self.before.setdefault(name, 0.0)

    @property
    def share(self) -> float:
        """Done work over all work."""
        return self._done(self.shares) / self.total if self.total else 0.0

    def left(self) -> str:
        """``1m 05s left``, or nothing while that is not known."""
        before = self._done(self.before)
        done, todo = self._done(self.shares) - before, self.total - before
        if not 0.01 * todo <= done < todo:
            return ""
        seconds = (time.monotonic() - self.started) * (todo / done - 1)
        return f"{duration(seconds)} left"

    def _done(self, shares: Mapping[str, float]) -> float:
        return sum(self.work[name] * share for name, share in shares.items())


def _work(cell: Cell) -> float:
    """What a cell costs, in latents times samples."""
    train = cell.train
    return float(train.epochs * train.steps_per_epoch * train.batch_size * cell.dict_size)


class PlainDisplay(Reporter):
    """Lines for a pipe, a log or CI."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.clock = Clock([])
        self.printed = time.monotonic()

    def _line(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk, a closed pipe: training goes on
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def planned(self, cells: list[Cell], states: Mapping[str, str], jobs: list[Job]) -> None:
        self.clock = Clock(jobs)
        todo = sum(len(job.cells) for job in jobs)
        self._line(f"{counted(len(cells), 'cell')}, {todo} to train in {counted(len(jobs), 'job')}")

    def foreseen(self, text: str) -> None:
        self._line(text)

    def progress(self, epoch: int, rows: Mapping[str, Mapping[str, float]]) -> None:
        for name in rows:
            self.clock.update(name, epoch)
        if time.monotonic() - self.printed < LINE_SECONDS or not rows:
            return
        self.printed = time.monotonic()
        key = main_metric(next(iter(rows.values())))
        values = [row[key] for row in rows.values()]
        self._line(
            f"epoch {epoch}/{self.clock.epochs[next(iter(rows))]}  {self.clock.share:.0%}  "
            f"{key} {min(values):.3f} to {max(values):.3f}  {self.clock.left()}".rstrip()
        )

    def finished(self, cell: Cell, state: str, reason: str = "") -> None:
        self.clock.finish(cell.name)
        self._line(f"{cell.name}  {state}{': ' if reason else ''}{reason}")

    def note(self, text: str) -> None:
        self._line(text)


class LiveDisplay(Reporter):
    """The grid in a terminal, redrawn in place: each cell's main metric so far, or its end.

    Use it as a context manager.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.clock = Clock([])
        self.cells: list[Cell] = []
        self.shown: dict[str, Text] = {}
        self.last_note = "starting"
        self.metric = "mmcs"
        self.live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> LiveDisplay:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self.live.stop()

    def planned(self, cells: list[Cell], states: Mapping[str, str], jobs: list[Job]) -> None:
        self.clock = Clock(jobs)
        self.shown = {name: _mark(state) for name, state in states.items()}
        self.cells = cells

    def foreseen(self, text: str) -> None:
        self.live.console.print(text, markup=False, highlight=False)

    def progress(self, epoch: int, rows: Mapping[str, Mapping[str, float]]) -> None:
        for name, row in rows.items():
            self.clock.update(name, epoch)
            self.last_note = f"epoch {epoch}/{self.clock.epochs[name]}"
            self.metric = main_metric(row)
            self.shown[name] = Text(f"{row[self.metric]:.3f}", style="cyan")

    def finished(self, cell: Cell, state: str, reason: str = "") -> None:
        self.clock.finish(cell.name)
        value = self.shown[cell.name].plain if state == "done" else state
        self.shown[cell.name] = Text(value, style="bold green" if state == "done" else "red")
        if reason:
            self.live.console.print(f"{cell.name}: {reason}", markup=False, highlight=False)

    def note(self, text: str) -> None:
        self.last_note = text

    def _draw(self) -> RenderableType:
        bar = ProgressBar(total=1.0, completed=self.clock.share, width=30)
        line = Table.grid(padding=(0, 2))
        line.add_row(bar, f"{self.clock.share:.0%}", self.last_note, self.clock.left())
        return Group(self._grid(), line) if self.cells else line

    def _grid(self) -> RenderableType:
        """A table for each sparsity axis, with each cell's main metric so far."""
        axes = dict.fromkeys(cell.axis for cell in self.cells)
        tables = [self._of_axis([c for c in self.cells if c.axis == axis]) for axis in axes]
        wide = self.console.options.update(width=WIDE)
        width = max(Measurement.get(self.console, wide, table).minimum for table in tables)
        high = sum(table.row_count + 1 for table in tables)
        if width > self.console.width or high > self.console.height - 3:
            states = [text.plain for text in self.shown.values()]
            waiting = states.count("·")
            return Text(f"{len(states)} cells, {waiting} waiting (too many to show here)")
        return Group(*tables)

    def _of_axis(self, cells: list[Cell]) -> Table:
        """Rows: dictionary sizes (and other axes); columns: values on the axis of ``cells``."""
        lines: dict[str, dict[float, Text]] = {}
        for cell in cells:
            row = lines.setdefault(_row_name(cell), {})
            row[cell.sparsity] = self.shown[cell.name]
        values = list(dict.fromkeys(cell.sparsity for cell in cells))
        axis = cells[0].axis
        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        table.add_column(f"{self.metric} by {axis.short}", style="bold", no_wrap=True)
        for value in values:
            table.add_column(f"{value:.4g}", justify="right", min_width=7, no_wrap=True)
        for head, row in lines.items():
            table.add_row(head, *(row.get(value, Text("")) for value in values))
        return table


def _row_name(cell: Cell) -> str:
    """Its size, its variant, and its values on other axes: ``24 topk seed=1``."""
    others = (v if k == "model.variant" else f"{k}={v}" for k, v in cell.extra.items())
    return " ".join([str(cell.dict_size), *map(str, others)])


def _mark(state: str) -> Text:
    marks = {"done": Text("done", style="green"), "waiting": Text("·", style="dim")}
    return marks.get(state, Text(state, style="red"))
