"""The model's loss with other activations in the place of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

from saesweep.config import SweepConfig
from saesweep.config_file import changed, parse_config
from saesweep.data.activations import Normalization
from saesweep.errors import ConfigError, UsageError
from saesweep.files import read_rows
from saesweep.harvesting import settings
from saesweep.harvesting.harvest import harvest
from saesweep.harvesting.model import load
from saesweep.harvesting.recovered import Passage, losses, passage, recovered
from saesweep.harvesting.sites import Site, find
from saesweep.harvesting.splice import logits
from saesweep.reporting import Reporter
from saesweep.sweep import new_run, run_sweep

SITES = ("blocks.1.hook_resid_pre", "blocks.0.mlp.hook_post", "blocks.0.hook_mlp_out")


@pytest.fixture
def harvested(write_config: Callable[..., Path]) -> Path:
    """The folder of a site of a GPT-2 with random weights, harvested."""
    config = settings.load(write_config(sites=f"[{', '.join(SITES)}]"))
    harvest(config)
    return Path(config.out) / SITES[0]


def config_of(folder: Path, *changes: str) -> SweepConfig:
    text = f"""
data: {{source: activations, path: {folder}, activation_dim: 16, held_out: 0.5}}
grid: {{l1: [0.1, 1], dict_size: [24]}}
train: {{epochs: 4, batch_size: 64}}
eval: {{model_tokens: 128}}
jobs: {{plot: false}}
"""
    return changed(parse_config(text), list(changes))


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama"])
@pytest.mark.parametrize("site", SITES)
def test_the_activations_themselves_change_nothing(
    family: str, site: str, folder: Callable[[str], Path]
) -> None:
    model = load(str(folder(family)), device="cpu")
    ids = torch.randint(40, (3, 7))
    keep = torch.rand(3, 7) < 0.6
    place = find(model.model, site)
    clean = logits(model, ids, place, keep, None)
    torch.testing.assert_close(logits(model, ids, place, keep, lambda x: x), clean)
    seen: list[Tensor] = []

    def zeros(x: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    assert not torch.allclose(logits(model, ids, place, keep, zeros), clean)
    assert seen[0].shape[0] == int(keep.sum())


def test_what_comes_before_the_first_replaced_position_is_untouched(
    folder: Callable[[str], Path],
) -> None:
    model = load(str(folder("gpt2")), device="cpu")
    ids, keep = torch.randint(40, (2, 6)), torch.zeros(2, 6, dtype=torch.bool)
    keep[:, 3:] = True
    place = find(model.model, SITES[0])
    clean = logits(model, ids, place, keep, None)
    spliced = logits(model, ids, place, keep, torch.zeros_like)
    torch.testing.assert_close(spliced[:, :3], clean[:, :3])
    assert (spliced[:, 3:] - clean[:, 3:]).abs().amax(dim=-1).min() > 1e-4


def test_losses_against_the_model_run_by_hand(harvested: Path) -> None:
    text = passage(config_of(harvested).data, 128)
    other = torch.randn(16)
    clean, found = losses(text, {"other": other.expand_as})
    model = text.language_model.model
    block = model.transformer.h[1]

    def by_hand(ids: Tensor, keep: Tensor, splice: bool) -> Tensor:
        def before(module, given, named):  # type: ignore[no-untyped-def]
            hidden = torch.where(keep[..., None], other, given[0]) if splice else given[0]
            return (hidden, *given[1:]), named

        handle = block.register_forward_pre_hook(before, with_kwargs=True)
        try:
            return model(input_ids=ids.long()).logits.double().softmax(-1)
        finally:
            handle.remove()

    ce, spliced_ce, kl, count = 0.0, 0.0, 0.0, 0
    for ids, keep in zip(text.ids, text.keep, strict=True):
        p = by_hand(ids[None], keep[None], splice=False)[0]
        q = by_hand(ids[None], keep[None], splice=True)[0]
        for t in range(len(ids) - 1):
            if keep[t]:
                ce -= math.log(p[t, ids[t + 1]])
                spliced_ce -= math.log(q[t, ids[t + 1]])
                kl += float((p[t] * (p[t] / q[t]).log()).sum())
                count += 1
    assert text.tokens == count
    assert clean == pytest.approx(ce / count, rel=1e-4)
    assert found["other"][0] == pytest.approx(spliced_ce / count, rel=1e-4)
    assert found["other"][1] == pytest.approx(kl / count, rel=1e-3)


def test_the_ends_of_the_scale(harvested: Path) -> None:
    text = passage(config_of(harvested).data, 128)
    normalization = Normalization(torch.randn(16), 3.0)
    mean = text.mean
    ways = {
        "all": lambda x: x,
        "nothing": lambda x: normalization.apply(torch.zeros_like(x)),
        "mean": lambda x: normalization.apply(mean.expand_as(x)),
    }
    rows = {str(row["cell"]): row for row in recovered(text, normalization, ways)}
    for key in ("ce_recovered", "ce_recovered_mean", "kl_recovered", "kl_recovered_mean"):
        assert rows["all"][key] == pytest.approx(1, abs=1e-3)
    for key in ("ce_recovered", "kl_recovered"):
        assert rows["nothing"][key] == pytest.approx(0, abs=1e-3)
        assert rows["mean"][f"{key}_mean"] == pytest.approx(0, abs=1e-3)


def test_the_text_is_held_out(harvested: Path) -> None:
    from saesweep.data.shards import Shards
    from saesweep.data.sources import source_of

    config = config_of(harvested, "data.normalize=none")
    text = passage(config.data, 10**6)
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    losses(text, {"keep": keep})
    rows = torch.cat(seen)
    assert len(rows) == int(text.keep.sum()) > 100
    held = source_of(config).evaluation_set(10**6).x
    assert len(held) < Shards.open(harvested).rows
    nearest = torch.cdist(rows.double(), held.double()).amin(dim=1)
    assert nearest.max() < 1e-3


def test_a_sweep_measures_it_once(harvested: Path, tmp_path: Path) -> None:
    run = run_sweep(new_run(config_of(harvested), tmp_path / "outputs")).run
    path = run.metrics_dir / "recovered.csv"
    rows = read_rows(path)
    assert [row["cell"] for row in rows] == [cell.name for cell in run.cells]
    for row, table in zip(rows, run.metrics(), strict=True):
        assert table["ce_recovered"] == row["ce_recovered"]
        by_zero = (row["ce_zero"] - row["ce"]) / (row["ce_zero"] - row["ce_clean"])
        assert row["ce_recovered"] == pytest.approx(by_zero)
    assert (run.metrics_dir / "kl_recovered_mean.csv").exists()
    before = path.stat().st_mtime_ns
    run_sweep(run)
    assert path.stat().st_mtime_ns == before


def test_without_the_model_the_sweep_goes_on(harvested: Path, tmp_path: Path) -> None:
    class Notes(Reporter):
        said: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.said.append(text)

    (harvested.parent / "harvest.yaml").unlink()
    summary = run_sweep(new_run(config_of(harvested), tmp_path / "outputs"), Notes())
    assert summary.done
    assert any("no loss recovered: " in text for text in Notes.said)


def test_synthetic_data_have_no_model() -> None:
    text = """
