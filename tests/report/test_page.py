"""The page is whole, and what a run says stays text in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saesweep.report.contents import Contents
from saesweep.report.page import embedded, is_page, render, shown
from saesweep.report.payload import payload
from saesweep.run_folder import Run
from tests.report.conftest import HARM, SECRET

pytest.importorskip("plotly")


class Elements(HTMLParser):
    """The elements of a page: names, attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_needs_nothing_else(finished: Run) -> None:
    elements = Elements(render(payload([finished], finished.path)))
    assert not elements.attributes("link")
    assert not any("src" in attributes for _, attributes in elements.tags)
    hrefs = [attributes["href"] for _, attributes in elements.tags if "href" in attributes]
    assert hrefs == ["#matrices"]


def test_its_policy_lets_only_its_own_scripts_run(finished: Run) -> None:
    elements = Elements(render(payload([finished], finished.path)))
    (policy,) = (
        attributes["content"] or ""
        for attributes in elements.attributes("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    script = elements.scripts[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert len(re.findall("sha256-", policy)) == 2


def test_what_a_stranger_wrote_stays_text(hostile: Run) -> None:
    page = render(payload([hostile, hostile], hostile.path))
    elements = Elements(page)
    assert [attributes.get("type") for attributes in elements.attributes("script")] == [
        "application/json",
        "text/plain",
        None,
    ]
    assert not any(name.startswith("on") for _, found in elements.tags for name in found)
    assert all((found["src"] or "").endswith(".gif") for found in elements.attributes("img"))
    assert "<img src=x" not in page
    assert "<script>window" not in page
    run = json.loads(elements.scripts[0])["runs"][0]
    assert run["cells"][0]["reason"] == HARM
    told = re.escape("&lt;script&gt;window.harmed=1;alert(1)&lt;/script&gt;")
    for place in (
        "<pre",
        "<code>",
        "<th scope=",
        "<td>",
        r"</b>\s+failed: ",
    ):  # it is told, as text
        assert re.search(rf"{place}[^<]*{told}", page), place
    assert re.search(rf"account: [^<\n]*{told}", page)  # in the config


def test_of_a_strangers_run_only_its_own_files_are_in_the_page(hostile: Run) -> None:
    contents = Contents(hostile.path, inline=True)
    told = payload([hostile], hostile.path, contents=contents)
    page = "".join(contents.pieces(render(told)))
    assert SECRET not in page
    assert (hostile.path.parent / "secret").read_text() == SECRET
    assert base64.b64encode(SECRET.encode()).decode()[:20] not in page
    (cells,) = ([*run["cells"]] for run in told["runs"])
    assert [cell["state"] for cell in cells] == ["failed", "failed", "done", "done"]
    assert [cell["animation"] for cell in cells] == [None] * 4
    assert "log.txt and error.txt is, or leads to" in cells[1]["reason"]
    details = json.loads(gzip.decompress(base64.b64decode(told["runs"][0]["details"][2])))
    assert details["curves"][HARM] == [1] * len(details["curves"]["epoch"])  # text to the script


def test_names_that_are_no_unicode_are_replaced_everywhere(hostile: Run) -> None:
    page = render(payload([hostile], hostile.path))
    page.encode()  # nothing is left that UTF-8 has no letters for
    run = json.loads(Elements(page).scripts[0])["runs"][0]
    texts = (run["label"], run["path"], run["folder"], run["imported"][0]["name"])
    assert all(text.endswith("> ?") for text in texts)


def test_equal_logs_are_written_once(finished: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(finished.path, tmp_path / "copied"))
    for cell in run.cells[:3]:
        folder = run.folder(cell)
        shutil.rmtree(folder.path)
        folder.path.mkdir()
        (folder.path / "error.txt").write_text("why\nnowhere else\n")
    page = render(payload([run], run.path))
    assert page.count("nowhere else") == 2  # for those without scripts, and for the scripts
    (group,) = (
        found for found in re.findall("<details.*?</details>", page, re.S) if "why" in found
    )
    assert all(cell.name in group for cell in run.cells[:3])
    assert run.cells[3].name not in group


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        ("", "–"),
        (True, "true"),
        ([True, 0.1, None], "true, 0.1, –"),
        (20240101, "20240101"),
        (0.90001, "0.90001"),
        (1e-7, "1e-07"),
        (10**400, str(10**400)),
        (float("nan"), "nan"),
        ({"a": [1]}, "{'a': [1]}"),  # what no config has is told all the same
    ],
)
def test_values_of_a_config_keep_all_of_their_digits(value: object, words: str) -> None:
    assert shown(value) == words


@given(st.text())
def test_embedded_data_hold_no_markup_and_are_the_same_again(text: str) -> None:
    found = embedded({"text": text})
    assert not set("<>&") & set(found)
    assert json.loads(found) == {"text": text}


def test_embedded_data_hold_nothing_that_is_no_unicode() -> None:
    text = embedded({"path": "r\udcff"})
    assert json.loads(text.encode("utf-8", "replace")) == {"path": "r?"}


def test_a_page_is_known_by_its_head(finished: Run) -> None:
    page = render(payload([finished], finished.path))
    assert is_page(page[:400])
    assert not is_page("<!doctype html><title>notes</title>")
