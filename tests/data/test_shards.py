from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from saesweep.data.moments import moments
from saesweep.data.shards import Shards
from saesweep.errors import RunError
from saesweep.files import sha256

D = 6


def rows(count: int, d: int = D) -> Tensor:
    """Numbers that float16 and bfloat16 hold exactly."""
    draws: Tensor = torch.randint(-100, 100, (count, d), generator=torch.Generator().manual_seed(0))
    return draws.float()


def harvest(folder: Path, sizes: tuple[int, ...] = (5, 7), **changes: Any) -> Path:
    """A folder as `saesweep harvest` leaves it, with ``changes`` to its manifest."""
    folder.mkdir(exist_ok=True)
    x, shards = rows(sum(sizes)), []
    for i, part in enumerate(x.half().split(list(sizes))):
        file = folder / f"shard-{i:05d}.safetensors"
        save_file({"activations": part.contiguous()}, file)
        shards.append({"file": file.name, "rows": len(part), "sha256": sha256(file)})
    manifest = {
        "format": 1,
        "d_in": D,
        "dtype": "float16",
        "rows": len(x),
        "complete": True,
        "mean": x.double().mean(dim=0).tolist(),
        "mean_square": float(x.double().square().sum(dim=1).mean()),
        "shards": shards,
    }
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return folder


def everything(shards: Shards) -> Tensor:
    return shards.copy(torch.arange(shards.rows), torch.empty(shards.rows, shards.d_in))


def refused(path: Path) -> str:
    """The one or two lines with which ``path`` is refused."""
    with pytest.raises(RunError) as caught:
        Shards.open(path)
    message = str(caught.value)
    assert message.count("\n") <= 1 and message.startswith(str(path.parent))
    return message


WRITERS: dict[str, Callable[[Path, Tensor], object]] = {
    "npy": lambda path, x: np.save(path, x.numpy()),
    "safetensors": lambda path, x: save_file({"acts": x}, path),
    "pt": lambda path, x: torch.save(x, path),
}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_files_of_others_are_read(tmp_path: Path, ending: str, dtype: torch.dtype) -> None:
    if ending == "npy" and dtype == torch.bfloat16:
        pytest.skip("NumPy has no bfloat16")
    x = rows(24)
    WRITERS[ending](tmp_path / f"b.{ending}", x[8:].reshape(2, 8, D).to(dtype))
    WRITERS[ending](tmp_path / f"a.{ending}", x[:8].to(dtype))
    (tmp_path / "README.txt").write_text("notes")
    shards = Shards.open(tmp_path)
    assert (shards.rows, shards.d_in, shards.manifest) == (24, D, None)
    assert torch.equal(everything(shards), x)
    assert Shards.open(tmp_path / f"a.{ending}").rows == 8


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_of_several_tensors_the_one_called_activations_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    save = save_file if ending == "safetensors" else torch.save
    save({"activations": rows(3), "tokens": torch.arange(3)}, path)
    assert torch.equal(everything(Shards.open(tmp_path)), rows(3))
    save({"acts": rows(3), "tokens": torch.arange(3)}, path)
    assert "2 tensors (acts, tokens)" in refused(path)


def test_any_rows_are_copied_across_the_ends_of_shards(tmp_path: Path) -> None:
    shards = Shards.open(harvest(tmp_path, (5, 7, 1, 20)))
    for chosen in ([4, 5], [0, 11, 12, 13, 32], [12], list(range(3, 30)), []):
        index = torch.tensor(chosen, dtype=torch.long)
        assert torch.equal(shards.copy(index, torch.empty(len(index), D)), rows(33)[index])


def test_parts_are_smaller_than_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saesweep.data.shards.PART", 4 * D)
    monkeypatch.setattr("saesweep.data.moments.PART", 4 * D)
    shards = Shards.open(harvest(tmp_path, (5, 7)))
    assert torch.equal(everything(shards), rows(12))
    said, measured = moments(shards), moments(Shards(**{**vars(shards), "manifest": None}))
    torch.testing.assert_close(said, measured)
    out = torch.zeros(12, D)
    answers = iter([True, False])
    shards.copy(torch.arange(12), out, lambda: next(answers))
    assert torch.equal(out[:4], rows(12)[:4]) and not out[4:].any()


