"""What makes latents sparse, an axis of the grid: a penalty, a count, or the rate of a prior."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SparsityAxis:
    """An axis of the grid along which cells become more or less sparse."""

    key: str
    """In the config's `grid`, and in the names of cells."""
    column: str
    """In tables."""
    title: str
    """In figures, with its symbol."""
    short: str
    """The same where there is little room."""
    plural: str


AXES = {
    axis.key: axis
    for axis in (
        SparsityAxis("l1", "l1_penalty", "L1 penalty α", "L1", "L1 penalties"),
        SparsityAxis("k", "k", "k, active latents", "k", "values of k"),
        SparsityAxis("l0_coefficient", "l0_coefficient", "L0 penalty λ", "λ", "L0 penalties"),
        SparsityAxis("prior_rate", "prior_rate", "prior rate ρ", "ρ", "prior rates"),
    )
}
"""By key. A cell has a value on one of them: its variant says on which."""


def rounded(value: float) -> float:
    """A value on such an axis in ten digits: two runs may round the same one differently.

    >>> rounded(0.1 + 0.2) == rounded(0.3)
    True
    """
    return float(f"{value:.10g}")
