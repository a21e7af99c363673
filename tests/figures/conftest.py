from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from unittest import mock

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

Readable = Callable[[Figure], list[str]]


@pytest.fixture
def readable() -> Iterator[Readable]:
    """Checks that no drawn text overlaps another or leaves the canvas; returns all texts."""
    drawn: list[Text] = []
    original = Text.draw

    def draw(self: Text, renderer: object, *args: object, **kwargs: object) -> None:
        if self.get_visible() and self.get_text().strip():
            drawn.append(self)
        original(self, renderer, *args, **kwargs)

    def check(figure: Figure) -> list[str]:
        drawn.clear()
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn]
        width, height = figure.canvas.get_width_height()
        for words, box in boxes:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{words!r} leaves the canvas"
        for (one, a), (other, b) in combinations(boxes, 2):
            # Boxes include the room of accents and descenders, drawn or not: allow 2 pixels.
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            up = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(across, up) <= 2, f"{one!r} overlaps {other!r}"
        return [words for words, _ in boxes]

    with mock.patch.object(Text, "draw", draw):
        yield check
