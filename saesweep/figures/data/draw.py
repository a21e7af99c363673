"""Data figures: the features, samples of them, how they correlate and how often they fire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from saesweep.data_config import DataConfig, HierarchyConfig
from saesweep.figures.data.caption import describe
from saesweep.figures.data.codes import draw_codes, draw_norms
from saesweep.figures.data.correlation import draw_correlation
from saesweep.figures.data.frequency import draw_frequency
from saesweep.figures.data.geometry import draw_gaussians, draw_samples
from saesweep.figures.data.hierarchy import draw_hierarchy
from saesweep.figures.data.magnitudes import draw_magnitudes
from saesweep.figures.style import save

MATRICES = ("correlation", "loadings", "firing_correlation")


def draw_data(truth: dict[str, np.ndarray], data: DataConfig, folder: Path) -> list[Path]:
    """Draw the data figures of a ground truth (see `data.ground_truth`) into a folder.

    Returns the files: gaussians.png, samples.png, feature_frequency.png, correlation.png, and where
    there are such laws magnitudes.png and hierarchy.png.
    """
    return [save(figure, folder / f"{name}.png") for name, figure in figures_of_data(truth, data)]


def figures_of_data(truth: dict[str, np.ndarray], data: DataConfig) -> Iterator[tuple[str, Figure]]:
    """Each of them with the name of its file without ending, drawn when asked for."""
    caption = [describe(data)]
    features, codes, x = (truth[key] for key in ("features", "sample_codes", "sample_x"))
    gaussians = truth.get("gaussians")
    made_by = "normalisation"
    if data.directions == "pushed_apart":
        made_by += " and pushing apart"
    flat = features.shape[1] in (2, 3)
    if flat and gaussians is not None:
        yield "gaussians", draw_gaussians(features, gaussians, made_by, caption)
    else:
        norms = truth["norms"] if gaussians is None else np.linalg.norm(gaussians, axis=1)
        yield "gaussians", draw_norms(features, norms, made_by, caption)
    if flat and gaussians is not None:
        yield "samples", draw_samples(features, x, codes, caption)
    else:
        yield "samples", draw_codes(x, codes, caption)
    filled = [*caption, *_filled(data)]
    yield "feature_frequency", draw_frequency(truth["frequencies"], truth["probabilities"], filled)
    matrices = {key: truth[key] for key in MATRICES if key in truth}
    if matrices:
        yield "correlation", draw_correlation(**matrices, caption=caption)
    hierarchy = data.hierarchy
    if "measured_means" in truth:
        laws = (truth["magnitude_means"], truth["magnitude_stds"])
        yield (
            "magnitudes",
            draw_magnitudes(*laws, truth["measured_means"], [*filled, *_scaled(hierarchy)]),
        )
    if hierarchy is not None:
        p = truth["probabilities"]
        yield "hierarchy", draw_hierarchy(hierarchy, p, truth["frequencies"], filled)


def _filled(data: DataConfig) -> list[str]:
    if data.empty_samples == "keep":
        return []
    return ["The laws are before empty samples are filled, what is measured after."]


def _scaled(hierarchy: HierarchyConfig | None) -> list[str]:
    if hierarchy is None or not hierarchy.scale_by_parent:
        return []
    return ["The law of a child is that before its parent scales it."]