data: {activation_dim: 3, n_features: 6, mean_active: 1}
grid: {l1: [0.1], dict_size: [8]}
eval: {model_tokens: 128}
"""
    with pytest.raises(ConfigError, match=r"eval.model_tokens: is for activations of a model"):
        parse_config(text)


def test_a_passage_needs_no_model_twice(harvested: Path) -> None:
    one, other = (passage(config_of(harvested).data, 64) for _ in range(2))
    assert isinstance(one, Passage)
    assert torch.equal(one.ids, other.ids)


def test_a_harvest_by_relative_paths_is_found_from_anywhere(
    write_config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harvest(settings.load(write_config(text="{files: texts}", sites=SITES[0])))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = passage(config_of(tmp_path / "out" / SITES[0]).data, 64)
    assert found.tokens > 0


def test_a_manifest_without_its_text_is_a_line(harvested: Path) -> None:
    path = harvested / "manifest.json"
    before = path.read_text()
    manifest = json.loads(before)
    del manifest["text_sha256"]
    path.write_text(json.dumps(manifest))
    try:
        with pytest.raises(UsageError, match=r"manifest\.json: damaged: .text_sha256. is None"):
            passage(config_of(harvested).data, 64)
    finally:
        path.write_text(before)


def test_a_module_that_is_given_its_input_by_name_is_spliced() -> None:
    class Inner(torch.nn.Module):
        def forward(self, number: int, *, x: Tensor) -> Tensor:
            return number * x

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
            given = input_ids.float()[..., None].expand(-1, -1, 4)
            return SimpleNamespace(logits=self.inner(2, x=given))

    model = Outer()
    language_model = SimpleNamespace(model=model, device=torch.device("cpu"))
    ids, keep = torch.tensor([[3, 5]]), torch.tensor([[False, True]])
    site = Site(model.inner, "inner", "input")
    found = logits(language_model, ids, site, keep, torch.zeros_like)  # type: ignore[arg-type]
    assert found[0, :, 0].tolist() == [6, 0]
