"""Text as sequences of tokens."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saesweep.errors import UsageError
from saesweep.harvesting.settings import DropConfig, HarvestConfig, TextConfig

PORTION = 64
"""Documents that are tokenized at a time; the tokenizer has threads of its own."""


@dataclass(frozen=True)
class Sequences:
    """All that a harvest runs."""

    ids: Tensor
    """[sequences, context], int32."""
    kept: Tensor
    """[sequences, context], bool: the positions that are written."""


def sequences(config: HarvestConfig, tokenizer: Any) -> Sequences:
    """The text of ``config`` in contexts: documents one after another, a separator after each.

    Around each context is what the tokenizer puts around a text: `[CLS]` and `[SEP]` in BERT, a
    beginning of text in Llama 2 and 3, nothing in GPT-2. What is left at the end and fills no
    context is left out, so there is no padding. All tokens are in memory, 4 bytes each, so that
    text that is too short is refused before the model runs. Raises ``UsageError``.
    """
    before, after = _frame(tokenizer)
    room = config.context - len(before) - len(after)
    if room < 1:
        raise UsageError(f"context: {config.context} has no room beside the special tokens")
    wanted = None if config.tokens is None else config.tokens // config.context
    stream = _tokens(config.text, tokenizer, None if wanted is None else wanted * room)
    count = len(stream) // room
    if not count or (wanted is not None and count < wanted):
        total = f"{len(stream):,} tokens" + (f", in {count:,} contexts" if count else "")
        needed = f"{config.tokens:,} tokens" if wanted else "one context"
        raise UsageError(f"text: too short: {total} of {config.context}; {needed} should be had")
    count = min(count, wanted or count)
    ids = np.empty((count, config.context), dtype=np.int32)
    ids[:, : len(before)] = before
    ids[:, len(before) : len(before) + room] = stream[: count * room].reshape(count, room)
    ids[:, len(before) + room :] = after
    tokens = torch.from_numpy(ids)
    return Sequences(tokens, _kept(tokens, config.drop, tokenizer))


def _kept(ids: Tensor, drop: DropConfig, tokenizer: Any) -> Tensor:
    kept = torch.ones_like(ids, dtype=torch.bool)
    kept[:, : drop.first] = False
    if drop.special:
        kept &= ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids, dtype=torch.int32))
    if not kept.any():
        raise UsageError("text: every position is dropped; see drop.first and drop.special")
    return kept


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False).input_ids
    framed = tokenizer("a").input_ids
    for start in range(len(framed) - len(plain) + 1):
        if framed[start : start + len(plain)] == plain:
            return framed[:start], framed[start + len(plain) :]
    return [], []


def _separator(tokenizer: Any) -> list[int]:
    """What stands between documents."""
    for name in ("eos_token_id", "sep_token_id", "bos_token_id"):
        if (number := getattr(tokenizer, name)) is not None:
            return [number]
    return []


def _tokens(text: TextConfig, tokenizer: Any, most: int | None) -> np.ndarray[Any, Any]:
    """The token ids of all documents in a row, and a separator after each; at most ``most``."""
    separator, parts, count = _separator(tokenizer), [np.empty(0, dtype=np.int32)], 0
    for portion in _portions(_documents(text)):
        for ids in tokenizer(portion, add_special_tokens=False, verbose=False).input_ids:
            parts.append(np.array(ids + separator, dtype=np.int32))
            count += len(parts[-1])
        if most is not None and count >= most:
            break
    return np.concatenate(parts)


def _portions(documents: Iterator[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    for document in documents:
        if not document.strip():
            continue
        portion.append(document)
        if len(portion) == PORTION:
            yield portion
            portion = []
    if portion:
        yield portion


def _documents(text: TextConfig) -> Iterator[str]:
    if text.files is None:
        yield from _of_dataset(text)
        return
    for name in text.files:
        if name == "-":
            yield _decoded(sys.stdin.buffer.read(), "standard input")
            continue
        path = Path(name).expanduser()
        found = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"{name}: a folder without .txt files")
        for file in found:
            try:
                yield _decoded(file.read_bytes(), str(file))
            except OSError as error:
                raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from None


def _decoded(raw: bytes, source: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not text in UTF-8") from None


def _of_dataset(text: TextConfig) -> Iterator[str]:
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError:
        raise UsageError("text.dataset: datasets is not installed: pip install datasets") from None
    what = f"dataset {text.dataset}"
    try:
        rows = datasets.load_dataset(text.dataset, text.subset, split=text.split, streaming=True)
        for row in rows:
            if not isinstance(row.get(text.column), str):
                raise UsageError(f"{what}: no text in {text.column}; its columns: {', '.join(row)}")
            yield row[text.column]
    except UsageError:
        raise
    except Exception as error:  # it raises errors of every kind, and as late as at any row
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise UsageError(f"{what}: cannot be loaded: {reason[:200]}") from None
