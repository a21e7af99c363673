"""How much of a model's loss survives where reconstructions stand in for its activations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, nll_loss

from saesweep.activations_config import ActivationsConfig
from saesweep.data.activations import Normalization
from saesweep.data.order import Split
from saesweep.data.shards import MANIFEST, Shards
from saesweep.dictionaries.sae import SAE
from saesweep.errors import RunError, UsageError
from saesweep.files import Row, sha256, write_rows
from saesweep.harvesting import settings
from saesweep.harvesting.harvest import CONFIG, Batches
from saesweep.harvesting.model import LanguageModel, load
from saesweep.harvesting.sites import Site, find
from saesweep.harvesting.splice import Replace, logits
from saesweep.harvesting.text import sequences
from saesweep.reporting import Reporter
from saesweep.run_folder import Run
from saesweep.signals import Wishes

ZERO, MEAN = " zero", " mean"
"""What the ablations are called among the cells, whose names have no spaces."""
EVERY = 10.0
"""Seconds between two words of progress."""


@dataclass(frozen=True)
class Passage:
    """Text that no cell was trained on, and the model and site it goes through."""

    language_model: LanguageModel
    site: Site
    ids: Tensor
    """[sequences, context]"""
    keep: Tensor
    """[sequences, context] the positions whose activations are replaced"""
    mean: Tensor
    """[d_in] of the activations"""
    size: int
    """Sequences in a forward pass"""

    @property
    def tokens(self) -> int:
        """How many predictions the loss is a mean over."""
        return int(self.keep[:, :-1].sum())


def passage(data: ActivationsConfig, tokens: int, device: str = "cpu") -> Passage:
    """About ``tokens`` tokens of whole sequences that are held out, from all over the text.

    ``UsageError`` where the shards are no harvest, its model or text is not at hand or has changed,
    or the model predicts no next token.
    """
    folder = Path(data.path)
    manifest = Shards.open(folder).manifest
    path = folder.parent / CONFIG
    if manifest is None or not path.exists():
        raise UsageError(f"{folder}: not of a harvest, so its model is not known")
    config = settings.load(path)
    if "-" in (config.text.files or ()):
        raise UsageError(f"{path}: its text came from standard input, and is not at hand")
    known = _known(folder / MANIFEST, manifest)
    language_model = load(config.model, config.revision, config.dtype, device)
    if not language_model.is_causal:
        raise UsageError(f"{config.model}: predicts no next token, so it has no loss to recover")
    if language_model.sha256 != known.model_sha256:
        raise UsageError(f"{config.model}: not the weights that {folder} was harvested from")
    text = sequences(config, language_model.tokenizer)
    counts = text.kept.sum(dim=1)
    batches = Batches(text, config.batch_size)
    if batches.rows != known.rows or batches.digest(batches.rows) != known.text_sha256:
        raise UsageError(f"{path}: its text is not the one that {folder} was harvested from")
    chosen = _held_out(counts, Split(int(counts.sum()), data.held_out))
    if not len(chosen):
        raise UsageError(f"{folder}: no whole sequence is held out: raise data.held_out")
    if not text.kept[chosen][:, :-1].any():
        raise UsageError(f"{path}: keeps no position before the last, so no prediction follows it")
    wanted = max(1, tokens // config.context)
    spread = torch.linspace(0, len(chosen) - 1, min(wanted, len(chosen))).round().long()
    places = chosen[spread]
    mean = torch.tensor(known.mean, dtype=torch.float32)
    site = find(language_model.model, known.site)
    return Passage(
        language_model, site, text.ids[places], text.kept[places], mean, config.batch_size
    )


class _Known(BaseModel):
    """What a manifest has to say."""

    model_sha256: str
    text_sha256: str
    site: str
    rows: int
    mean: list[float]


def _known(path: Path, manifest: Mapping[str, Any]) -> _Known:
    try:
        return _Known.model_validate(manifest)
    except ValidationError as error:
        key = error.errors()[0]["loc"][0]
        raise UsageError(f"{path}: damaged: {key!r} is {manifest.get(str(key))!r:.60}") from None


def _held_out(counts: Tensor, split: Split) -> Tensor:
    """Which sequences have all of their ``counts`` [sequences] rows among those held out."""
    held = torch.zeros(int(counts.sum()), dtype=torch.bool)
    held[split.held(torch.arange(split.held_rows))] = True
    ends = counts.cumsum(0)
    before = torch.cat([torch.zeros(1, dtype=torch.long), held.long().cumsum(0)])
    within = before[ends] - before[ends - counts]
    return ((within == counts) & (counts > 0)).nonzero().flatten()


def losses(
    text: Passage,
    replacements: Mapping[str, Replace],
    check: Callable[[], None] = lambda: None,
) -> tuple[float, dict[str, tuple[float, float]]]:
    """The clean cross-entropy of the next token in nats; and by name, with each replacement at
    work, the cross-entropy and KL(clean ‖ spliced).

    Means over the predictions at those positions whose activations are replaced. ``check`` is
    called before each forward pass, and may raise.
    """
    model, site = text.language_model, text.site
    whole, sums = 0.0, {name: [0.0, 0.0] for name in replacements}
    for ids, keep in zip(text.ids.split(text.size), text.keep.split(text.size), strict=True):
        predicts = keep.clone()
        predicts[:, -1] = False
        following = ids.roll(-1, dims=1)[predicts].long()

        def run(replace: Replace | None, ids: Tensor = ids, keep: Tensor = keep) -> Tensor:
            check()
            spliced: Tensor = logits(model, ids, site, keep, replace)
            return log_softmax(spliced[predicts.to(spliced.device)], dim=-1)  # noqa: B023

        clean = run(None)
        whole += nll_loss(clean, following.to(clean.device), reduction="sum").item()
        for name, replace in replacements.items():
            spliced = run(replace)
            loss = nll_loss(spliced, following.to(spliced.device), reduction="sum")
            divergence = kl_div(spliced, clean, reduction="sum", log_target=True)
            sums[name][0] += loss.item()
            sums[name][1] += divergence.item()
    count = text.tokens
    return whole / count, {name: (ce / count, kl / count) for name, (ce, kl) in sums.items()}


def _share(part: float, whole: float) -> float:
    """``part`` of ``whole``; NaN where an ablation changes nothing: nothing is there to recover."""
    return part / whole if whole else math.nan


def recovered(
    text: Passage,
    normalization: Normalization,
    reconstructions: Mapping[str, Replace],
    check: Callable[[], None] = lambda: None,
) -> list[Row]:
    """For each of ``reconstructions`` by name what it recovers: a row each.

    They take and give normalised activations [rows, d_in].
    """

    def in_raw_units(reconstruct: Replace) -> Replace:
        return lambda x: normalization.undo(reconstruct(normalization.apply(x)))

    replacements: dict[str, Replace] = {
        ZERO: torch.zeros_like,
        MEAN: lambda x: text.mean.to(x).expand_as(x),
        **{name: in_raw_units(one) for name, one in reconstructions.items()},
    }
    clean, found = losses(text, replacements, check)
    (zero, kl_zero), (mean, kl_mean) = found.pop(ZERO), found.pop(MEAN)
    return [
        {
            "cell": name,
            "ce_recovered": _share(zero - ce, zero - clean),
            "ce_recovered_mean": _share(mean - ce, mean - clean),
            "kl_recovered": 1 - _share(kl, kl_zero),
            "kl_recovered_mean": 1 - _share(kl, kl_mean),
            "ce": ce,
            "kl": kl,
            "ce_clean": clean,
            "ce_zero": zero,
            "ce_mean": mean,
            "kl_zero": kl_zero,
            "kl_mean": kl_mean,
            "tokens": text.tokens,
        }
        for name, (ce, kl) in found.items()
    ]


def write_recovered(run: Run, reporter: Reporter, wishes: Wishes) -> None:
    """Write ``metrics/recovered.csv``: a row for each cell that is done.

    Those that are there stay, if they are of the same weights. Where the model or its text is not
    at hand the sweep goes on, and says so.
    """
    path = run.metrics_dir / "recovered.csv"
    weights = {
        cell.name: sha256(run.folder(cell).path / "sae.safetensors")
        for cell in run.cells
        if run.folder(cell).state() == "done"
    }
    known = {
        row["cell"]: row for row in _kept(run) if row["sae_sha256"] == weights.get(row["cell"])
    }
    missing = [name for name in weights if name not in known]
    data, normalization = run.config.data, run.normalization()
    if not missing or normalization is None or not isinstance(data, ActivationsConfig):
        return
    try:
        text = passage(data, run.config.eval.model_tokens)
    except UsageError as error:
        reporter.note(f"no loss recovered: {error}")
        return
    reconstructions = {name: reconstruction(run.sae(name)) for name in missing}
    passes = math.ceil(len(text.ids) / text.size) * (len(missing) + 3)  # clean, zero and mean
    check = _reporting(wishes.check, passes, reporter)
    for row in recovered(text, normalization, reconstructions, check):
        known[row["cell"]] = {**row, "sae_sha256": weights[row["cell"]]}
    rows = [known[name] for name in weights]
    write_rows(path, rows, list(rows[0]))


def _reporting(check: Callable[[], None], passes: int, reporter: Reporter) -> Callable[[], None]:
    """``check``, which every few seconds says how many of the forward passes it was called for."""
    done, last = 0, time.monotonic()

    def checked() -> None:
        nonlocal done, last
        check()
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            reporter.note(f"the model's loss: {done} of {passes} forward passes")
        done += 1

    return checked


def _kept(run: Run) -> list[Row]:
    try:
        rows = run.recovered()
    except RunError:
        return []
    return [row for row in rows if {"cell", "sae_sha256"} <= {*row}]


def reconstruction(sae: SAE) -> Replace:
    """What ``sae`` puts in the place of normalised activations."""
    return lambda x: sae.decode(sae.encode(x))
