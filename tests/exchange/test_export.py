from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saesweep import files
from saesweep.catalogue import METRICS
from saesweep.data.sources import open_shards
from saesweep.errors import RunError, StorageError, UsageError
from saesweep.exchange.bring import bring
from saesweep.exchange.export import export
from saesweep.exchange.formats import FORMATS, recognised
from saesweep.run_folder import Run

CELLS = {
    "relu": "variant=relu_l1=0.5_dict=16",
    "topk": "variant=topk_k=3_dict=16",
    "batchtopk": "variant=batchtopk_k=3_dict=16",
    "matryoshka": "variant=matryoshka_k=3_dict=16",
    "jumprelu": "variant=jumprelu_l0_coefficient=0.01_dict=16",
    "gated": "variant=gated_l1=0.5_dict=16",
}


def test_the_run_has_them(variants_run: Run) -> None:
    assert set(CELLS.values()) <= {cell.name for cell in variants_run.cells}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("variant", CELLS)
def test_exported_and_imported_it_has_the_same_metrics(
    variant: str, to: str, own_run: Run, tmp_path: Path
) -> None:
    name = CELLS[variant]
    (exported,) = export(own_run, [name], to, tmp_path / "out")
    row = bring(own_run, exported.folder)
    expected = next(row for row in own_run.metrics() if row["cell"] == name)
    assert row["cell"] == f"imported/{name}"
    compared = [
        key
        for key in METRICS
        if expected[key] == expected[key] and key not in ("mmcs_larger", "mmcs_next_larger")
    ]
    assert {"fvu", "l0", "gamma", "rescaled_loss", "coefficient_norm"} <= set(compared)
    for key in compared:
        assert row[key] == pytest.approx(expected[key], rel=2e-4, abs=1e-5), key


@pytest.mark.parametrize("variant", CELLS)
def test_it_takes_activations_as_they_are(variant: str, variants_run: Run, tmp_path: Path) -> None:
    """What the run says of normalised activations, an export says of those in the file."""
    name = CELLS[variant]
    (exported,) = export(variants_run, [name], "safetensors", tmp_path)
    sae, own = recognised(exported.folder).read(exported.folder).sae, variants_run.sae(name)
    normalization = variants_run.normalization()
    assert normalization is not None and normalization.mean.abs().max() > 10
    shards = open_shards(variants_run.config.data)  # type: ignore[arg-type]
    x = shards.copy(torch.arange(300), torch.empty(300, 6))
    expected = normalization.undo(own.decode(own.encode(normalization.apply(x))))
    torch.testing.assert_close(sae.decode(sae.encode(x)), expected, rtol=1e-4, atol=1e-3)


