"""The page is whole, and what a run says stays text in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saesweep.report.page import embedded, is_page, render
from saesweep.report.payload import payload
from saesweep.run_folder import Run

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
    assert "window.harmed" in page  # it is told, as text
    assert "<img src=x" not in page
    assert "<script>window" not in page
    assert json.loads(elements.scripts[0])["runs"][0]["cells"][0]["reason"].startswith("<script>")


@given(st.text())
def test_embedded_data_hold_no_markup_and_are_the_same_again(text: str) -> None:
    found = embedded({"text": text})
    assert not set("<>&") & set(found)
    assert json.loads(found) == {"text": text}


def test_a_page_is_known_by_its_head(finished: Run) -> None:
    page = render(payload([finished], finished.path))
    assert is_page(page[:400])
    assert not is_page("<!doctype html><title>notes</title>")
