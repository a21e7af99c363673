"""Commands that draw, and those about data and configs alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saesweep import terminal
from saesweep.cli import completing
from saesweep.cli.options import ConfigPath, Format, Json, Overrides, Quiet, RunPath, RunPaths

if TYPE_CHECKING:
    from saesweep.baselines import Written


def plot(path: RunPath, quiet: Quiet = False, as_json: Json = False) -> None:
    """Draw the heatmaps, curves and data figures of RUN from what is on disk."""
    from saesweep.run_folder import Run

    opened = Run(path)
    from saesweep.figures.stills import draw_stills

    drawn = draw_stills(opened, report=None if quiet or as_json else print)
    terminal.print_paths(drawn, opened.figures_dir, quiet, as_json)


def gif(
    path: RunPath,
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CELL]...",
            help="Cells, or patterns as 'l1=0.1*'.",
            autocompletion=completing.cells,
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="gif, mp4 or webp.",
            autocompletion=completing.of("gif", "mp4", "webp"),
        ),
    ] = "gif",
    fps: Annotated[float, typer.Option(min=1, max=50, help="Frames a second.")] = 12,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw each CELL of RUN (all without names) as it learns, and the whole grid."""
    from saesweep.run_folder import Run

    terminal.one_of("--format", form, ("gif", "mp4", "webp"))
    opened = Run(path)
    chosen = opened.matching(cells) if cells else None
    from saesweep.figures.gifs import draw_gifs

    with terminal.progress_bar("frames", quiet or as_json) as progress:
        drawn = draw_gifs(
            opened, chosen, format=form, fps=fps, grid=chosen is None, progress=progress
        )
    terminal.print_paths(drawn, opened.gifs_dir, quiet, as_json)


def report(
    paths: RunPaths,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Else RUN/report.html; of several RUNs, beside them."),
    ] = None,
    inline: Annotated[
        bool, typer.Option("--inline", help="Put GIFs into the page; else it links to them.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write RUNs as one page for a browser: matrices, cells, trade-offs, provenance."""
    from saesweep.report.write import default_path, runs_of, write_report
    from saesweep.run_folder import Run

    runs = [Run(path) for path in paths]
    before = runs_of(out or default_path(runs))
    with terminal.progress_bar("cells", quiet or as_json) as progress:
        written = write_report(runs, out, inline=inline, progress=progress)
    if as_json:
        terminal.print_json({"files": [str(written)]})
    elif not quiet:
        others = before and before != runs_of(written)
        instead = f", in place of the report of {before}" if others else ""
        print(f"{written}: {written.stat().st_size / 1e6:.1f} MB{instead}")


def data(
    config: ConfigPath,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Folder; else outputs/NAME_data.")] = None,
    with_map: Annotated[
        bool, typer.Option("--map", help="Samples by t-SNE at several decays, too: 10 to 20 s.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw the data of CONFIG alone: vectors, samples, correlation, frequencies."""
    from saesweep.config_file import load_config

    loaded = load_config(config, overrides or [])
    folder = out or Path("outputs") / f"{loaded.name}_data"
    from saesweep.sweep import draw_data_of, draw_map_of

    drawn = draw_data_of(loaded, folder)
    if with_map:
        drawn.append(draw_map_of(loaded, folder))
    terminal.print_paths(drawn, folder, quiet, as_json)


def baselines(
    path: Annotated[Path, typer.Argument(metavar="RUN|CONFIG", help="Whose data to take.")],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="KEY",
            help="As pca; else all of them. Repeatable.",
            autocompletion=completing.methods,
        ),
    ] = None,
    samples: Annotated[
        list[int] | None,
        typer.Option(
            min=2,
            max=2**20,
            metavar="N",
            help="How many to fit on; else 1024, 4096 and 16384. Repeatable.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="How many fits of each.")] = 3,
    dict_sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--dict-size",
            min=1,
            max=2**20,
            metavar="N",
            help="How many atoms; else as many as features. Repeatable.",
        ),
    ] = None,
    overrides: Overrides = None,
    form: Format = "table",
    out: Annotated[
        Path | None, typer.Option(help="Folder, for a CONFIG; else outputs/NAME_baselines.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show what classical methods find in the data of RUN or CONFIG, and from how many samples.

    Methods: pca, ica, ica_components, kmeans, kmedoids, nmf, dictionary_learning, random, truth.
    """
    from saesweep.tables import FORMATS

    terminal.one_of("--format", form, FORMATS)
    from saesweep.baselines import plan_of, study_of, subject_at

    subject = subject_at(path, overrides or [], out)
    plan = plan_of(subject.config, methods or [], samples or [], seeds, dict_sizes or [])
    with (
        terminal.progress_bar("baselines", quiet or as_json) as progress,
        terminal.display(quiet or as_json or progress is not None) as reporter,
    ):
        written = study_of(subject, plan, reporter, progress)
    _print_study(written, form, quiet, as_json)


def _print_study(written: Written, form: str, quiet: bool, as_json: bool) -> None:
    from saesweep.baselines_text import rendered
    from saesweep.metrics.baseline_study import summary

    rows, files = summary(written.study.rows), [str(file) for file in written.files]
    if as_json:
        left_out = written.study.left_out
        terminal.print_json({"files": files, "rows": rows, "left_out": left_out})
    elif not quiet:
        for line in written.study.left_out:
            print(f"left out: {line}", file=sys.stderr)
        content = rendered(rows, form)
        if isinstance(content, str):
            print(content)
        else:
            terminal.console().print(content)
            terminal.print_paths(written.files, written.folder, quiet, as_json)


def schema() -> None:
    """Print the JSON schema of a config, for editors."""
    from saesweep.config_file import json_schema

    print(json_schema())