def test_moments(tmp_path: Path) -> None:
    torch.save(rows(40), tmp_path / "a.pt")
    mean, square = moments(Shards.open(tmp_path))
    assert mean.dtype == torch.float64
    torch.testing.assert_close(mean, rows(40).double().mean(dim=0))
    assert square == pytest.approx(float(rows(40).double().square().sum(dim=1).mean()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": [0.0]}, "'mean' is not a list of 6 numbers"),
        ({"mean": [float("nan")] * D}, "'mean' is not a list of 6 numbers"),
        ({"mean_square": "1"}, "'mean_square' is '1'"),
        ({"mean_square": -1.0}, "'mean_square' is -1.0"),
    ],
)
def test_damaged_moments(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        moments(Shards.open(harvest(tmp_path, **changes)))


class Evil:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("wrapped", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, wrapped: bool) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.pt"
    if wrapped:
        torch.save({"activations": rows(3), "more": Evil(victim)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(victim)))
    assert "weights_only" not in refused(path)
    np.save(tmp_path / "a.npy", np.array([[Evil(victim)]]), allow_pickle=True)
    refused(tmp_path / "a.npy")
    assert not victim.exists()
    pickle.loads(pickle.dumps(Evil(victim)))
    assert victim.exists()  # so it would have


def test_folders_that_are_refused(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "none")
    assert "empty folder" in refused(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"")
    assert "allowed endings are .safetensors, .npy, .pt" in refused(tmp_path)
    assert "allowed endings" in refused(tmp_path / "a.bin")
    np.save(tmp_path / "a.npy", rows(3).numpy())
    torch.save(rows(3), tmp_path / "b.pt")
    assert "mixture of .npy, .pt" in refused(tmp_path)
    (tmp_path / "b.pt").unlink()
    np.save(tmp_path / "b.npy", rows(3, 7).numpy())
    assert "b.npy: has rows of 7 numbers, a.npy of 6" in refused(tmp_path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (rows(3)[0], r"has the shape \[6\]"),
        (rows(3)[:0], r"has the shape \[0, 6\]"),
        (rows(3).int(), "holds int32: allowed are float16"),
        (rows(3).bool(), "holds bool"),
        (rows(3).to(torch.complex64), "holds complex64"),
    ],
)
@pytest.mark.parametrize("ending", WRITERS)
def test_arrays_that_are_refused(tmp_path: Path, ending: str, array: Tensor, said: str) -> None:
    WRITERS[ending](tmp_path / f"a.{ending}", array.contiguous())
    with pytest.raises(RunError, match=said):
        Shards.open(tmp_path)


def test_arrays_that_are_not_stored_row_after_row(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(rows(3).numpy()))
    assert "Fortran order" in refused(tmp_path / "a.npy")
    torch.save(rows(3).T, tmp_path / "a.pt")
    assert "save a contiguous array" in refused(tmp_path / "a.pt")
    torch.save(rows(3).to_sparse(), tmp_path / "a.pt")
    assert "a.pt" in refused(tmp_path / "a.pt")
    torch.save(rows(3).to("meta"), tmp_path / "a.pt")
    assert "without its numbers" in refused(tmp_path / "a.pt")
    torch.save(rows(3), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert "not a file of torch.save since torch 1.6" in refused(tmp_path / "a.pt")
    torch.save([rows(3)], tmp_path / "a.pt")
    assert "holds a list" in refused(tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", rows(3).numpy().astype(">f4"))
    assert "holds >f4" in refused(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("keep", [0, 1, 7, 40, 0.5, 0.99])
def test_a_file_cut_short(tmp_path: Path, ending: str, keep: float) -> None:
    path = tmp_path / f"a.{ending}"
    WRITERS[ending](path, rows(200))
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep >= 1 else int(keep * len(content))])
    assert str(path) in refused(path)
    path.unlink()
    path.mkdir()
    assert "empty folder" in refused(tmp_path) or "no file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"complete": False}, "cut off: continue with `saesweep harvest CONFIG`"),
        ({"format": 2}, "has the format 2: 1 is read here"),
        ({"rows": 13}, "'rows' is 13, its shards have 12"),
        ({"rows": "12"}, "'rows' is '12'"),
        ({"d_in": 7}, "00000.safetensors: has d_in 6, manifest.json has 7"),
        ({"dtype": "float32"}, "has dtype float16, manifest.json has float32"),
        ({"shards": []}, "lists no shards"),
        ({"shards": 3}, "'shards' is not a list"),
        ({"shards": [{"file": "a.pt", "rows": 1}]}, "'sha256' is None"),
        ({"shards": [{"file": "a.pt", "rows": 1, "sha256": ""}]}, "a.pt: no such file"),
        ({"shards": [{"file": "../a.pt", "rows": 1, "sha256": ""}]}, "no file of this folder"),
    ],
)
def test_manifests_that_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refused(harvest(tmp_path / "site", **changes))


