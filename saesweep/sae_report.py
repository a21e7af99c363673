"""What one trained SAE is: its norms, how often its latents fire, what its atoms are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from saesweep.cell_folder import UNFINISHED, CellFolder
from saesweep.data.batch import Source
from saesweep.data.sources import source_of
from saesweep.dictionaries.sae import SAE
from saesweep.errors import RunError, UsageError
from saesweep.grid import chunk_size
from saesweep.metrics.recovery import best_features, cosines
from saesweep.run_folder import Run

MOST_SAMPLES = 16_384
"""Latents are watched on so many samples of the evaluation set at most: enough for a look."""
DUPLICATE = 0.95
"""Two atoms with a cosine above this are said to be one atom twice."""
PART = 1 << 24
"""Cosines that are in memory at a time: 64 MiB."""


@dataclass(frozen=True)
class TensorKind:
    """A tensor of ``sae.safetensors``, without its values."""

    name: str
    shape: list[int]
    dtype: str


@dataclass(frozen=True)
class Range:
    """Where some values lie."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Tensor) -> Range:
        """Of all ``values`` of a tensor."""
        array = values.double().numpy()
        return cls(float(array.min()), float(np.median(array)), float(array.max()))


@dataclass(frozen=True)
class Bin:
    """How many latents fire in a share of samples from ``low`` on, but less than ``high``."""

    low: float
    high: float
    latents: int


@dataclass(frozen=True)
class AtomUse:
    """One latent, and the true feature that its atom is nearest to by |cosine|."""

    latent: int
    frequency: float
    """In what share of samples it fires"""
    mean_active: float
    """Its mean over the samples in which it fires"""
    feature: int | None
    """None, like what follows, where the truth is not known"""
    cosine: float | None
    """Signed"""
    probability: float | None
    """How often that feature fires, by the law of the data"""


@dataclass(frozen=True)
class Recovered:
    """One true feature, and the atom that is nearest to it by signed cosine, as for `mmcs`."""

    feature: int
    probability: float
    cosine: float
    latent: int
    frequency: float
    """In what share of samples that latent fires"""


@dataclass(frozen=True)
class Pair:
    """Two atoms."""

    latents: tuple[int, int]
    cosine: float


@dataclass(frozen=True)
class Near:
    """Atoms that are near to each other."""

    nearest: Pair | None
    """The two with the largest cosine; None where there is one atom alone"""
    duplicates: int
    """Pairs with a cosine above `DUPLICATE`"""


@dataclass(frozen=True)
class Firing:
    """How often each latent fires."""

    samples: int
    dead: int
    """Latents that never fire on these samples"""
    always: int
    """Latents that fire on every one"""
    decades: list[Bin]
    """All other latents, most rare first. The last ends at 1"""


@dataclass(frozen=True)
class SaeReport:
    """What `report` found. Its metrics are of the whole evaluation set, firing is of a part."""

    run: str
    cell: str
    state: str
    variant: str
    options: dict[str, Any]
    """The keys of `model` that the variant has"""
    axis: str
    """What makes it sparse: a key of `sparsity.AXES`"""
    sparsity: float
    dict_size: int
    seed: int
    loss: str
    epochs: int
    metrics: dict[str, float]
    eval_samples: int
    """On how many samples the metrics were measured"""
    tensors: list[TensorKind]
    norms: dict[str, Range]
    """Of ``encoder_columns`` and ``atoms``"""
    values: dict[str, Range]
    """Of each tensor that is no matrix"""
    alignment_mean: float
    """Cosine of an encoder column with its atom, over latents"""
    alignment_min: float
    firing: Firing
    most_used: list[AtomUse]
    least_used: list[AtomUse]
    """Of those that fire, most rare first, and none that is among the most used"""
    near: Near
    best_recovered: list[Recovered]
    worst_recovered: list[Recovered]
    """Worst first, and none that is among the best"""
    no_truth: str
    """Why nothing is said of true features; empty where it is"""


