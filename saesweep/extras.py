"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec


def is_installed(package: str) -> bool:
    """Whether ``package`` can be imported. A folder of that name, as wandb leaves one, is none.

    >>> is_installed("numpy"), is_installed("nothing_of_this_name")
    (True, False)
    """
    spec = find_spec(package)
    return spec is not None and spec.origin is not None
