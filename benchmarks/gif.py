"""Times `saesweep gif` against a new 3-D figure for every frame.

    python benchmarks/gif.py                # trains the toy sweep first, about half a minute
    python benchmarks/gif.py outputs/run1   # a three-dimensional run that is there already

Both draw and encode GIFs of the same snapshots, in this one process: the plain renderer before and
after ours, so that what slows the machine slows both. Prints ms a frame, and the ratio.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v3 as iio
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saesweep.config_file import load_config
from saesweep.figures.gifs import draw_gifs
from saesweep.run_folder import Run

TOY = Path(__file__).parents[1] / "configs" / "toy.yaml"
PLAIN_FRAMES = 25
RATIO_FLOOR, MS_CEILING = 9.0, 10.0


def plain_gif(path: Path, features: np.ndarray, atoms: np.ndarray, epochs: np.ndarray) -> float:
    """Write a GIF the usual way, a new figure a frame; the seconds it took."""
    start = time.perf_counter()
    frames = []
    for tips, epoch in zip(atoms, epochs, strict=True):
        figure = Figure(figsize=(5.6, 6.24), dpi=100)  # the size of ours
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot(projection="3d")
        u, v = np.mgrid[0 : 2 * np.pi : 20j, 0 : np.pi : 10j]
        ball = (np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v))
        axes.plot_wireframe(*ball, color="lightgrey", linewidth=0.5)
        for feature in features:
            axes.plot(*zip(np.zeros(3), feature, strict=True), color="grey")
        for tip in tips:
            axes.plot(*zip(np.zeros(3), tip, strict=True), color="tab:blue", linewidth=1)
        axes.scatter(*tips.T, color="tab:blue")
        axes.set_title(f"epoch {epoch}")
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    iio.imwrite(path, frames, duration=80, loop=0)
    return time.perf_counter() - start


def compare(run: Run, scratch: Path) -> bool:
    """Time both, print the result; whether it meets floor and ceiling."""
    features = run.ground_truth()["features"]
    snapshots = run.snapshots(run.cells[0])
    if "atoms" not in snapshots or features.shape[1] != 3:
        raise SystemExit(f"{run.path}: not a run in three dimensions with its atoms kept")
    picked = np.linspace(0, len(snapshots["epoch"]) - 1, PLAIN_FRAMES).astype(int)
    atoms, epochs = snapshots["atoms"][picked], snapshots["epoch"][picked]
    frames = 0

    def count(done: int, total: int) -> None:
        nonlocal frames
        frames = done

    plain = plain_gif(scratch / "plain.gif", features, atoms, epochs)
    start = time.perf_counter()
    paths = draw_gifs(run, progress=count)
    ours = time.perf_counter() - start
    plain += plain_gif(scratch / "plain.gif", features, atoms, epochs)

    ms, plain_ms = 1000 * ours / frames, 1000 * plain / (2 * PLAIN_FRAMES)
    size = sum(path.stat().st_size for path in paths) / 1e6
    for name, many, seconds, each, note in (
        ("saesweep gif", frames, ours, ms, f"{size:.1f} MB"),
        ("a figure a frame", 2 * PLAIN_FRAMES, plain, plain_ms, ""),
    ):
        print(f"{name:18} {many:5d} frames {seconds:7.1f} s {each:7.1f} ms a frame  {note}")
    print(f"ratio {plain_ms / ms:.1f} (floor {RATIO_FLOOR:g}); ceiling {MS_CEILING:g} ms a frame")
    return plain_ms / ms >= RATIO_FLOOR and ms <= MS_CEILING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", nargs="?", type=Path, help="a run folder; its gifs are drawn anew")
    given = parser.parse_args().run
    print(f"Python {platform.python_version()}, {platform.machine()}")
    with TemporaryDirectory() as folder:
        if given:
            run = Run(given)
        else:
            from saesweep.sweep import run_sweep

            print("training the toy sweep …", flush=True)
            run = run_sweep(Run.create(load_config(TOY), folder, "toy")).run
        raise SystemExit(0 if compare(run, Path(folder)) else 1)


if __name__ == "__main__":
    main()