def test_what_is_there_stays_and_something_else_is_not_written_over(
    variants_run: Run, tmp_path: Path
) -> None:
    name = CELLS["relu"]
    (first,) = export(variants_run, [name], "saelens", tmp_path)
    before = first.folder.stat().st_ino
    (again,) = export(variants_run, [name], "saelens", tmp_path)
    assert (first.is_new, again.is_new, before) == (True, False, again.folder.stat().st_ino)
    config = json.loads((first.folder / "cfg.json").read_text())
    assert config["metadata"]["saesweep"]["cell"] == name
    (first.folder / "cfg.json").write_text("{}")
    with pytest.raises(RunError, match="holds something else; choose another --out, or --force"):
        export(variants_run, [name], "saelens", tmp_path)
    (forced,) = export(variants_run, [name], "saelens", tmp_path, force=True)
    assert json.loads((forced.folder / "cfg.json").read_text()) == config
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_all_that_are_done_or_those_that_match(own_run: Run, tmp_path: Path) -> None:
    (own_run.path / "cells" / CELLS["gated"] / "result.json").unlink()
    written = export(own_run, [], "saelens", tmp_path)
    assert CELLS["gated"] not in {one.cell for one in written}
    assert len(written) == len(own_run.cells) - 1
    assert len(export(own_run, ["*relu_*"], "saelens", tmp_path / "b")) == 3
    with pytest.raises(UsageError, match=r"gated_l1=0\.5_dict=16: interrupted; cells that"):
        export(own_run, ["*gated*"], "saelens", tmp_path / "c")
    with pytest.raises(RunError, match="no cell 'relu'"):
        export(own_run, ["relu"], "saelens", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_disk_that_refuses_leaves_nothing(
    variants_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        export(variants_run, [CELLS["relu"]], "saelens", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_was_there_stays_where_the_new_folder_cannot_take_its_place(
    variants_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there,) = export(variants_run, [CELLS["relu"]], "safetensors", tmp_path)
    (there.folder / "notes.txt").write_text("mine")
    rename, asked = Path.rename, []

    def refuses(self: Path, target: Path) -> Path:
        asked.append(target)
        if len(asked) == 2:  # the old folder is aside, and the new one not yet in its place
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(StorageError, match="Input/output error"):
        export(variants_run, [CELLS["relu"]], "saelens", tmp_path, force=True)
    assert (there.folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [there.folder.name]


def test_without_the_normalisation_nothing_is_handed_on(own_run: Run, tmp_path: Path) -> None:
    (exported,) = export(own_run, [CELLS["relu"]], "saelens", tmp_path / "out")
    (own_run.path / "data" / "normalization.safetensors").unlink()
    with pytest.raises(RunError, match=r"normalization\.safetensors is missing; `saesweep resume"):
        export(own_run, [CELLS["topk"]], "saelens", tmp_path / "out")
    with pytest.raises(RunError, match=r"normalization\.safetensors is missing"):
        bring(own_run, exported.folder)


# Import


def test_another_width_is_said(own_run: Run, tmp_path: Path) -> None:
    (exported,) = export(own_run, [CELLS["relu"]], "saelens", tmp_path)
    config = own_run.config.data.model_copy(update={"activation_dim": 8})
    own_run.config = own_run.config.model_copy(update={"data": config})
    with pytest.raises(RunError, match="takes activations of 6 dimensions, and those of"):
        bring(own_run, exported.folder)


def test_names_and_what_is_there(own_run: Run, tmp_path: Path) -> None:
    one, other = export(own_run, ["*relu_l1*"], "saelens", tmp_path)
    bring(own_run, one.folder, "theirs")
    bring(own_run, one.folder, "theirs")  # the same again
    with pytest.raises(RunError, match="is another autoencoder; choose another --name, or --force"):
        bring(own_run, other.folder, "theirs")
    bring(own_run, other.folder, "theirs", force=True)
    with pytest.raises(UsageError, match="--name a/b: should be up to 200 letters"):
        bring(own_run, one.folder, "a/b")
    bring(own_run, one.folder)
    names = [row["cell"] for row in own_run.imported()]
    assert names == ["imported/theirs", f"imported/{one.cell}"]
    written = (own_run.metrics_dir / "imported.csv").read_text().splitlines()
    header = (own_run.metrics_dir / "metrics.csv").read_text().splitlines()[0]
    assert (written[0], len(written)) == (header, 3)


def test_other_activations_are_said(own_run: Run, tmp_path: Path) -> None:
    (exported,) = export(own_run, [CELLS["relu"]], "saelens", tmp_path)
    path = exported.folder / "cfg.json"
    config = json.loads(path.read_text())
    config["metadata"] |= {"model_name": "gpt2", "hook_name": "blocks.7.hook_resid_pre"}
    path.write_text(json.dumps(config))
    facts = own_run.path / "data" / "activations.json"
    known = {**json.loads(facts.read_text()), "model": "gpt2", "site": "blocks.8.hook_resid_pre"}
    facts.write_text(json.dumps(known))
    notes: list[str] = []
    bring(own_run, exported.folder, note=notes.append)
    expected = "trained on site blocks.7.hook_resid_pre, and the run is on blocks.8.hook_resid_pre"
    assert notes == [expected]


def test_a_damaged_import_is_said_and_made_again(own_run: Run, tmp_path: Path) -> None:
    (exported,) = export(own_run, [CELLS["relu"]], "saelens", tmp_path)
    before = bring(own_run, exported.folder, "theirs")
    result = own_run.path / "imported" / "theirs" / "result.json"
    result.write_text("{}")
    with pytest.raises(RunError, match="damaged: it has no metrics"):
        own_run.imported()
    after = bring(own_run, exported.folder, "theirs")
    assert str(after) == str(before)


def test_of_synthetic_data_nothing_is_folded(finished: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(finished.path, tmp_path / "run"))
    (exported,) = export(run, ["l1=0.1_dict=16"], "saelens", tmp_path)
    row = bring(run, exported.folder)
    expected = next(row for row in run.metrics() if row["cell"] == exported.cell)
    for key in ("mmcs", "mcc", "f1", "n_learned", "fvu", "l0"):
        assert row[key] == pytest.approx(expected[key], rel=1e-6), key


def test_what_kills_left_is_put_right(variants_run: Run, tmp_path: Path) -> None:
    (there,) = export(variants_run, [CELLS["relu"]], "safetensors", tmp_path)
    name, before = there.folder.name, (there.folder / "cfg.json").read_bytes()
    there.folder.rename(tmp_path / f".old-{name}")  # killed between the two renames
    files.temporary_name(there.folder, 2**22 + 1).mkdir()  # no process has this number
    other = tmp_path / ".tmp-mine"
    other.mkdir()
    (again,) = export(variants_run, [CELLS["relu"]], "safetensors", tmp_path)
    assert (again.folder / "cfg.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {name, other.name}


def test_two_exports_at_once_both_end_well(variants_run: Run, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "saesweep", "export", str(variants_run.path), "--out"]
    both = [
        subprocess.Popen([*words, str(tmp_path / "out"), "--to", "safetensors"]) for _ in range(2)
    ]
    assert [one.wait() for one in both] == [0, 0]
    cells = {path.name for path in (tmp_path / "out").iterdir()}
    assert cells == {cell.name for cell in variants_run.cells}
