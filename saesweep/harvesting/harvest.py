"""A harvest: run text through a model once, and write what passes at some of its sites."""

from __future__ import annotations

import contextlib
import hashlib
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saesweep import files
from saesweep.errors import RunError, StorageError, UsageError
from saesweep.harvesting import settings
from saesweep.harvesting.model import LanguageModel, load
from saesweep.harvesting.settings import HarvestConfig
from saesweep.harvesting.sites import Site, find
from saesweep.harvesting.text import Sequences, sequences
from saesweep.harvesting.writer import MANIFEST, SiteWriter, is_whole
from saesweep.signals import Wishes
from saesweep.version import __version__

Report = Callable[[int, int], None]
"""Hears of tokens done, of how many."""
CONFIG, LOCK = "harvest.yaml", ".lock"


@dataclass(frozen=True)
class Harvested:
    """What a harvest came to."""

    manifests: dict[str, dict[str, Any]]
    """By site."""
    tokens: int
    """That were run now; 0 where all was there already."""
    seconds: float
    """That they took."""


class _Enough(Exception):
    """All sites have been seen: the rest of the forward pass is not needed."""


class Tap:
    """Forward hooks that take the activations at ``sites``, and end the pass after the last."""

    def __init__(self, language_model: LanguageModel, sites: dict[str, Site]) -> None:
        self.language_model, self.sites = language_model, sites
        self._seen: dict[str, Tensor] = {}
        self._keep = torch.empty(0, dtype=torch.bool)

    def rows(self, ids: Tensor, keep: Tensor) -> dict[str, Tensor]:
        """By site, the activations [kept, d_in] in float32 at the positions ``keep`` of ``ids``.

        ``ids`` and ``keep`` are [sequences, context].
        """
        self._seen, self._keep = {}, keep.to(self.language_model.device)
        with contextlib.suppress(_Enough), self._hooks():
            self._pass(ids)
        return {name: self._seen[name] for name in self.sites}

    def try_out(self, ids: Tensor) -> None:
        """Run a whole pass on ``ids`` [sequences, context]; refuse sites that are not met once.

        A model may run a module for every layer, as ALBERT does: which of them is meant, no path
        says.
        """
        calls = Counter[str]()
        with contextlib.ExitStack() as hooks:
            for name, site in self.sites.items():
                count = partial(_count, calls, name)
                hooks.callback(site.module.register_forward_hook(count).remove)
            self._pass(ids)
        for name, site in self.sites.items():
            if not calls[name]:
                raise UsageError(f"{name}: the model does not run its module {site.path}")
            if calls[name] > 1:
                raise UsageError(
                    f"{name}: the model runs its module {site.path} {calls[name]} times in a pass; "
                    "take one that it runs once"
                )

    def _pass(self, ids: Tensor) -> None:
        ids = ids.to(self.language_model.device, torch.long)
        with torch.no_grad():
            self.language_model.model(input_ids=ids, attention_mask=torch.ones_like(ids))

    @contextlib.contextmanager
    def _hooks(self) -> Iterator[None]:
        handles = []
        for name, site in self.sites.items():
            if site.side == "input":
                hook = self._before(name)
                handles.append(site.module.register_forward_pre_hook(hook, with_kwargs=True))
            else:
                handles.append(site.module.register_forward_hook(self._after(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str) -> Callable[..., None]:
        return lambda module, given, named: self._take(name, (*given, *named.values()))

    def _after(self, name: str) -> Callable[..., None]:
        return lambda module, given, result: self._take(name, result)

    def _take(self, name: str, value: Any) -> None:
        # A module may give or take a tuple: what passes on is the first tensor.
        several = value if isinstance(value, tuple | list) else (value,)
        tensor = next((item for item in several if isinstance(item, Tensor)), None)
        if tensor is None or tensor.shape[:2] != self._keep.shape or tensor.dim() < 3:
            shape = "no tensor" if tensor is None else f"shape {list(tensor.shape)}"
            raise UsageError(f"{name}: {shape}; should be [sequences, context, d_in]")
        # Indexing copies: later modules may write over the original.
        self._seen[name] = tensor.flatten(2)[self._keep].float().cpu()
        if len(self._seen) == len(self.sites):
            raise _Enough


def _count(calls: Counter[str], name: str, *_: Any) -> None:
    calls[name] += 1


class Batches:
    """The forward passes of a harvest, in order; which rows each gives is known beforehand."""

    def __init__(self, text: Sequences, size: int) -> None:
        self.text, self.size = text, size
        self.firsts = [0]
        """The number of the first row of each batch, and of all rows."""
        self.digests: list[str] = []
        """The hash of all tokens up to the end of each batch."""
        digest = hashlib.sha256()
        for ids, kept in zip(text.ids.split(size), text.kept.split(size), strict=True):
            self.firsts.append(self.firsts[-1] + int(kept.sum()))
            digest.update(ids.numpy().tobytes())
            self.digests.append(digest.hexdigest())

    @property
    def rows(self) -> int:
        """Of all batches."""
        return self.firsts[-1]

    def missing(self, rows: int) -> range:
        """The batches to run where the first ``rows`` rows are there."""
        return range(bisect_right(self.firsts, rows) - 1, len(self.digests))

    def digest(self, rows: int) -> str:
        """The hash of the tokens up to the end of the batch that has row ``rows`` - 1."""
        return self.digests[bisect_left(self.firsts, rows) - 1]


def harvest(
    config: HarvestConfig, report: Report | None = None, note: Callable[[str], None] | None = None
) -> Harvested:
    """Harvest as ``config`` says, or go on where an earlier harvest was cut off.

    Whole shards stay as they are. The rest comes out to the last bit as it would have at once, on
    the same device with as many threads: it is run in the same batches. When asked to stop, raises
    ``KeyboardInterrupt`` between two batches.
    """
    out, wishes = Path(config.out), Wishes()
    with wishes.listen(), _held(out, config):
        if (manifests := _finished(config)) is not None:
            return Harvested(manifests, 0, 0)
        language_model = load(config.model, config.revision, config.dtype, config.device)
        _check_context(config, language_model)
        wishes.check()
        sites = {name: find(language_model.model, name) for name in config.sites}
        batches = Batches(sequences(config, language_model.tokenizer), config.batch_size)
        writers = {
            name: _writer(config, language_model, name, site, batches)
            for name, site in sites.items()
        }
        files.write_text(out / CONFIG, settings.dump(settings.located(config)))
        done = min(writer.rows for writer in writers.values())
        if done and note:
            note(f"{out}: {done:,} of {batches.rows:,} rows are there; the rest follows")
        began, tap = time.monotonic(), Tap(language_model, sites)
        tap.try_out(batches.text.ids[:1])
        tokens = _run(batches, tap, writers, wishes, report)
        return Harvested(_manifests(config), tokens, time.monotonic() - began)


def _run(
    batches: Batches,
    tap: Tap,
    writers: dict[str, SiteWriter],
    wishes: Wishes,
    report: Report | None,
) -> int:
    """Run the batches whose rows are not all on disk; how many tokens these have."""
    text, size = batches.text, batches.size
    missing = batches.missing(min(writer.rows for writer in writers.values()))
    total, done = text.ids[missing.start * size :].numel(), 0
    for number in missing:
        wishes.check()
        here = slice(number * size, (number + 1) * size)
        ids, kept = text.ids[here], text.kept[here]
        if kept.any():
            for name, rows in tap.rows(ids, kept).items():
                writers[name].add(rows, batches.firsts[number], batches.digests[number])
        done += ids.numel()
        if report:
            report(done, total)
    return total


def _writer(
    config: HarvestConfig, language_model: LanguageModel, name: str, site: Site, batches: Batches
) -> SiteWriter:
    facts = {
        "format": 1,
        "saesweep": __version__,
        "model": config.model,
        "model_sha256": language_model.sha256,
        "revision": language_model.revision,
        "site": name,
        "module": site.path,
        "side": site.side,
        "context": config.context,
        "dropped": config.drop.model_dump(),
    }
    dtype = getattr(torch, config.store_dtype)
    writer = SiteWriter(Path(config.out) / name, facts, batches.rows, config.shard_rows, dtype)
    if writer.known is not None:
        rows, digest = writer.known
        if not 0 < rows <= batches.rows or digest != batches.digest(rows):
            raise RunError(f"{writer.folder}: of another text: take another folder")
    return writer


@contextlib.contextmanager
def _held(out: Path, config: HarvestConfig) -> Iterator[None]:
    """Hold the folder ``out`` for this harvest alone; refused where it is something else's."""
    from filelock import FileLock, Timeout

    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: not a folder")
    if (out / CONFIG).exists():
        if changed := settings.differences(out / CONFIG, config):
            shown = "; ".join(changed)
            raise RunError(f"{out}: a harvest of another config: {shown}\ntake another folder")
    elif out.is_dir() and not all(_is_own(path) for path in out.iterdir()):
        raise RunError(f"{out}: not empty, and not a harvest: take another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{out}: another harvest is writing it; wait for it, or stop it") from None
    except OSError as error:
        raise StorageError(f"{out}: cannot be written: {error.strerror or error}") from None
    try:
        files.sweep_up(out)
        yield
    finally:
        lock.release()


def _is_own(path: Path) -> bool:
    """Whether a harvest left it that was killed before it wrote its config."""
    return path.name == LOCK or path.name.startswith(files.TEMPORARY)


def _check_context(config: HarvestConfig, language_model: LanguageModel) -> None:
    """Refuse more tokens than the model has positions: it would end in an error of indexing."""
    positions = getattr(language_model.model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and config.context > positions:
        raise UsageError(
            f"context: {config.context} tokens, and {config.model} has {positions} positions"
        )


def _finished(config: HarvestConfig) -> dict[str, dict[str, Any]] | None:
    """The manifests, where those of all sites are complete, and their shards are whole.

    To hash them takes as long as to read them; but this is how a damaged shard is made again.
    """
    folder = Path(config.out)
    if not all((folder / site / MANIFEST).exists() for site in config.sites):
        return None
    manifests = _manifests(config)
    for site, manifest in manifests.items():
        if manifest.get("complete") is not True:
            return None
        if not all(is_whole(folder / site, shard) for shard in manifest.get("shards") or [None]):
            return None
    return manifests


def _manifests(config: HarvestConfig) -> dict[str, dict[str, Any]]:
    folder = Path(config.out)
    return {site: files.read_json(folder / site / MANIFEST) for site in config.sites}
