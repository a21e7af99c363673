"""From frames to one file, as they come: GIF with one shared palette, WebP, or MP4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, repeat
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import imageio.v2 as imageio
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

FORMATS = ("gif", "mp4", "webp")
MAX_FPS = 50
"""Viewers slow a GIF down that asks for frames shorter than 0.02 s."""
HOLD = 2.0
"""How long the last frame stays, in seconds."""

Frame = NDArray[np.uint8]
"""[height, width, 4], RGBA."""


def check_format(format: str, fps: float) -> None:
    """Raise ValueError, naming what is allowed, for a format or a rate that cannot be written."""
    if format not in FORMATS:
        raise ValueError(f"format {format!r}: should be one of {', '.join(FORMATS)}")
    if not 1 <= fps <= MAX_FPS:
        raise ValueError(f"fps {fps:g}: should be from 1 to {MAX_FPS}")


def durations(count: int, fps: float) -> list[int]:
    """How long each of `count` frames stays, in ms: whole hundredths of a second, as GIF wants.

    Their sum keeps to `fps` all the same; the last frame stays for `HOLD` seconds.

    >>> durations(4, 12)
    [80, 90, 80, 2000]
    """
    ends = [round(100 * i / fps) * 10 for i in range(count)]
    return [*(later - earlier for earlier, later in pairwise(ends)), round(HOLD * 1000)]


class Palette:
    """At most 255 colours, and for any colour the nearest of them; the last index stays free.

    Without dither, so that what stands still is stored once and what is flat stays flat.
    """

    FREE = 255

    def __init__(self, colours: NDArray[np.uint8]) -> None:
        self.colours = np.unique(colours, axis=0)
        if len(self.colours) > self.FREE:
            raise ValueError(f"{len(self.colours)} colours: a palette holds {self.FREE}")
        # Filled as colours turn up: 16 MB, and a look-up is exact.
        self._nearest = np.full(1 << 24, self.FREE, dtype=np.uint8)

    def index(self, codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The palette's nearest colour for each of `codes` (red, green and blue in 24 bits)."""
        found = self._nearest[codes]
        missing = found == self.FREE
        if missing.any():
            new = np.unique(codes[missing])
            for part in np.array_split(new, len(new) // 4096 + 1):
                self._nearest[part] = self._search(part)
            found[missing] = self._nearest[codes[missing]]
        return found

    def _search(self, codes: NDArray[np.uint32]) -> NDArray[np.intp]:
        rgb = np.stack([codes & 255, codes >> 8 & 255, codes >> 16], axis=1).astype(np.float32)
        own = self.colours.astype(np.float32)
        # |a - b|² without the |a|², which is the same for every b.
        return np.asarray(np.argmin((own**2).sum(axis=1) - 2 * rgb @ own.T, axis=1))


def ramp(ink: str, steps: int) -> NDArray[np.uint8]:
    """A colour in `steps` shades up to white [steps, 3], for what is thin, faint or smooth."""
    rgb = np.array(to_rgb(ink)) * 255
    share = np.linspace(0, 1, steps)[:, None]
    return np.rint(rgb + (255 - rgb) * share).astype(np.uint8)


def write_animation(
    path: Path, frames: Iterable[Frame], stays: Sequence[int], fps: float, palette: Palette
) -> None:
    """Write frames to `path`, in the format that its suffix says.

    `stays` has each frame's time in ms (`durations`). Sides should be multiples of 16, as video
    codecs want. A frame may be overwritten by its maker as soon as the next is asked for.
    """
    if path.suffix == ".gif":
        with path.open("wb") as file:
            _write_gif(file, frames, stays, palette)
    elif path.suffix == ".webp":
        _write_webp(path, frames, stays, palette)
    else:
        _write_mp4(path, frames, stays, fps)


def _write_gif(
    file: IO[bytes], frames: Iterable[Frame], stays: Sequence[int], palette: Palette
) -> None:
    """Pillow packs the pixels; what is around them is written here.

    Pillow's own `save_all` merges equal frames, keeps all of them in memory, and without `optimize`
    stores what has not changed once more: five times the bytes.
    """
    seen: NDArray[np.uint32] | None = None
    shown = np.zeros((1, 1), dtype=np.uint8)
    for frame, stay in zip(frames, stays, strict=True):
        # Alpha is 255 everywhere: without it, a pixel is a code of 24 bits.
        codes = np.ascontiguousarray(frame).view("<u4")[..., 0].astype(np.uint32, copy=False)
        pixels = codes & np.uint32(0xFFFFFF)
        if seen is None:
            shown = part = palette.index(pixels)
            corner = (0, 0)
            file.write(_gif_head(frame.shape[1], frame.shape[0], palette.colours))
        else:
            drawn = pixels != seen
            indices = shown.copy()
            indices[drawn] = palette.index(pixels[drawn])
            part, corner = _patch(indices, indices != shown)
            shown = indices
        seen = pixels
        settings = {"duration": stay, "transparency": Palette.FREE, "disposal": 1}
        file.writelines(GifImagePlugin.getdata(Image.fromarray(part), corner, **settings))
    file.write(b";")


def _patch(
    indices: NDArray[np.uint8], changed: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The smallest box around the changed pixels, others left free, and its corner (x, y)."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):  # a frame all the same: it has its time on the screen
        return np.full((1, 1), Palette.FREE, dtype=np.uint8), (0, 0)
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = np.where(changed[box], indices[box], np.uint8(Palette.FREE))
    return part, (int(columns[0]), int(rows[0]))


def _gif_head(width: int, height: int, colours: NDArray[np.uint8]) -> bytes:
    """Signature, screen size, the palette of 256 entries for all frames, and "repeat for ever"."""
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    repeat = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    return b"GIF89a" + size + b"\xf7\x00\x00" + colours.tobytes().ljust(768, b"\0") + repeat


def _write_webp(
    path: Path, frames: Iterable[Frame], stays: Sequence[int], palette: Palette
) -> None:
    """By way of a GIF, which Pillow reads a frame at a time; of a list it would keep all."""
    with TemporaryFile() as file:
        _write_gif(file, frames, stays, palette)
        file.seek(0)
        with Image.open(file) as images:
            # Effort 0 of 6, and no key frames after the first: three times as fast, and smaller.
            images.save(
                path,
                format="WEBP",
                save_all=True,
                duration=list(stays),
                loop=0,
                lossless=True,
                quality=0,
                method=0,
                kmin=1 << 20,
                kmax=(1 << 20) + 1,
            )


def _write_mp4(path: Path, frames: Iterable[Frame], stays: Sequence[int], fps: float) -> None:
    repeats = round(stays[-1] * fps / 1000)
    options: dict[str, Any] = {
        "codec": "libx264",
        "pixelformat": "yuv420p",  # what browsers play
        "quality": None,
        "macro_block_size": 16,
        "output_params": ["-crf", "18", "-preset", "veryfast", "-movflags", "+faststart"],
    }
    opened: Any = imageio.get_writer(path, format="FFMPEG", mode="I", fps=fps, **options)
    with opened as writer:
        for frame in _repeat_last(frames, repeats):
            writer.append_data(np.ascontiguousarray(frame[..., :3]))


def _repeat_last(frames: Iterable[Frame], repeats: int) -> Iterator[Frame]:
    frame: Frame | None = None
    for frame in frames:
        yield frame
    if frame is not None:
        yield from repeat(frame, repeats - 1)