def report(run: Run, name: str, top: int = 10) -> SaeReport:
    """What the SAE of the cell ``name`` of ``run`` is; ``top`` is the length of each list.

    ``RunError`` where the cell is not done, or the config draws other features than the run had.
    """
    folder = _finished(run, name)
    cell, sae, config = folder.cell, run.sae(name), run.config
    source = source_of(config, normalization=run.normalization())
    truth, no_truth = _truth(run, source)
    x = source.evaluation_set(min(config.eval.n_samples, MOST_SAMPLES)).x
    fires, sums = _watched(sae, x)
    used = _order(fires.double())[: int((fires > 0).sum())]
    atoms = _Atoms(fires.double() / len(x), sums / fires, sae.W_dec, truth)
    most, least = _ends(used, top)
    best, worst = _ends(_order(atoms.recovery), top)
    alignment = cosine_similarity(sae.W_enc.T, sae.W_dec, dim=1)
    return SaeReport(
        run=str(run.path),
        cell=name,
        state="done",
        variant=cell.variant,
        options=cell.model.model_dump(),
        axis=cell.axis.key,
        sparsity=cell.sparsity,
        dict_size=cell.dict_size,
        seed=cell.seed,
        loss=cell.train.loss,
        epochs=cell.train.epochs,
        metrics=folder.result()["metrics"],
        eval_samples=folder.result().get("eval_samples", config.eval.n_samples),
        tensors=_tensors(sae),
        norms={"encoder_columns": _norms(sae.W_enc.T), "atoms": _norms(sae.W_dec)},
        values=_values(sae, cell.model.decoder_bias),
        alignment_mean=alignment.double().mean().item(),
        alignment_min=alignment.min().item(),
        firing=firing(fires, len(x)),
        most_used=[atoms.use(i) for i in most],
        least_used=[atoms.use(i) for i in least],
        near=near(sae.W_dec),
        best_recovered=[atoms.recovered(i) for i in best],
        worst_recovered=[atoms.recovered(i) for i in worst],
        no_truth=no_truth,
    )


def _finished(run: Run, name: str) -> CellFolder:
    """The folder of a cell that is done; ``RunError`` says how it would be."""
    folder, state = run.folder(name), run.state(name, run.running())
    if state == "done":
        return folder
    where = f"{run.path}: cell {name}"
    if state == "running":
        raise RunError(f"{where} is being trained; `saesweep status {run.path} --watch` follows it")
    why = f": {folder.error()}" if state == "failed" else ""
    retry = "" if state in UNFINISHED else " --retry-failed"
    raise RunError(f"{where} is {state}{why}; `saesweep resume {run.path}{retry}` trains it")


def _truth(run: Run, source: Source) -> tuple[tuple[Tensor, Tensor] | None, str]:
    """Features [n_features, d_in] and their probabilities [n_features]; or why there are none."""
    try:
        features, arrays = run.features(), run.ground_truth()
        probabilities = torch.from_numpy(arrays["probabilities"]).double()
    except (RunError, UsageError) as error:
        return None, str(error)
    except LookupError:
        return None, f"{run.path}: its ground truth is damaged: it has no probabilities"
    drawn = source.features
    if features.shape != drawn.shape or not torch.allclose(features, drawn, rtol=1e-4, atol=1e-6):
        raise RunError(
            f"{run.path}: its features are not those that its config draws now, so the evaluation "
            "set is another one: the config was edited, or another version made the run"
        )
    return (features, probabilities), ""