def test_a_manifest_that_is_no_json(tmp_path: Path) -> None:
    harvest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    assert "manifest.json: cannot be read" in refused(tmp_path)


def test_a_shard_with_other_rows_than_the_manifest_says(tmp_path: Path) -> None:
    harvest(tmp_path)
    save_file({"activations": rows(6).half()}, tmp_path / "shard-00001.safetensors")
    assert "00001.safetensors: has rows 6, manifest.json has 7" in refused(tmp_path)


def test_verify_names_the_damaged_file(tmp_path: Path) -> None:
    shards = Shards.open(harvest(tmp_path))
    shards.verify()
    path = tmp_path / "shard-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    Shards.open(tmp_path)
    with pytest.raises(RunError, match=r"00001.safetensors: damaged: its SHA-256 is"):
        shards.verify()
    path.unlink()
    with pytest.raises(RunError, match=r"00001.safetensors: cannot be read"):
        shards.verify()


def test_a_file_that_changes_while_in_use(tmp_path: Path) -> None:
    shards = Shards.open(harvest(tmp_path))
    save_file({"activations": rows(3).half()}, tmp_path / "shard-00001.safetensors")
    with pytest.raises(RunError, match="it had 7 rows of 6 numbers, now 3 of 6"):
        everything(shards)


CUT = """
import os, sys, torch
from pathlib import Path
from saesweep.data.shards import Shards
from saesweep.errors import RunError

def cut():
    os.truncate(sys.argv[1], 4096)
    return True

shards = Shards.open(Path(sys.argv[1]))
try:
    shards.copy(torch.arange(shards.rows), torch.empty(shards.rows, shards.d_in), cut)
except RunError as error:
    print(error)
"""


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_cut_short_while_it_is_mapped(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    WRITERS[ending](path, rows(50_000))
    words = [sys.executable, "-c", CUT, str(path)]  # it would be killed by SIGBUS
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{path}: changed while in use\n"), done.stderr


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_rows_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    x = rows(40).double()
    x[33, 2] = value
    np.save(tmp_path / "a.npy", x[:30].numpy())
    np.save(tmp_path / "b.npy", x[30:].numpy())
    shards = Shards.open(tmp_path)
    with pytest.raises(RunError, match=r"b.npy: row 3 is not finite"):
        everything(shards)
    shards.copy(torch.tensor([32, 34]), torch.empty(2, D))


FLAT = """
import resource, sys, torch
from pathlib import Path
from saesweep.data.activations import ActivationSource, Normalization
from saesweep.data.shards import Shards

torch.set_num_threads(1)
size = int(next(line for line in open("/proc/self/status") if "VmSize" in line).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (size + (200 << 20),) * 2)
shards = Shards.open(Path(sys.argv[1]))
normalization = Normalization.of("both", shards)
source = ActivationSource(
    shards, 0, held_out=0.02, normalization=normalization, buffer_rows=1 << 13
)
for step in range(2 * source.train_rows // 4096):
    source.batch(step, 4096)
print(source.train_rows)
"""


def test_memory_stays_flat_however_many_shards(tmp_path: Path) -> None:
    for number in range(16):  # 512 MiB in all, under a limit of 200 more than at the start
        np.save(tmp_path / f"{number:02d}.npy", np.full((1 << 16, 256), number, np.float16))
    words = [sys.executable, "-c", FLAT, str(tmp_path)]
    # Else each thread reserves 128 MiB of addresses for its heap, which it never touches.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == (1 << 20) - round(0.02 * (1 << 20))
