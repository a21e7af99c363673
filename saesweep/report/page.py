"""One HTML file that holds all it needs: data, styles, scripts, Plotly.

What comes from a run is data in it and never markup: Jinja escapes what it writes, scripts write
text alone, and the page's own policy lets no script run but the two that are named by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from saesweep.errors import UsageError
from saesweep.files import Row
from saesweep.report.details import packed
from saesweep.tables import number
from saesweep.version import __version__

SCRIPTS = (
    *("dom", "values", "theme", "unpack", "tip", "scale"),
    *("matrices", "heatmap", "cell", "curves", "trade_off", "cells", "main"),
)
"""In the order in which they stand in the page: each uses those before it."""
OF_SCRIPTS = (
    *("label", "path", "folder", "known", "loss", "seeds", "axes", "columns", "cells", "metrics"),
    *("points", "references", "imported", "details"),
)
"""What the scripts are told of each run."""
GENERATOR = "saesweep report"
"""By what a file says of itself that it is such a page, in its first `HEAD` characters."""
HEAD = 400


def check_extra() -> None:
    """``UsageError`` where a package that a page needs is not installed."""
    try:
        import jinja2  # noqa: F401
        import plotly.offline  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"saesweep report needs {error.name}: pip install 'saesweep[report]'"
        ) from None


def render(payload: Row) -> str:
    """The page for what `payload.payload` gave."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("saesweep.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "number": number}
    plotly, script = _lines(get_plotlyjs()), _script()
    text = environment.get_template("page.html").render(
        generator=f"{GENERATOR} {__version__}",
        policy=_policy(plotly, script),
        style=_read("style.css"),
        plotly=packed(plotly),
        script=script,
        data=embedded(_of_scripts(payload)),
        page=payload,
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files need not be Unicode


def _of_scripts(payload: Row) -> Row:
    """What the scripts read; the template writes the rest."""
    runs = [{key: run[key] for key in OF_SCRIPTS} for run in payload["runs"]]
    return {**{key: payload[key] for key in ("main", "metrics", "logs")}, "runs": runs}


def is_page(head: str) -> bool:
    """Whether the first `HEAD` characters of a file are those of such a page.

    >>> is_page("<!doctype html><title>mine</title>")
    False
    """
    return f'content="{GENERATOR} ' in head


def embedded(data: Any) -> str:
    r"""``data`` as JSON that can stand in a script element: no markup can begin in it.

    >>> embedded("</script>")
    '"\\u003c/script\\u003e"'
    """
    # Not in ASCII: so what is no Unicode in it is replaced as in the rest of the page.
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def shown(value: Any) -> str:
    """A value of a config or a provenance in words, whatever it is: with all of its digits.

    >>> shown(None), shown([1, "a"]), shown(0.90001), shown(True), shown(20240101)
    ('–', '1, a', '0.90001', 'true', '20240101')
    """
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return value if isinstance(value, str) else repr(value)


def _policy(*scripts: str) -> str:
    """The content security policy: no network, no script but these, no form, no base."""
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src 'self' file: data: blob:; media-src 'self' file: data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script() -> str:
    parts = "\n".join(_read(f"scripts/{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def _read(name: str) -> str:
    return _lines((resources.files("saesweep.report") / "page" / name).read_text("utf-8"))


def _lines(text: str) -> str:
    """With the ends of lines that a browser makes of them, as hashes are of its text."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