def _watched(sae: SAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """In how many samples of ``x`` each latent fires, and its sum: [dict_size] each."""
    size = len(sae.W_dec)
    fires, sums = torch.zeros(size, dtype=torch.int64), torch.zeros(size, dtype=torch.float64)
    for part in x.split(chunk_size(size, len(x), "cpu")):
        latents = sae.encode(part)
        fires += (latents != 0).sum(dim=0)
        sums += latents.sum(dim=0, dtype=torch.float64)
    return fires, sums


def firing(fires: Tensor, samples: int) -> Firing:
    """Sort latents by decade of frequency; ``fires`` [dict_size] counts out of ``samples``.

    >>> [bin.latents for bin in firing(torch.tensor([0, 1, 9, 10, 99, 100]), 100).decades]
    [2, 2]
    """
    frequency = (fires.double() / samples).numpy()
    edges = [1.0]
    while edges[0] * samples > 1:  # the least that can be seen is once
        edges.insert(0, float(f"1e-{len(edges)}"))
    counts = [
        int(((frequency >= low) & (frequency < high) & (frequency > 0)).sum())
        for low, high in pairwise(edges)
    ]
    return Firing(
        samples=samples,
        dead=int((fires == 0).sum()),
        always=int((fires == samples).sum()),
        decades=[Bin(*span, n) for span, n in zip(pairwise(edges), counts, strict=True)],
    )


def near(W_dec: Tensor) -> Near:
    """Which two atoms of ``W_dec`` [dict_size, d_in] are nearest, and how many pairs are one."""
    size = len(W_dec)
    nearest, duplicates = None, 0
    rows = max(1, PART // size)
    for start in range(0, size - 1, rows):
        C = cosines(W_dec[start : start + rows], W_dec[start:])
        above = torch.ones_like(C, dtype=torch.bool).triu(diagonal=1)  # each pair once
        C = C.where(above, -torch.inf)
        duplicates += int((C > DUPLICATE).sum())
        one, other = divmod(int(C.argmax()), C.shape[1])
        cosine = C[one, other].item()
        if nearest is None or cosine > nearest.cosine:
            nearest = Pair((start + one, start + other), cosine)
    return Near(nearest, duplicates)


class _Atoms:
    """Atoms beside true features, a part of their cosines at a time."""

    def __init__(
        self,
        frequency: Tensor,
        mean_active: Tensor,
        W_dec: Tensor,
        truth: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.frequency, self.mean_active = frequency.tolist(), mean_active.tolist()
        self.recovery, self.nearest = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        """[n_features] each feature's largest cosine with an atom, and that atom."""
        self.probabilities: list[float] = []
        self.feature: list[int] = []
        self.cosine: list[float] = []
        if truth is not None:
            self.probabilities = truth[1].tolist()
            self._match(truth[0], W_dec)

    def _match(self, features: Tensor, W_dec: Tensor) -> None:
        self.recovery = torch.full((len(features),), -torch.inf)
        self.nearest = torch.zeros(len(features), dtype=torch.int64)
        for start in range(0, len(W_dec), rows := max(1, PART // len(features))):
            C = cosines(features, W_dec[start : start + rows])
            best = best_features(C)
            self.feature += best.tolist()
            self.cosine += C.gather(0, best[None])[0].tolist()
            largest, place = C.max(dim=1)
            better = largest > self.recovery
            self.recovery = torch.where(better, largest, self.recovery)
            self.nearest = torch.where(better, place + start, self.nearest)

    def use(self, latent: int) -> AtomUse:
        """What is said of one latent."""
        own = (latent, self.frequency[latent], self.mean_active[latent])
        if not self.feature:
            return AtomUse(*own, None, None, None)
        feature = self.feature[latent]
        return AtomUse(*own, feature, self.cosine[latent], self.probabilities[feature])

    def recovered(self, feature: int) -> Recovered:
        """What is said of one feature."""
        latent = int(self.nearest[feature])
        return Recovered(
            feature,
            self.probabilities[feature],
            self.recovery[feature].item(),
            latent,
            self.frequency[latent],
        )


def _order(values: Tensor) -> list[int]:
    """The places of ``values``, largest first; among equals the first."""
    order: list[int] = values.argsort(descending=True, stable=True).tolist()
    return order


def _ends(places: Sequence[int], top: int) -> tuple[Sequence[int], Sequence[int]]:
    """The first ``top``, and the last of the others, last first.

    >>> _ends([5, 3, 4, 1], 3)
    ([5, 3, 4], [1])
    """
    return places[:top], places[top:][::-1][:top]


def _tensors(sae: SAE) -> list[TensorKind]:
    return [
        TensorKind(name, list(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in sae.tensors().items()
    ]


def _norms(rows: Tensor) -> Range:
    return Range.of(torch.linalg.vector_norm(rows, dim=1))


def _values(sae: SAE, decoder_bias: bool) -> dict[str, Range]:
    """Of biases, and of what the variant has beyond them; a b_dec of zeros is none."""
    vectors = {name: tensor for name, tensor in sae.tensors().items() if tensor.dim() < 2}
    if not decoder_bias:
        del vectors["b_dec"]
    return {name: Range.of(tensor) for name, tensor in vectors.items()}
