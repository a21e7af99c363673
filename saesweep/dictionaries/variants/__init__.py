"""The variants of the autoencoder, a file each, found by their names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from saesweep.dictionaries.variant import Variant
from saesweep.model_config import BUILT_IN, Options, offered


def variant_of(name: str, options: Options, sparsity: Sequence[float]) -> Variant:
    """The variant called ``name``, for cells with these values on its sparsity axis.

    >>> from saesweep.model_config import TopKOptions
    >>> type(variant_of("topk", TopKOptions(), [4])).__name__
    'TopK'
    """
    if name in BUILT_IN:
        kind = import_module(f"{__name__}.{name}").VARIANT
    else:
        kind = offered()[name].load()
    made: Variant = kind(options, sparsity)
    return made
