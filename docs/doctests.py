"""For the site: examples in docstrings, lines after `>>>`, are shown as code."""

from __future__ import annotations

from typing import Any

from griffe import Extension, Object


class Doctests(Extension):
    """Puts fences around them."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring of anything that has one."""
        if obj.docstring is not None and ">>>" in obj.docstring.value:
            blocks = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(
                f"```pycon\n{block}\n```" if block.lstrip().startswith(">>>") else block
                for block in blocks
            )
