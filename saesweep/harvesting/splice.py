"""A model run with something else in the place of the activations at one site."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from saesweep.harvesting.model import LanguageModel
from saesweep.harvesting.sites import Site

Replace = Callable[[Tensor], Tensor]
"""From activations [kept, d_in] in float32 to what is put in their place, alike."""


def logits(
    language_model: LanguageModel, ids: Tensor, site: Site, keep: Tensor, replace: Replace | None
) -> Tensor:
    """Logits [sequences, context, vocabulary] in float32 of ``ids`` [sequences, context].

    At the positions ``keep`` [sequences, context] the activations of ``site`` are replaced; at all
    others, and everywhere where ``replace`` is None, they are as they were.
    """
    ids = ids.to(language_model.device, torch.long)
    mask = torch.ones_like(ids)
    with torch.no_grad(), _replaced(site, keep.to(ids.device), replace):
        result: Tensor = language_model.model(input_ids=ids, attention_mask=mask).logits
        return result.float()


@contextlib.contextmanager
def _replaced(site: Site, keep: Tensor, replace: Replace | None) -> Iterator[None]:
    if replace is None:
        yield
        return

    def spliced(value: Tensor) -> Tensor:
        changed = value.clone()
        rows = value.flatten(2)[keep]
        changed.view(*value.shape[:2], -1)[keep] = replace(rows.float()).to(value.dtype)
        return changed

    def before(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if any(isinstance(value, Tensor) for value in given):
            return (_first(given, spliced), named)
        key = next(name for name, value in named.items() if isinstance(value, Tensor))
        return (given, {**named, key: spliced(named[key])})

    def after(module: Any, given: Any, result: Any) -> Any:
        return spliced(result) if isinstance(result, Tensor) else _first(result, spliced)

    if site.side == "input":
        handle = site.module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = site.module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _first(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``values`` with its first tensor changed: what a module passes on."""
    items = list(values)
    place = next(i for i, item in enumerate(items) if isinstance(item, Tensor))
    items[place] = change(items[place])
    return tuple(items)
