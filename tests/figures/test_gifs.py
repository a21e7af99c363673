"""Animations: what is in the files, and that a frame shows what it should."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from saesweep.config_file import parse_config
from saesweep.errors import RunError
from saesweep.figures.animations.canvas import Canvas
from saesweep.figures.animations.cosine_scene import LEVELS, from_atoms, from_cosines
from saesweep.figures.animations.encoding import Palette, durations, ramp, write_animation
from saesweep.figures.animations.grid_frames import plan
from saesweep.figures.animations.scene import Disc, Spheres, Track, follow
from saesweep.figures.camera import camera, choose_view, project
from saesweep.figures.gifs import draw_gifs
from saesweep.grid import expand

T = 6
FakeRun = Callable[..., Any]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def snapshots(
    features: np.ndarray, size: int, seed: int, length: int, keep_atoms: bool
) -> dict[str, np.ndarray]:
    """Atoms that go from random places to the features; the first one is dead."""
    rng = np.random.default_rng(seed)
    start = unit(rng.normal(size=(size, features.shape[1])))
    goal = features[np.arange(size) % len(features)]
    share = np.linspace(0, 1, length)[:, None, None]
    atoms = unit(start * (1 - share) + goal * share + 1e-3).astype(np.float32)
    cosines = features @ atoms.transpose(0, 2, 1)
    best = cosines.argmax(axis=2)
    arrays = {
        "epoch": np.arange(length) * 10,
        "step": np.arange(length) * 10,
        "best_cosine": cosines.max(axis=2).astype(np.float32),
        "best_atom": best.astype(np.int32),
        "dead": np.broadcast_to(np.arange(size) == 0, (length, size)),
    }
    if keep_atoms:
        return arrays | {"atoms": atoms}
    shown = features[:64] @ np.take_along_axis(atoms, best[:, :64, None], 1).transpose(0, 2, 1)
    return arrays | {"cosines": shown.astype(np.float16)}


@pytest.fixture
def fake_run(tmp_path: Path) -> FakeRun:
    """Makes a run with what animations read of one. `lengths`: snapshots by cell, 0 for none."""

    def make(
        d: int = 3, n: int = 4, grid: str = "l1: [0.01, 0.1], dict_size: [4, 8]",
        lengths: dict[str, int] | None = None, keep_atoms: bool = True,
    ) -> Any:  # fmt: skip
        config = parse_config(
            f"name: fake\ndata: {{activation_dim: {d}, n_features: {n}, mean_active: 1}}\n"
            f"grid: {{{grid}}}\n"
        )
        features = unit(np.random.default_rng(1).normal(size=(n, d)))
        cells = expand(config)

        def read(cell: Any) -> dict[str, np.ndarray]:
            length = (lengths or {}).get(cell.name, T)
            if not length:
                raise RunError("no such file")
            return snapshots(features, cell.dict_size, cell.seed, length, keep_atoms)

        return SimpleNamespace(
            path=tmp_path / "run1",
            gifs_dir=tmp_path / "run1" / "gifs",
            config=config,
            cells=cells,
            sparsity_axes=list(dict.fromkeys(cell.axis for cell in cells)),
            snapshots=read,
            ground_truth=lambda: {"features": features, "probabilities": np.ones(n)},
            metrics=lambda: [{"cell": cell.name, "state": "failed"} for cell in cells],
        )

    return make


def frames_of(path: Path) -> np.ndarray:
    """[frames, height, width, 3], as imageio reads them."""
    if path.suffix == ".mp4":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # imageio-ffmpeg leaves pipes open
            frames = np.stack(list(iio.imiter(path, plugin="FFMPEG")))
            gc.collect()
        return frames
    return np.stack(list(iio.imiter(path, plugin="pillow", mode="RGB")))


def stays_of(path: Path) -> list[int]:
    with Image.open(path) as image:
        stays = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()  # WebP knows a frame's time only then
            stays.append(image.info["duration"])
    return stays


# Files


def test_a_file_for_each_cell_and_the_grid(fake_run: FakeRun) -> None:
    run = fake_run()
    told: list[tuple[int, int]] = []
    paths = draw_gifs(run, progress=lambda done, total: told.append((done, total)))
    names = [*(f"{cell.name}.gif" for cell in run.cells), "grid.gif"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in run.gifs_dir.iterdir()) == sorted(names)
    assert told == [(i + 1, 5 * T) for i in range(5 * T)]
    for path in paths:
        assert len(frames_of(path)) == T
        assert stays_of(path) == [80, 90, 80, 80, 90, 2000]


@pytest.mark.parametrize(("format", "count"), [("gif", T), ("webp", T), ("mp4", T - 1 + 20)])
def test_each_format_can_be_read(fake_run: FakeRun, format: str, count: int) -> None:
    run = fake_run()
    (path,) = draw_gifs(run, run.cells[:1], format=format, fps=10, grid=False)
    frames = frames_of(path)
    assert len(frames) == count
    assert not (set(frames.shape[1:3]) - set(range(16, 2000, 16)))
    if format != "mp4":
        assert stays_of(path) == [*[100] * (T - 1), 2000]
        assert sum(stays_of(path)) == 2500
    for before, after in pairwise(frames[:T]):
        changed = (np.abs(before.astype(int) - after) > 40).any(axis=2)
        assert changed[:100].any(), "the epoch did not change"
        assert changed[130:].sum() > 50, "no atom moved"


def test_formats_agree(fake_run: FakeRun) -> None:
    run = fake_run()
    by_format = {
        format: frames_of(draw_gifs(run, run.cells[:1], format=format, grid=False)[0])[T - 1]
        for format in ("gif", "webp", "mp4")
    }
    assert np.array_equal(by_format["gif"], by_format["webp"])
    assert np.abs(by_format["gif"].astype(int) - by_format["mp4"]).mean() < 3


def test_chosen_cells_only(fake_run: FakeRun) -> None:
    run = fake_run()
    draw_gifs(run, [run.cells[2]], grid=False)
    assert [path.name for path in run.gifs_dir.iterdir()] == [f"{run.cells[2].name}.gif"]


def test_cells_of_other_lengths_and_without_snapshots(fake_run: FakeRun) -> None:
    lengths = {"l1=0.01_dict=4": 1, "l1=0.01_dict=8": 0, "l1=0.1_dict=4": 3}
    run = fake_run(lengths=lengths)
    counts = {path.stem: len(frames_of(path)) for path in draw_gifs(run)}
    assert counts == {"l1=0.01_dict=4": 1, "l1=0.1_dict=4": 3, "l1=0.1_dict=8": T, "grid": T}


def test_nothing_to_draw(fake_run: FakeRun) -> None:
    run = fake_run(lengths={cell.name: 0 for cell in fake_run().cells})
    with pytest.raises(RunError, match="nothing to draw"):
        draw_gifs(run)


def test_an_interrupt_leaves_no_half_file(fake_run: FakeRun) -> None:
    def stop(done: int, total: int) -> None:
        if done == T + 2:
            raise KeyboardInterrupt

    run = fake_run()
    with pytest.raises(KeyboardInterrupt):
        draw_gifs(run, progress=stop)
    assert [path.name for path in run.gifs_dir.iterdir()] == [f"{run.cells[0].name}.gif"]


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"format": "avi"}, "gif, mp4, webp"),
        ({"fps": 0}, "1 to 50"),
        ({"fps": 51}, "1 to 50"),
        ({"fps": float("nan")}, "1 to 50"),
    ],
)
def test_bad_arguments(fake_run: FakeRun, arguments: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed):
        draw_gifs(fake_run(), **arguments)


@pytest.mark.parametrize(
    ("d", "n", "keep_atoms"),
    [(1, 2, True), (2, 3, True), (3, 4, False), (5, 9, True), (8, 70, False)],
)
def test_every_dimension(fake_run: FakeRun, d: int, n: int, keep_atoms: bool) -> None:
    run = fake_run(d=d, n=n, keep_atoms=keep_atoms, grid="l1: [0.1], dict_size: [4]")
    for path in draw_gifs(run):
        frames = frames_of(path)
        assert len(frames) == T
        assert (frames[0] != frames[-1]).any()


# Encoding


def moving_noise(count: int) -> Iterator[np.ndarray]:
    frame = np.full((32, 48, 4), 255, dtype=np.uint8)
    rng = np.random.default_rng(0)
    for t in range(count):
        if t not in (2, 3):  # which are as the one before
            frame[t : t + 9, 2 * t : 2 * t + 7, :3] = rng.integers(0, 256, 3)
        yield frame


def test_gif_frames_are_the_nearest_colours_and_equal_ones_stay(tmp_path: Path) -> None:
    palette = Palette(np.random.default_rng(1).integers(0, 256, (200, 3)).astype(np.uint8))
    path = tmp_path / "noise.gif"
    write_animation(path, moving_noise(8), durations(8, 25), 25, palette)
    assert stays_of(path) == [40] * 7 + [2000]
    with Image.open(path) as image:
        for t, frame in enumerate(moving_noise(8)):
            image.seek(t)
            shown = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
            wanted = frame[..., :3].reshape(-1, 1, 3).astype(int)
            best = ((wanted - palette.colours.astype(int)) ** 2).sum(axis=2).min(axis=1)
            assert np.array_equal(((shown - wanted[:, 0]) ** 2).sum(axis=1), best)


@pytest.mark.parametrize("fps", [1, 7, 12, 24, 29.97, 50])
def test_durations_keep_the_rate(fps: float) -> None:
    stays = durations(1001, fps)
    assert len(stays) == 1001
    assert sum(stays[:-1]) == pytest.approx(1000 * 1000 / fps, abs=10)
    assert min(stays) >= 20
    assert all(stay % 10 == 0 for stay in stays)


def test_palette_limit() -> None:
    with pytest.raises(ValueError, match="255"):
        Palette(np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=1))
    assert ramp("#000000", 3).tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]


# Pictures


def approx(numbers: Any) -> Any:
    return pytest.approx(np.array(numbers))


def test_projection_by_hand() -> None:
    axes = np.eye(3)
    # From the x axis: y is to the right, z up, x towards the viewer.
    assert project(2 * axes, camera(0, 0)) == approx([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    # From above, with x to the right: y is up.
    assert project(axes, camera(-90, 90)) == approx([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    # From 30° above: the pole is cos 30° up and sin 30° towards the viewer.
    assert project(axes[2], camera(0, 30)) == approx([0, 3**0.5 / 2, 0.5])
    # The plane is seen as it is drawn on paper.
    flat = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert project(flat, choose_view(flat)) == approx([[0.6, 0.8, 0], [0, 0, 0]])
    # Pixels count down from the top.
    assert Disc(100, 50, 10).place(np.array([1.0, 0.5, 0.7])) == approx([110, 45])


def test_chosen_view_separates_and_does_not_distort() -> None:
    # Two features that hide behind one another when seen from their own side.
    features = unit(np.array([[1, 0.05, 0], [1, -0.05, 0.02], [0, 0, 1]]))
    view = choose_view(features)
    assert view @ view.T == pytest.approx(np.eye(3))
    assert np.linalg.det(view) == pytest.approx(1)
    seen = project(features, view)[:, :2]
    assert np.linalg.norm(seen[0] - seen[1]) > 0.9 * np.linalg.norm(features[0] - features[1])


def draw_atoms(tips: list[list[float]], dead: list[bool]) -> np.ndarray:
    """The inks [height, width] of a sheet with these atoms and no feature near them."""
    canvas = Canvas(200, 200)
    features = np.array([[0.0, -1.0, 0.0]])
    track = Track(np.array([tips]), np.array([dead]), np.zeros(len(tips), dtype=np.intp))
    scene = Spheres(canvas, features, np.eye(3), [(Disc(100, 100, 90), track)])
    canvas.save()
    scene.draw(0)
    return (255 - canvas.pixels[..., :3].astype(int)).sum(axis=2)


def test_dead_and_far_atoms_are_fainter() -> None:
    left, right = [-0.8, 0.0, 0.6], [0.8, 0.0, 0.6]
    behind = [0.8, 0.0, -0.6]
    ink = draw_atoms([left, right], [True, False])
    assert 0 < ink[:, :80].sum() < 0.4 * ink[:, 120:].sum()
    ink = draw_atoms([left, behind], [False, False])
    assert 0 < ink[:, 120:].sum() < 0.6 * ink[:, :80].sum()
    assert ink[90:110, 165:180].max() > 0, "the atom is not where it belongs"


def test_near_atoms_hide_far_ones() -> None:
    near, far = [0.0, 0.6, 0.8], [0.0, 0.6, -0.8]
    assert np.array_equal(
        draw_atoms([near, far], [False, False]), draw_atoms([far, near], [False, False])
    )


def test_paths_stay_and_shorter_tracks_hold() -> None:
    turn = np.linspace(0, 1.5, 4)
    long = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)[:, None]
    tracks = [
        follow(atoms, np.zeros(atoms.shape[:2], dtype=bool), np.eye(3), np.eye(3))
        for atoms in (long, long[:2])
    ]
    canvas = Canvas(400, 200)
    discs = Disc(100, 100, 80), Disc(300, 100, 80)
    scene = Spheres(canvas, np.eye(3), np.eye(3), list(zip(discs, tracks, strict=True)))
    scene.draw_still()
    canvas.save()
    frames = []
    for t in range(4):
        canvas.restore()
        scene.draw(t)
        frames.append(canvas.pixels.copy())
    assert (frames[2][:, :200] != frames[3][:, :200]).any()
    assert np.array_equal(frames[2][:, 200:], frames[3][:, 200:])


def test_matrix_of_learned_features_is_a_diagonal() -> None:
    features = np.eye(3)
    atoms = np.stack([np.eye(3)[[2, 0, 1]] * 5, -np.eye(3)])  # any length, any order
    best = np.array([[1, 2, 0], [0, 1, 2]])
    first, last = from_atoms(atoms, best, features).levels
    middle = (LEVELS - 1) // 2
    assert np.array_equal(first, np.where(np.eye(3), LEVELS - 1, middle))
    assert np.array_equal(last, np.where(np.eye(3), 0, middle))
    assert from_cosines(np.array([[[np.nan]]])).levels.item() == middle


# The grid


def test_grid_says_what_it_leaves_out(fake_run: FakeRun) -> None:
    cells = fake_run(grid="l1: [0.1, 0.2], dict_size: [4], seed: [3, 5]").cells
    layout = plan(cells, cells[1].extra)
    assert sorted(layout.places.values()) == [(0, 0), (0, 1)]
    assert layout.notes == ["2 of 4 cells: only seed 5."]

    sizes = list(range(1, 31))
    cells = fake_run(grid=f"l1: {{linspace: [0.01, 1, 40]}}, dict_size: {sizes}").cells
    layout = plan(cells, {})
    assert len(layout.places) == 18 * 12
    assert layout.notes == ["216 of 1,200 cells: 12 of 30 dictionary sizes, 18 of 40 L1 penalties."]
    assert (layout.sparsity[0], layout.sparsity[-1]) == (0.01, 1)
    assert len(set(layout.places.values())) == len(layout.places)


def test_grid_stays_within_bounds(fake_run: FakeRun) -> None:
    sizes = list(range(1, 15))
    run = fake_run(grid=f"l1: {{linspace: [0.01, 1, 40]}}, dict_size: {sizes}")
    run.snapshots = lambda cell: snapshots(run.ground_truth()["features"], 4, 0, 2, True)
    path = draw_gifs(run, run.cells[:1])[-1]
    with Image.open(path) as image:
        assert image.n_frames == 2
        assert image.width <= 1300
        assert image.height <= 1200
