"""What one trained SAE is, as text for a terminal or a program. It fits into 60 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from saesweep.files import to_json
from saesweep.reporting import counted
from saesweep.sae_report import DUPLICATE, AtomUse, Bin, Range, Recovered, SaeReport
from saesweep.tables import number

SHOWN = (
    *("recon_loss", "mmcs"),
    *("fvu", "mcc"),
    *("l0", "n_learned"),
    *("true_l0", "uniqueness"),
    *("dead_neurons", "f1"),
    *("calibration_error", "brier"),
)
"""Metrics, two a line; those that the cell has none of are left out. JSON has all."""
WIDTH = 46
"""Of values that are text, beside their names."""
BAR = 28
"""The longest bar."""


def as_json(report: SaeReport) -> str:
    """All of ``report`` for a program."""
    return to_json(asdict(report))


def rendered(report: SaeReport) -> RenderableType:
    """``report`` for a person, section by section."""
    parts: list[RenderableType] = [_head(report)]
    for title, *content in _sections(report):
        parts += [Text(), Text(str(title), style="bold"), *content]
    return Group(*parts)


def _sections(report: SaeReport) -> Iterator[Sequence[RenderableType]]:
    samples = f"{report.firing.samples:,}"
    of = "" if report.firing.samples == report.eval_samples else f" of the {report.eval_samples:,}"
    yield f"metrics, on {report.eval_samples:,} samples", _metrics(report)
    tensors = [[one.name, str(one.shape), one.dtype] for one in report.tensors]
    yield "tensors", _table(["", "", ""], tensors)
    yield "norms and values", _ranges(report), _alignment(report)
    yield f"how often latents fire, on {samples}{of} samples", _histogram(report)
    most, least = report.most_used, report.least_used
    yield ("most used atoms" if least else "atoms by use"), _uses(most)
    if least:
        yield "least used atoms that fire", _uses(least)
    yield "atoms near to each other", _near(report)
    best, worst = report.best_recovered, report.worst_recovered
    if best:
        yield ("features recovered best" if worst else "features by recovery"), _recovered(best)
    if worst:
        yield "features recovered worst", _recovered(worst)
    if report.no_truth:
        yield "nothing is said of true features", Text(report.no_truth)


def _head(report: SaeReport) -> Table:
    options = [f"{key}={_plain(value)}" for key, value in report.options.items()]
    lines = {
        "cell": report.cell,
        "run": report.run,
        "state": f"{report.state}, {counted(report.epochs, 'epoch')}, loss: {report.loss}",
        "variant": report.variant,
        "options": textwrap.fill(", ".join(options), WIDTH, break_on_hyphens=False),
        "sparsity": f"{report.axis}={number(report.sparsity)}",
        "latents": f"{report.dict_size:,}, seed {report.seed}",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in lines.items():
        table.add_row(Text(name), Text(value, overflow="fold"))
    return table


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _metrics(report: SaeReport) -> Table:
    shown = [(key, number(report.metrics.get(key, float("nan")))) for key in SHOWN]
    words = [word for pair in shown if pair[1] != "n/a" for word in pair]
    table = Table.grid(padding=(0, 2))
    for column in range(4):
        table.add_column(justify="right" if column % 2 else "left")
    for start in range(0, len(words), 4):
        table.add_row(*words[start : start + 4])
    return table


def _ranges(report: SaeReport) -> Table:
    names = {"encoder_columns": "norm of encoder columns", "atoms": "norm of atoms"}
    ranges: list[tuple[str, Range]] = [
        *((names[key], norms) for key, norms in report.norms.items()),
        *report.values.items(),
    ]
    rows = [
        [name, *(number(value, 3) for value in (one.min, one.median, one.max))]
        for name, one in ranges
    ]
    return _table(["", "min", "median", "max"], rows)


def _alignment(report: SaeReport) -> Text:
    mean, least = number(report.alignment_mean, 3), number(report.alignment_min, 3)
    return Text(f"cosine of encoder column and atom: mean {mean}, min {least}")


def _histogram(report: SaeReport) -> Table:
    firing = report.firing
    rows = [("never (dead)", firing.dead)]
    rows += [(_decade(one), one.latents) for one in firing.decades]
    rows += [("always", firing.always)]
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("share of samples")
    table.add_column("latents", justify="right")
    table.add_column("")
    for name, count in rows:
        table.add_row(name, f"{count:,}", _Bar(count, max(count for _, count in rows)))
    return table


def _decade(one: Bin) -> str:
    return f"{one.low:g} to {one.high:g}"


class _Bar:
    """A bar as long as ``count`` is beside the ``longest``; any at all can be seen."""

    def __init__(self, count: int, longest: int) -> None:
        self.count, self.longest = count, longest

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, BAR)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        width = min(options.max_width, BAR)
        length = -(-self.count * width // self.longest)  # rounded up
        yield Text(("#" if options.ascii_only else "█") * length, style="cyan")


def _uses(uses: Sequence[AtomUse]) -> Table:
    heads = ["latent", "fires in", "mean value"]
    rows = [[str(u.latent), number(u.frequency, 3), number(u.mean_active, 3)] for u in uses]
    if uses and uses[0].feature is not None:
        heads += ["feature", "cosine", "its p"]
        for row, use in zip(rows, uses, strict=True):
            row += [str(use.feature), f"{use.cosine:+.3f}", number(use.probability, 3)]
    return _table(heads, rows) if uses else _table(["none: no latent fires"], [])


def _recovered(features: Sequence[Recovered]) -> Table:
    rows = [
        [
            str(one.feature),
            number(one.probability, 3),
            f"{one.cosine:+.3f}",
            str(one.latent),
            number(one.frequency, 3),
        ]
        for one in features
    ]
    return _table(["feature", "its p", "cosine", "latent", "fires in"], rows)


def _near(report: SaeReport) -> Text:
    pair, duplicates = report.near.nearest, report.near.duplicates
    if pair is None:
        return Text("none: there is one atom")
    one, other = pair.latents
    above = counted(duplicates, "pair")
    return Text(
        f"largest cosine {pair.cosine:+.3f}: latents {one} and {other}\n"
        f"{above} above {DUPLICATE:g} (duplicates)"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Without frames; all columns but the first are numbers."""
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="", show_header=any(heads)
    )
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
