"""What a running sweep prints."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from rich.console import Console

from saesweep.config_file import parse_config
from saesweep.display import Clock, LiveDisplay, PlainDisplay, duration
from saesweep.grid import Cell, Job, expand, plan

DATA = "data: {activation_dim: 2, n_features: 4, mean_active: 1}\n"


def cells_and_jobs(grid: str) -> tuple[list[Cell], list[Job]]:
    config = parse_config(DATA + f"grid: {grid}\ntrain: {{epochs: 10}}\n")
    cells = expand(config)
    return cells, plan(config, cells, stack=1)


def rows_of(job: Job, mmcs: float) -> Mapping[str, Mapping[str, float]]:
    return {cell.name: {"mmcs": mmcs} for cell in job.cells}


def live(grid: str, width: int = 80) -> tuple[LiveDisplay, str]:
    """A display after the first cell is done and the second half way, and what it shows."""
    cells, jobs = cells_and_jobs(grid)
    console = Console(
        file=io.StringIO(), width=width, height=24, force_terminal=True, color_system=None
    )
    display = LiveDisplay(console)
    display.planned(cells, dict.fromkeys((cell.name for cell in cells), "waiting"), jobs)
    display.progress(10, rows_of(jobs[0], 0.91))
    display.finished(cells[0], "done")
    display.progress(5, rows_of(jobs[1], 0.5))
    with console.capture() as capture:
        console.print(display._draw())
    return display, capture.get()


def test_the_grid_shows_each_cell_and_the_progress() -> None:
    _, text = live("{l1: [0.1, 0.2], dict_size: [4, 8]}")
    lines = text.splitlines()
    assert lines[0].split() == ["mmcs", "by", "L1", "0.1", "0.2"]
    assert lines[1].split() == ["4", "0.910", "·"]
    assert lines[2].split() == ["8", "0.500", "·"]
    # Work goes by latents: 4 of 24 are done, and half of 8.
    assert "33%" in lines[3] and "epoch 5/10" in lines[3]


def test_each_sparsity_axis_has_a_table_of_its_own() -> None:
    _, text = live(
        "{model.variant: [relu, topk, batchtopk], l1: [1, 2], k: [1, 2, 4], dict_size: [4]}"
    )
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["mmcs", "by", "L1", "1", "2"]
    assert lines[1] == ["4", "relu", "0.910", "0.500"]
    assert lines[2] == ["mmcs", "by", "k", "1", "2", "4"]
    assert lines[3:5] == [["4", "topk", "·", "·", "·"], ["4", "batchtopk", "·", "·", "·"]]


def test_values_that_agree_in_four_digits_are_two_columns() -> None:
    _, text = live("{l1: [0.1, 0.1000001], dict_size: [4]}")
    assert text.splitlines()[1].split() == ["4", "0.910", "0.500"]


def test_a_failed_cell_says_so() -> None:
    display, _ = live("{l1: [0.1, 0.2], dict_size: [4, 8]}")
    display.finished(display.cells[1], "failed", "diverged")
    assert display.shown[display.cells[1].name].plain == "failed"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_grid_that_does_not_fit_is_counted(width: int) -> None:
    many = "{l1: {linspace: [0.1, 9, 40]}, dict_size: [4, 8]}"
    _, text = live(many, width)
    assert "80 cells, 78 waiting" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_plain_lines_have_no_control_characters() -> None:
    cells, jobs = cells_and_jobs("{l1: [0.1], dict_size: [4, 8]}")
    file = io.StringIO()
    display = PlainDisplay(Console(file=file, width=80))
    display.planned(cells, {}, jobs)
    display.printed -= 60  # as if the last line were a minute old
    display.progress(5, rows_of(jobs[0], 0.5))
    display.finished(cells[0], "failed", "[diverged]")
    lines = file.getvalue().splitlines()
    assert lines[0] == "2 cells, 2 to train in 2 jobs"
    assert lines[1].startswith("epoch 5/10  17%  mmcs 0.500 to 0.500")
    assert lines[2] == "l1=0.1_dict=4  failed: [diverged]"


def test_a_clock_counts_work_over_all_jobs() -> None:
    _, jobs = cells_and_jobs("{l1: [0.1], dict_size: [4, 12]}")
    small, large = (job.cells[0].name for job in jobs)
    clock = Clock(jobs)
    assert (clock.share, clock.left()) == (0, "")
    clock.update(large, 0)
    clock.update(small, 0)
    clock.update(small, 10)
    assert clock.share == pytest.approx(0.25)
    clock.update(large, 5)
    assert clock.share == pytest.approx(0.625)
    assert clock.left().endswith("left")
    clock.finish(large)
    assert (clock.share, clock.left()) == (1, "")


def test_what_a_checkpoint_had_already_does_not_speed_up_the_clock() -> None:
    _, jobs = cells_and_jobs("{l1: [0.1], dict_size: [4]}")
    (name,) = (job.cells[0].name for job in jobs)
    clock = Clock(jobs)
    clock.started -= 100
    clock.update(name, 6)  # resumed from epoch 6 of 10
    assert (clock.share, clock.left()) == (pytest.approx(0.6), "")
    clock.update(name, 8)
    assert clock.left() == "1m 40s left"  # two epochs took 100 seconds, and two are left


def test_durations_carry_over() -> None:
    assert [duration(s) for s in (0, 59.6, 3599.6)] == ["0s", "1m 00s", "1h 00m"]
