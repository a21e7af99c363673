from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from saesweep.data.activations import ActivationSource, Normalization
from saesweep.data.order import Order, Split, sampled
from saesweep.data.shards import Shards
from saesweep.errors import RunError
from saesweep.seeding import stream

D = 3
PLAIN = Normalization(torch.zeros(D), 1.0)
ROWS = 3000


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Row i is (i, i, i), in five files."""
    folder = tmp_path_factory.mktemp("shards")
    for number, part in enumerate(torch.arange(ROWS).split(701)):
        np.save(folder / f"{number}.npy", part.float()[:, None].expand(-1, D).numpy())
    return Shards.open(folder)


def source_of(shards: Shards, buffer_rows: int = 512, seed: int = 0) -> ActivationSource:
    return ActivationSource(
        shards, seed, held_out=0.1, normalization=PLAIN, buffer_rows=buffer_rows
    )


def numbers(x: Tensor) -> Tensor:
    return x[:, 0].long()


def stretch(source: ActivationSource, size: int, steps: int) -> Tensor:
    """Which rows the first ``steps`` batches have."""
    return torch.cat([numbers(source.batch(step, size).x) for step in range(steps)])


RESIDENT = 1 << 14


@pytest.mark.parametrize("buffer_rows", [1, 64, 512, 2699, 2700, RESIDENT])
def test_each_row_is_there_once_a_pass_and_never_one_held_out(
    shards: Shards, buffer_rows: int
) -> None:
    source = source_of(shards, buffer_rows)
    count = source.train_rows
    assert (count, source.held_rows, source.d_in) == (2700, 300, D)
    rows = stretch(source, 1000, 9)[: 3 * count].split(count)
    held = set(numbers(source.evaluation_set(10_000).x).tolist())
    for one in rows:
        assert len(set(one.tolist())) == count and not held & set(one.tolist())
    assert len(held) == 300
    assert not torch.equal(rows[0], rows[1]) and not torch.equal(rows[1], rows[2])


@pytest.mark.parametrize("buffer_rows", [512, RESIDENT])
def test_rows_are_far_from_their_neighbours(shards: Shards, buffer_rows: int) -> None:
    rows = stretch(source_of(shards, buffer_rows), 900, 3)
    assert (rows.diff().abs() == 1).float().mean() < 0.01
    means = rows.float().split(300)  # a pass in nine parts: each of all of the data
    assert all(abs(part.mean().item() - ROWS / 2) < 500 for part in means)


@pytest.mark.parametrize("buffer_rows", [512, RESIDENT])
def test_the_order_is_of_the_seed_and_the_position_alone(shards: Shards, buffer_rows: int) -> None:
    first, second = source_of(shards, buffer_rows), source_of(shards, buffer_rows)
    rows = stretch(first, 250, 24)
    assert torch.equal(rows, stretch(second, 250, 24))
    assert torch.equal(rows, stretch(source_of(shards, buffer_rows), 1500, 4))
    assert not torch.equal(rows, stretch(source_of(shards, buffer_rows, seed=1), 250, 24))
    later = source_of(shards, buffer_rows)
    for step in (17, 18, 3, 0, 23, 22, 0, 11):  # a restart, and other jobs' steps
        wanted = rows[step * 250 : (step + 1) * 250]
        assert torch.equal(numbers(later.batch(step, 250).x), wanted)
        assert torch.equal(numbers(first.batch(step, 250).x), wanted)


def test_the_rule_as_it_is_written(shards: Shards) -> None:
    """Computed again, in another way."""
    trained = [row for row in range(ROWS) if row not in set(held_rows(ROWS, 300))]
    order, rows = torch.randperm(2700 // 64, generator=stream(0, "shuffle", 1)).tolist(), []
    order.append(2700 // 64)
    for number in range(0, len(order), 8):
        blocks = sorted(order[number : number + 8])
        content = [row for block in blocks for row in trained[block * 64 : block * 64 + 64]]
        generator = stream(0, "buffer", 1, number // 8)
        rows += [content[i] for i in torch.randperm(len(content), generator=generator)]
    assert stretch(source_of(shards, 512), 2700, 2)[2700:].tolist() == rows


def held_rows(rows: int, held: int) -> list[int]:
    return Split(rows, held / rows).held(torch.arange(held)).tolist()


@pytest.mark.parametrize(
    ("rows", "held"), [(3000, 300), (10, 5), (2, 1), (33, 7), (160, 32), (1000, 999)]
)
def test_held_out_stretches(rows: int, held: int) -> None:
    split = Split(rows, held / rows)
    out = held_rows(rows, held)
    rest = split.trained(torch.arange(rows - held)).tolist()
    assert sorted(out + rest) == list(range(rows))
    assert out == sorted(out) and rest == sorted(rest)


def test_held_out_stretches_are_of_all_parts_of_the_data() -> None:
    gaps = np.diff(held_rows(3000, 300))
    assert (gaps == 1).sum() == 300 - 16
    assert all(150 < gap < 190 for gap in gaps[gaps > 1])


def test_a_last_block_that_is_shorter() -> None:
    order = Order(1000, 256, seed=0)
    assert (order.buffer_rows, order.buffers) == (256, 4)
    contents = [order.content(0, buffer) for buffer in range(4)]
    sizes = [len(order.permutation(0, buffer)) for buffer in range(4)]
    assert [len(content) for content in contents] == sizes == [256, 256, 256, 232]
    assert order.after(0, 3) == (1, 0) and order.place(999) == (0, 3, 231)
    assert order.place(1000) == (1, 0, 0)


def test_sample_sets(shards: Shards) -> None:
    source = source_of(shards)
    held = set(numbers(source.evaluation_set(300).x).tolist())
    some = numbers(source.sample_set("eval", 100).x).tolist()
    assert len(set(some)) == 100 and set(some) < held
    assert torch.equal(source.evaluation_set(100).x, source.sample_set("eval", 100).x)
    others = numbers(source.sample_set("panel", 500).x).tolist()
    assert len(set(others)) == 500 and not set(others) & held
    assert others != sorted(others)
    assert others != numbers(source.sample_set("points", 500).x).tolist()
    assert len(source.sample_set("panel", 10**6)) == source.train_rows
    assert source.sample_set("panel", 5).codes is None


def test_samples_are_of_every_number_alike() -> None:
    counts = torch.zeros(10)
    for seed in range(2000):
        chosen = sampled(10, 3, stream(seed, "sampled"))
        assert len(set(chosen.tolist())) == 3
        counts[chosen] += 1
    assert (counts / 2000 - 0.3).abs().max() < 0.05  # five standard deviations


@pytest.mark.parametrize("kind", ["none", "mean", "scale", "both"])
def test_normalization(tmp_path: Path, kind: str) -> None:
    x = 7 + 3 * torch.randn(500, D, generator=stream(0, "x"))
    np.save(tmp_path / "a.npy", x.numpy())
    normalization = Normalization.of(kind, Shards.open(tmp_path))  # type: ignore[arg-type]
    done = normalization.apply(x)
    mean, square = done.mean(dim=0), done.square().sum(dim=1).mean().item()
    assert (mean.abs().max().item() < 1e-4) == (kind in ("mean", "both"))
    assert (square == pytest.approx(D, rel=1e-4)) == (kind in ("scale", "both"))
    torch.testing.assert_close(normalization.undo(done), x)
    if kind == "none":
        assert torch.equal(done, x)
    source = ActivationSource(
        Shards.open(tmp_path), 0, held_out=0.1, normalization=normalization, buffer_rows=128
    )
    seen = torch.cat([source.batch(0, source.train_rows).x, source.evaluation_set(50).x])
    torch.testing.assert_close(seen.sort(dim=0).values, done.sort(dim=0).values)


@pytest.mark.parametrize("kind", ["scale", "both"])
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_rows_that_are_all_the_same_have_no_scale(tmp_path: Path, kind: str, value: float) -> None:
    np.save(tmp_path / "a.npy", np.full((10, D), value))
    if kind == "scale" and value:
        pytest.skip("they have one about zero")
    with pytest.raises(RunError, match="all rows are the same"):
        Normalization.of(kind, Shards.open(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("held_out", [0.0, 1.0, 0.0001])
def test_too_few_rows(shards: Shards, held_out: float) -> None:
    with pytest.raises(RunError, match="3000 rows are too few"):
        ActivationSource(shards, 0, held_out=held_out, normalization=PLAIN)


@pytest.mark.parametrize("buffer_rows", [64, RESIDENT])
def test_an_error_of_the_thread_is_raised_in_the_trainer(tmp_path: Path, buffer_rows: int) -> None:
    x = torch.ones(600, D)
    x[301] = float("nan")
    np.save(tmp_path / "a.npy", x.numpy())
    source = ActivationSource(
        Shards.open(tmp_path), 0, held_out=0.1, normalization=PLAIN, buffer_rows=buffer_rows
    )
    for _ in range(2):  # and again when it is asked again
        with pytest.raises(RunError, match=r"a\.npy: row 301 is not finite"):
            for step in range(source.train_rows // 20 + 1):
                source.batch(step, 20)


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "saesweep-shards"]


def test_no_thread_is_left(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def endless(self: Shards, rows: Tensor, out: Tensor, go_on: object) -> Tensor:
        while callable(go_on) and go_on():
            asked.set()
        return out

    source = source_of(shards)
    first = source.batch(0, 10).x
    source.close()
    assert not threads()
    with monkeypatch.context() as patched:
        source.batch(0, 500)
        patched.setattr(Shards, "copy", endless)
        source.batch(1, 500)  # begins to read ahead without end
        assert asked.wait(10) and len(threads()) == 1
        source.close()
        assert not threads()
    assert torch.equal(source.batch(0, 10).x, first)
    with monkeypatch.context() as patched:
        patched.setattr(Shards, "copy", endless)
        source.batch(1, 40)
        source._begin((9, 9 % 6))  # one that is under way when the source is dropped
        del source
        gc.collect()
        assert not threads()


EXIT = """
import sys
from pathlib import Path
import torch
from saesweep.data.activations import ActivationSource, Normalization
from saesweep.data.shards import Shards

shards = Shards.open(Path(sys.argv[1]))
normalization = Normalization(torch.zeros(shards.d_in), 1.0)
source = ActivationSource(
    shards, 0, held_out=0.1, normalization=normalization, buffer_rows=1 << 16
)
source.batch(0, 4)
"""


def test_a_process_ends_while_the_next_buffer_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1 << 18, 256), np.float16))
    words = [sys.executable, "-c", EXIT, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(shards: Shards) -> None:
    source = source_of(shards)
    other = ActivationSource(
        shards, 0, held_out=0.1, normalization=PLAIN, buffer_rows=512, device="cuda"
    )
    for step in range(30):
        x = other.batch(step, 200).x
        assert x.is_cuda and torch.equal(x.cpu(), source.batch(step, 200).x)
    assert other.evaluation_set(10).x.is_cuda
