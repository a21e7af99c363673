"""Which classical methods there are, and what tables and figures call them. Light to import."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A way to make a dictionary."""

    key: str
    title: str
    sized: bool
    """Whether it makes as many atoms as it is asked for; others make min(n_features, d_in), and the
    truth n_features."""
    fitted: bool = True
    """Whether it looks at samples."""


METHODS = {
    method.key: method
    for method in (
        Method("random", "random", sized=True, fitted=False),
        Method("pca", "PCA", sized=False),
        Method("ica", "ICA (mixing)", sized=False),
        Method("ica_components", "ICA (components)", sized=False),
        Method("kmeans", "k-means", sized=True),
        Method("kmedoids", "k-medoids", sized=True),
        Method("nmf", "NMF", sized=True),
        Method("dictionary_learning", "dict. learning", sized=True),
        Method("truth", "truth", sized=False, fitted=False),
    )
}
"""Every method by its key, from the floor to the ceiling."""
