"""What is said of a trained SAE: an autoencoder made by hand, and the numbers again in numpy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from saesweep import sae_report
from saesweep.config import SweepConfig
from saesweep.config_file import parse_config
from saesweep.data.synthetic import SyntheticSource
from saesweep.dictionaries.sae import SAE
from saesweep.errors import RunError
from saesweep.files import read_arrays, write_tensors
from saesweep.run_folder import Run
from saesweep.sae_report import Firing, firing, near, report
from saesweep.sweep import run_sweep

CELL = "l1=0.01_dict=16"
VARIANTS = """
data: {activation_dim: 3, n_features: 4, mean_active: 1}
grid:
  model.variant: [relu, topk, batchtopk, jumprelu, gated, matryoshka, variational]
  l1: [0.1]
  k: [2]
  l0_coefficient: [0.1]
  prior_rate: [0.1]
  dict_size: [8]
train: {epochs: 5, batch_size: 128}
eval: {n_samples: 500}
"""


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """The finished run, to be damaged."""
    shutil.copytree(finished.path, tmp_path / "copied")
    return Run(tmp_path / "copied")


def by_hand(run: Run) -> SAE:
    """Eight latents: the four features, and one dead, one always on, one twice, one reversed.

    The features' own latents fire where x lies along them.
    """
    features = run.features()
    others = torch.stack([features[1], features[2], features[0], -features[1]])
    atoms = torch.cat([features, others])
    b_enc = torch.zeros(8)
    b_enc[4], b_enc[5] = -100, 100
    return SAE(W_enc=atoms.T.clone(), b_enc=b_enc, W_dec=atoms, b_dec=torch.zeros(3))


def test_an_sae_made_by_hand_is_what_it_was_made_to_be(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = by_hand(finished)
    monkeypatch.setattr(Run, "sae", lambda self, cell: made)
    found = report(finished, "l1=0.1_dict=8", top=8)
    assert (found.firing.dead, found.firing.always) == (1, 1)
    assert sum(one.latents for one in found.firing.decades) == 6
    first = found.most_used[0]
    assert (first.latent, first.frequency, first.feature) == (5, 1, 2)
    assert first.mean_active == pytest.approx(100, rel=0.02)
    uses = {use.latent: use for use in found.most_used}
    assert sorted(uses) == [0, 1, 2, 3, 5, 6, 7]  # latent 4 is dead
    assert found.least_used == []  # seven fire, and eight were asked for
    assert uses[7].feature == 1
    assert uses[7].cosine == pytest.approx(-1)
    # No sample has a projection of just 0 onto feature 1, so it or its opposite fires.
    assert uses[1].frequency + uses[7].frequency == pytest.approx(1)
    assert uses[0].frequency == uses[6].frequency
    assert [one.cosine for one in found.best_recovered] == pytest.approx([1] * 4)
    # The dead latent and the one always on are features 1 and 2 again.
    assert found.near.duplicates == 3
    assert [found.alignment_mean, found.alignment_min] == pytest.approx([1, 1])
    assert vars(found.norms["atoms"]) == pytest.approx({"min": 1, "median": 1, "max": 1})
    assert vars(found.values["b_enc"]) == {"min": -100, "median": 0, "max": 100}
    assert "b_dec" not in found.values


def test_numbers_are_those_of_numpy(finished: Run) -> None:
    found = report(finished, CELL, top=3)
    config = finished.config
    x = SyntheticSource(config.data, config.seed).evaluation_set(1000).x.numpy()
    w = read_arrays(finished.folder(CELL).path / "sae.safetensors")
    latents = np.maximum(x @ w["W_enc"] + w["b_enc"], 0)
    frequency = (latents > 0).mean(axis=0)
    assert found.firing.dead == finished.folder(CELL).result()["metrics"]["dead_neurons"]
    alive = [j for j in np.argsort(-frequency, kind="stable") if frequency[j] > 0]
    assert [use.latent for use in found.most_used] == alive[:3]
    assert [use.latent for use in found.least_used] == alive[3:][::-1][:3]
    truth = finished.ground_truth()
    C = truth["features"] @ w["W_dec"].T
    for use in found.most_used + found.least_used:
        active = latents[:, use.latent]
        feature = np.abs(C[:, use.latent]).argmax()
        assert use.frequency == pytest.approx(frequency[use.latent])
        assert use.mean_active == pytest.approx(active[active > 0].mean(), rel=1e-5)
        assert use.feature == feature
        assert use.cosine == pytest.approx(C[feature, use.latent], abs=1e-6)
        assert use.probability == pytest.approx(truth["probabilities"][feature])
    best = np.argsort(-C.max(axis=1))
    assert [one.feature for one in found.best_recovered] == [*best[:3]]
    assert [one.feature for one in found.worst_recovered] == [best[3]]
    for one in found.best_recovered + found.worst_recovered:
        assert one.latent == C[one.feature].argmax()
        assert one.cosine == pytest.approx(C[one.feature].max(), abs=1e-6)
        assert one.frequency == pytest.approx(frequency[one.latent])
    norms = np.linalg.norm(w["W_enc"], axis=0)
    measured = found.norms["encoder_columns"]
    expected = [norms.min(), np.median(norms), norms.max()]
    assert [measured.min, measured.median, measured.max] == pytest.approx(expected)
    along = (w["W_enc"] * w["W_dec"].T).sum(axis=0) / norms
    assert found.alignment_mean == pytest.approx(along.mean(), abs=1e-6)
    assert found.alignment_min == pytest.approx(along.min(), abs=1e-6)


def test_nothing_depends_on_the_size_of_the_parts(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report(finished, CELL)
    monkeypatch.setattr(sae_report, "chunk_size", lambda *_: 7)
    monkeypatch.setattr(sae_report, "PART", 12)  # three atoms beside four features
    parts = report(finished, CELL)
    assert parts.firing == whole.firing
    assert parts.near.duplicates == whole.near.duplicates
    assert parts.near.nearest is not None
    assert whole.near.nearest is not None
    assert parts.near.nearest.latents == whole.near.nearest.latents
    for some, all_ in (
        (parts.most_used, whole.most_used),
        (parts.best_recovered, whole.best_recovered),
    ):
        assert len(some) > 0
        for one, other in zip(some, all_, strict=True):
            assert vars(one) == pytest.approx(vars(other), rel=1e-5)


def test_a_large_evaluation_set_is_cut(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sae_report, "MOST_SAMPLES", 256)
    found = report(finished, CELL)
    assert (found.firing.samples, found.eval_samples) == (256, 1000)


def test_frequencies_fall_into_decades() -> None:
    counts = torch.tensor([0, 0, 1, 9, 10, 99, 100, 999, 1000, 1000, 1000])
    found = firing(counts, 1000)
    assert found == Firing(1000, dead=2, always=3, decades=found.decades)
    assert [(one.low, one.high, one.latents) for one in found.decades] == [
        (0.001, 0.01, 2),
        (0.01, 0.1, 2),
        (0.1, 1.0, 2),
    ]


def test_a_latent_that_fires_once_is_in_the_lowest_decade() -> None:
    found = firing(torch.tensor([1]), 16_384)
    assert [one.latents for one in found.decades] == [1, 0, 0, 0, 0]
    assert found.decades[0].low == 1e-5


@pytest.mark.parametrize("part", [1 << 24, 5])
def test_near_atoms_are_those_of_all_pairs(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sae_report, "PART", part)
    monkeypatch.setattr(sae_report, "DUPLICATE", 0.5)
    atoms = torch.randn(17, 4, generator=torch.Generator().manual_seed(0))
    unit = (atoms / atoms.norm(dim=1, keepdim=True)).numpy()
    cosine = {(i, j): unit[i] @ unit[j] for i in range(17) for j in range(i + 1, 17)}
    found = near(atoms)
    assert found.duplicates == sum(value > 0.5 for value in cosine.values()) > 1
    assert found.nearest is not None
    assert found.nearest.latents == max(cosine, key=lambda pair: cosine[pair])
    assert found.nearest.cosine == pytest.approx(max(cosine.values()))


def test_one_atom_alone_is_near_to_none() -> None:
    found = near(torch.ones(1, 3))
    assert (found.nearest, found.duplicates) == (None, 0)


@pytest.mark.usefixtures("undrawn")
def test_every_variant_has_a_report(tmp_path: Path) -> None:
    run = run_sweep(Run.create(parse_config(VARIANTS), tmp_path)).run
    own = {"jumprelu": "log_threshold", "gated": "r_mag", "variational": "log_scale"}
    for cell in run.cells:
        found = report(run, cell.name)
        firing = found.firing
        assert firing.dead + firing.always + sum(one.latents for one in firing.decades) == 8
        assert found.variant == cell.variant
        assert found.firing.dead == found.metrics["dead_neurons"]
        tensors = read_arrays(run.folder(cell).path / "sae.safetensors")
        assert {one.name: tuple(one.shape) for one in found.tensors} == {
            name: array.shape for name, array in tensors.items()
        }
        assert {one.dtype for one in found.tensors} == {"float32"}
        assert own.get(cell.variant, "b_enc") in found.values
        assert np.isfinite(found.metrics["brier"]) == (cell.variant == "variational")
    assert len(run.cells) == 7


def test_without_the_truth_all_else_is_said(copied: Run, finished: Run) -> None:
    (copied.path / "data/ground_truth.safetensors").unlink()
    found, whole = report(copied, CELL), report(finished, CELL)
    assert f"`saesweep resume {copied.path}` makes it again" in found.no_truth
    assert found.best_recovered == found.worst_recovered == []
    assert found.firing == whole.firing
    assert [use.latent for use in found.most_used] == [use.latent for use in whole.most_used]
    assert {use.feature for use in found.most_used} == {None}
    assert whole.no_truth == ""


def test_other_features_than_the_run_had_are_refused(copied: Run) -> None:
    truth = {name: torch.from_numpy(array) for name, array in copied.ground_truth().items()}
    truth["features"] = truth["features"].flip(0)
    write_tensors(copied.path / "data/ground_truth.safetensors", truth)
    with pytest.raises(RunError, match="not those that its config draws now"):
        report(copied, CELL)


def _fail(run: Run) -> None:
    (run.folder(CELL).path / "result.json").unlink()
    run.fail(run.cell(CELL), "the loss is not finite")


def _damage(run: Run) -> None:
    (run.folder(CELL).path / "sae.safetensors").write_bytes(b"torn")


def _empty(run: Run) -> None:
    shutil.rmtree(run.folder(CELL).path)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_fail, "is failed: the loss is not finite; `saesweep resume .* --retry-failed` trains it"),
        (_damage, "is damaged; `saesweep resume .* --retry-failed` trains it"),
        (_empty, "is waiting; `saesweep resume [^ ]*` trains it"),
    ],
)
def test_a_cell_that_is_not_done_is_answered_in_a_line(
    copied: Run, spoil: Callable[[Run], None], expected: str
) -> None:
    spoil(copied)
    with pytest.raises(RunError, match=expected) as error:
        report(copied, CELL)
    assert "\n" not in str(error.value)


def test_a_cell_in_training_is_said_to_be(small: SweepConfig, tmp_path: Path) -> None:
    run = Run.create(small, tmp_path)
    with run.claim([run.cell(CELL)]), pytest.raises(RunError, match=r"is being trained; .*--watch"):
        report(run, CELL)
