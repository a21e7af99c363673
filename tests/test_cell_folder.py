"""The records of one cell: what state it is in, and that no damage passes for done."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep.cell_folder import HASHED, CellFolder
from saesweep.config_file import parse_config
from saesweep.errors import RunError, StorageError
from saesweep.files import write_tensors
from saesweep.grid import expand
from saesweep.sealed import write_sealed
from saesweep.version import FORMAT

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=60)
CELL = expand(
    parse_config(
        "data: {activation_dim: 3, n_features: 2, mean_active: 1}\ngrid: {l1: 0.1, dict_ratio: 2}"
    )
)[0]
ROWS = [{"epoch": 0, "mmcs": 0.5, "loss": 1.0}, {"epoch": 10, "mmcs": 0.75, "loss": math.nan}]
METRICS = {"mmcs": 0.75, "mcc": math.nan, "dead_neurons": 2.0}


def cell_folder(parent: Path) -> CellFolder:
    return CellFolder(parent / CELL.name, CELL)


def finish(folder: CellFolder) -> CellFolder:
    """As training does it."""
    folder.begin("training on cpu")
    folder.write_history(ROWS)
    sae = {"W_enc": torch.rand(3, 4), "b_enc": torch.zeros(4), "W_dec": torch.rand(4, 3)}
    folder.finish(sae, {"epoch": torch.tensor([0, 10])}, METRICS, seconds=1.5, steps=10)
    return folder


@pytest.fixture
def done(tmp_path: Path) -> CellFolder:
    return finish(cell_folder(tmp_path))


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# States


def test_a_cell_waits_until_it_is_done(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    assert folder.state() == "waiting"  # there is no folder yet
    assert folder.error() == ""
    folder.begin("training")
    assert folder.state() == "waiting"
    folder.write_history(ROWS)
    assert folder.state() == "waiting"
    assert finish(folder).state() == "done"


def test_a_finished_cell_has_these_files(done: CellFolder) -> None:
    assert set(tree(done.path)) == {*HASHED, "log.txt", "result.json"}
    assert json.loads((done.path / "cell.json").read_text()) == CELL.describe()
    log = (done.path / "log.txt").read_text().splitlines()
    assert [re.sub(r"^\S+ \S+ ", "", line) for line in log] == ["training on cpu", "done"]


def test_what_was_recorded_is_read_back(done: CellFolder) -> None:
    result = done.result()
    assert {key: result["metrics"][key] for key in ("mmcs", "dead_neurons")} == {
        "mmcs": 0.75,
        "dead_neurons": 2.0,
    }
    assert math.isnan(result["metrics"]["mcc"])
    assert (result["seconds"], result["steps"], result["cell"]) == (1.5, 10, CELL.name)
    history = done.history()
    assert list(history) == ["epoch", "mmcs", "loss"]
    assert history["mmcs"].tolist() == [0.5, 0.75]
    assert math.isnan(history["loss"][1])
    assert done.snapshots()["epoch"].tolist() == [0, 10]
    assert done.progress() == (10, {"mmcs": 0.75, "fvu": pytest.approx(math.nan, nan_ok=True)})


def test_the_result_is_json_without_nan(done: CellFolder) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = (done.path / "result.json").read_text()
    assert json.loads(text, parse_constant=refuse)["metrics"]["mcc"] is None


@pytest.mark.parametrize("name", [*HASHED, "result.json"])
@pytest.mark.parametrize("damage", ["remove", "truncate", "empty", "flip", "append", "folder"])
def test_a_cell_with_any_file_damaged_is_not_done(name: str, damage: str, done: CellFolder) -> None:
    path = done.path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "remove":
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(
            {
                "truncate": content[:middle],
                "empty": b"",
                "flip": content[:middle] + flipped + content[middle + 1 :],
                "append": content + b"x",
            }[damage]
        )
    if name == "result.json" and damage == "remove":
        assert done.state() == "waiting"
    else:
        assert done.state() == "damaged"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "{",
        '{"metrics": {}}',
        '{"metrics": {}, "files": null}',
        '{"metrics": {}, "files": {}}',
        '{"metrics": {}, "files": 3}',
        json.dumps({"metrics": {}, "files": HASHED}),
        json.dumps({"metrics": {}, "files": dict.fromkeys(HASHED)}),
        json.dumps({"metrics": {}, "files": dict.fromkeys(HASHED, "0" * 64)}),
        '{"metrics": [], "files": {}}',
        '{"metrics": {"mmcs": "high"}}',
        '{"metrics": {"mmcs": [1]}}',
        '{"metrics": {"mmcs": 1' + "0" * 400 + "}}",
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_result_that_is_none_is_damage(text: str, done: CellFolder) -> None:
    (done.path / "result.json").write_text(text)
    assert done.state() == "damaged"


def test_other_hashes_than_those_of_the_files_are_damage(done: CellFolder) -> None:
    path = done.path / "result.json"
    result = json.loads(path.read_text())
    for changed in (
        {**result["files"], "sae.safetensors": "0" * 64},
        {**result["files"], "../../other": "0" * 64},
        {key: value for key, value in result["files"].items() if key != "sae.safetensors"},
    ):
        edited = {**result, "files": changed}
        del edited["sha256"]
        edited["sha256"] = hashlib.sha256(json.dumps(edited, indent=2).encode()).hexdigest()
        path.write_text(json.dumps(edited))
        assert done.state() == "damaged"
    path.write_text(json.dumps(result))
    assert done.state() == "done"


def test_an_edited_metric_is_damage(done: CellFolder) -> None:
    path = done.path / "result.json"
    text = path.read_text()
    path.write_text(text.replace('"mmcs": 0.75', '"mmcs": 0.99'))
    assert path.read_text() != text
    assert done.state() == "damaged"


@SOME
@given(first=st.integers(0, 2000), removed=st.integers(0, 9), put=st.binary(max_size=9))
def test_no_damage_to_a_result_passes_for_done_or_raises(
    first: int, removed: int, put: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = cell_folder(tmp_path_factory.getbasetemp() / "shared")
    if folder.state() != "done":
        finish(folder)
    path = folder.path / "result.json"
    whole = path.read_bytes()
    first %= len(whole)
    path.write_bytes(whole[:first] + put + whole[first + removed :])
    try:
        # What stays done says what it said: only spaces, or the spelling, can have changed.
        if folder.state() == "done":
            assert json.loads(path.read_bytes()) == json.loads(whole)
        else:
            assert folder.state() == "damaged"
    finally:
        path.write_bytes(whole)


# Failure


def test_a_failure_is_kept_with_its_reason(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    folder.begin("training")
    folder.fail("diverged: its loss is nan", "Traceback\n  line\n")
    assert folder.state() == "failed"
    assert folder.error() == "diverged: its loss is nan"
    assert (
        folder.path / "error.txt"
    ).read_text() == "diverged: its loss is nan\nTraceback\n  line\n"
    assert "failed: diverged" in (folder.path / "log.txt").read_text()


def test_a_done_cell_stays_done_beside_an_error(done: CellFolder) -> None:
    (done.path / "error.txt").write_text("old")
    assert done.state() == "done"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"why\n" * 3])
def test_the_reason_is_one_line_whatever_is_in_the_file(content: bytes, tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    folder.path.mkdir()
    (folder.path / "error.txt").write_bytes(content)
    assert folder.state() == "failed"
    assert "\n" not in folder.error()


@pytest.mark.parametrize("name", ["log.txt", "error.txt"])
def test_a_pipe_or_a_device_is_no_log(name: str, tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    folder.begin("training")
    folder.fail("why", "details")
    path = folder.path / name
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path.unlink()
        make(path)  # to read it would never end
        other = "training" if name == "error.txt" else "details"
        assert other in folder.logs()
        assert f"{path}: cannot be read: not a regular file" in folder.logs()
        reason = folder.error()
        assert "not a regular file" in reason if name == "error.txt" else reason == "why"
    assert folder.state() == "failed"


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    folder.begin("training")
    folder.fail("é" * 10**6, "x" * 10**6 + "end")
    assert folder.logs(7) == f"{'é' * 3}\n{'x' * 4}end"  # a line ends the log
    assert folder.logs() == (
        f"{(folder.path / 'log.txt').read_text().rstrip()}\n{'é' * 10**6}\n{'x' * 10**6}end"
    )
    assert set(folder.error()) == {"é"}
    assert len(folder.error()) < 10**4


# Beginning again


def test_beginning_again_moves_the_earlier_attempt_aside(done: CellFolder) -> None:
    before = tree(done.path)
    done.begin("again")
    assert done.state() == "waiting"
    (aside,) = (done.path / "earlier").iterdir()
    assert tree(aside) == before
    assert {path.name for path in done.path.iterdir()} == {"cell.json", "log.txt", "earlier"}


def test_no_attempt_is_ever_lost(tmp_path: Path) -> None:
    # All in one second and one process, which once made them share a folder.
    folder = cell_folder(tmp_path)
    for i in range(4):
        folder.begin(f"attempt {i}")
        folder.write_history([{"epoch": i}])
        folder.fail(f"reason {i}")
    folder.begin("last")
    kept = [path.read_text() for path in (folder.path / "earlier").rglob("error.txt")]
    assert sorted(kept) == [f"reason {i}\n" for i in range(4)]
    histories = [path.read_text() for path in (folder.path / "earlier").rglob("history.csv")]
    assert sorted(histories) == [f"epoch\n{i}\n" for i in range(4)]


def test_a_killed_attempt_moves_aside(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    folder.begin("first")
    folder.write_history(ROWS)
    folder.begin("second")
    (log,) = folder.path.glob("earlier/*/log.txt")
    assert "first" in log.read_text()
    assert len(list(folder.path.glob("earlier/*/history.csv"))) == 1
    nan = pytest.approx(math.nan, nan_ok=True)
    assert folder.progress() == (0, {"mmcs": nan, "fvu": nan})


def test_the_mark_of_done_is_moved_first(done: CellFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, moved = Path.rename, []

    def stop(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if len(moved) == 2:
            raise KeyboardInterrupt  # killed between two moves
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        done.begin("again")
    assert moved[0] == "result.json"
    assert done.state() == "waiting"


@pytest.mark.parametrize("method", ["mkdir", "rename"])
def test_a_disk_that_refuses_to_move_is_said(
    method: str, done: CellFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, method, full)
    with pytest.raises(StorageError, match=r"cannot be moved aside: No space left on device$"):
        done.begin("again")
    monkeypatch.undo()
    assert done.state() == "done"


def test_a_cell_is_not_done_when_the_disk_fills_up_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(old: Path, new: Path) -> None:
        if new.name == "result.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(old, new)

    monkeypatch.setattr(os, "replace", full)
    folder = cell_folder(tmp_path)
    with pytest.raises(StorageError, match=r"result\.json: cannot be written: No space left"):
        finish(folder)
    assert folder.state() == "waiting"


# Damaged records


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "epoch,mmcs\n",
        "epoch,mmcs\n0,x\n",
        "epoch,mmcs\n0\n",
        'epoch\n"0\n',
        "\0",
        "epoch\n\n0",
    ],
)
def test_a_history_that_is_none_is_said(text: str, done: CellFolder) -> None:
    (done.path / "history.csv").write_text(text)
    if text == "epoch\n\n0":  # a blank line is no damage
        assert done.history()["epoch"].tolist() == [0.0]
        return
    with pytest.raises(RunError, match=r"history\.csv: (damaged|cannot be read): ."):
        done.history()
    epoch, latest = done.progress(7)
    assert epoch == 7
    assert all(map(math.isnan, latest.values()))


@pytest.mark.parametrize("row", ["inf,1", "nan,1", "1e999,1"])
def test_progress_needs_an_epoch_that_is_a_number(row: str, done: CellFolder) -> None:
    (done.path / "history.csv").write_text(f"epoch,mmcs\n{row}\n")
    assert done.progress(7)[0] == 7


def test_a_history_without_epochs_is_said(done: CellFolder) -> None:
    (done.path / "history.csv").write_text("era,mmcs\n0,0.5\n")
    with pytest.raises(RunError, match=r"history\.csv: damaged: it has no epochs$"):
        done.history()


SNAPSHOTS = {
    "epoch": torch.tensor([0, 10]),
    "step": torch.tensor([0, 10]),
    "best_cosine": torch.rand(2, 3),
    "best_atom": torch.zeros(2, 3, dtype=torch.int32),
    "dead": torch.zeros(2, 4, dtype=torch.bool),  # the cell has four latents
    "atoms": torch.rand(2, 4, 3),
    "cosines": torch.rand(2, 3, 3).half(),
    "density": torch.rand(4),
    "of_a_later_version": torch.rand(7),
}


def with_snapshots(folder: CellFolder, **changes: torch.Tensor | None) -> CellFolder:
    """``folder`` with `SNAPSHOTS`, some of them others, or (None) not there."""
    found = {name: array for name, array in (SNAPSHOTS | changes).items() if array is not None}
    write_tensors(folder.path / "snapshots.safetensors", found)
    return folder


@pytest.mark.parametrize("without", [(), ("density",), ("atoms",), ("cosines", "density"), None])
def test_snapshots_may_be_of_other_versions(
    without: tuple[str, ...] | None, done: CellFolder
) -> None:
    left_out = without if without is not None else [*SNAPSHOTS][1:]  # all but the epochs
    found = with_snapshots(done, **dict.fromkeys(left_out)).snapshots()
    assert set(found) == {*SNAPSHOTS} - {*left_out}


@pytest.mark.parametrize("changed", [*SNAPSHOTS][:-1])
@pytest.mark.parametrize("how", ["flat", "long", "kind"])
def test_snapshots_of_a_wrong_shape_are_said(changed: str, how: str, done: CellFolder) -> None:
    whole = SNAPSHOTS[changed]
    damaged = {
        "flat": whole.flatten() if whole.ndim > 1 else whole[None],
        "long": torch.cat([whole, whole[:1]]),
        "kind": whole.bool() if changed != "dead" else whole.float(),
    }
    with pytest.raises(RunError, match=r"snapshots\.safetensors: damaged: \w+ (is|has) .+$"):
        with_snapshots(done, **{changed: damaged[how]}).snapshots()


@pytest.mark.parametrize("missing", [*SNAPSHOTS][:5])
def test_snapshots_that_lack_one_of_what_goes_together_are_said(
    missing: str, done: CellFolder
) -> None:
    with pytest.raises(RunError, match=rf"damaged: it has no {missing}$"):
        with_snapshots(done, **{missing: None}).snapshots()


def test_snapshots_of_none_or_of_another_cell_are_said(done: CellFolder) -> None:
    none = {name: SNAPSHOTS[name][:0] for name in ("epoch", "step", "best_cosine", "best_atom")}
    dead = SNAPSHOTS["dead"]
    with pytest.raises(RunError, match=r"damaged: it has no snapshot$"):
        with_snapshots(
            done, **none, dead=dead[:0], **dict.fromkeys(("atoms", "cosines"))
        ).snapshots()
    with pytest.raises(RunError, match="damaged: dead has 5 and not 4 along dict_size"):
        with_snapshots(done, dead=torch.zeros(2, 5, dtype=torch.bool)).snapshots()
    with pytest.raises(RunError, match="damaged: best_atom has 2 and not 3 along n_features"):
        with_snapshots(done, best_atom=torch.zeros(2, 2, dtype=torch.int32)).snapshots()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    folder = cell_folder(tmp_path)
    for read in (folder.result, folder.history, folder.snapshots):
        with pytest.raises(RunError, match="cannot be read: No such file or directory"):
            read()


# Checkpoints of earlier versions


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [(None, "", 0), ("train", "lr", 0.5), ("model", "decoder_bias", True), ("model", "tied", True)],
)
def test_a_checkpoint_from_before_there_were_other_keys_is_of_the_same_cell(
    section: str | None, key: str, value: Any, tmp_path: Path
) -> None:
    folder = cell_folder(tmp_path)
    folder.begin("training")
    described = json.loads((folder.path / "cell.json").read_text())
    train = ("epochs", "steps_per_epoch", "batch_size", "lr", "loss")
    described["train"] = {key: described["train"][key] for key in train}
    described["model"] = {"variant": "relu", "decoder_bias": False}
    if section:
        described[section][key] = value
    facts = {"format": FORMAT, "cell": described, "step": 7, "seconds": 1.5}
    write_sealed(folder.path / "checkpoint.safetensors", {"b_enc": torch.ones(4)}, facts)
    if section:
        with pytest.raises(RunError, match="of a cell with other hyperparameters"):
            folder.read_checkpoint("checkpoint.safetensors")
    else:
        found = folder.read_checkpoint("checkpoint.safetensors")
        assert (found.step, found.seconds, list(found.arrays)) == (7, 1.5, ["b_enc"])
