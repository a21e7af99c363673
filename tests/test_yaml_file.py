"""YAML as data with places: what is read, what is refused, and that nothing else can happen."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saesweep import yaml_file
from saesweep.errors import ConfigError

SOME = settings(derandomize=True, database=None, deadline=None, max_examples=150)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        yaml_file.parse(text, "c.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e4", 10_000.0),
        ("1E4", 10_000.0),
        ("+1.5e+2", 150.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("010", 10),  # YAML 1.1 says 8
        ("0", 0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # Text, all of it:
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),  # YAML 1.1 says 90
        ("0o10", "0o10"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("nan", "nan"),
        ("e3", "e3"),
        (".", "."),
        ("１２", "１２"),
        ("9" * 5000, "9" * 5000),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|-\n  1", "1"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    read = yaml_file.parse(f"a: {text}\n", "c.yaml").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(yaml_file.parse(".NaN", "c.yaml").data)


def test_every_value_and_key_has_its_place() -> None:
    document = yaml_file.parse("a:\n  b: [1,\n      {c: 2}]\n", "c.yaml")
    assert document.where(()) == "c.yaml:1:1"
    assert document.where(("a", "b", 0)) == "c.yaml:2:7"
    assert document.where(("a", "b", 1, "c")) == "c.yaml:3:11"
    assert document.where(("a", "b", 1, "c"), key=True) == "c.yaml:3:8"
    assert document.where(("a", "b", 1, "gone")) == "c.yaml:3:7"  # the nearest thing around it


def test_columns_count_characters() -> None:
    assert yaml_file.parse("ä😀: ['é', 2]", "c.yaml").where(("ä😀", 1)) == "c.yaml:1:11"


def test_an_empty_document_is_nothing() -> None:
    for text in ("", "   ", "# a comment\n", "---\n"):
        assert yaml_file.parse(text, "c.yaml").data is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read(end: str) -> None:
    document = yaml_file.parse(f"a: 1{end}b: 2{end}", "c.yaml")
    assert document.data == {"a": 1, "b": 2}
    assert document.where(("b",)) == "c.yaml:2:4"


def test_repeated_keys_are_reported_with_both_places() -> None:
    document = yaml_file.parse("a: 1\nb: {c: 1, c: 2}\na: 3\n", "c.yaml")
    assert document.problems == [
        "c.yaml:2:11: the key 'c' was given before at c.yaml:2:5",
        "c.yaml:3:1: the key 'a' was given before at c.yaml:1:1",
    ]
    assert document.data == {"a": 1, "b": {"c": 1}}


def test_keys_that_are_no_words_are_reported() -> None:
    document = yaml_file.parse("[1, 2]: 3\n{a: b}: 4\n", "c.yaml")
    assert document.problems == [
        "c.yaml:1:1: a key must be a word",
        "c.yaml:2:1: a key must be a word",
    ]


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!!python/object/apply:os.system ['ls']", "!!python/object/apply:os.system"),
        ("!!int 3", "!!int"),
        ("!!str 3", "!!str"),  # else it would silently be the number 3
        ("!!map {}", "!!map"),
        ("!own 3", "!own"),
        ("! 3", "!"),
        ("[!<tag:x,2000:y> 3]", "tag:x,2000:y"),
    ],
)
def test_tags_are_refused(value: str, tag: str) -> None:
    column = 5 if value.startswith("[") else 4
    assert refusal(f"a: {value}") == (
        f"c.yaml:1:{column}: the tag {tag!r} is not allowed; write the value without it"
    )


def test_all_tags_are_reported_at_once() -> None:
    assert [line.split(" ")[0] for line in refusal("a: !b 1\nc: [!d {}, !e []]").splitlines()] == [
        "c.yaml:1:4:",
        "c.yaml:2:5:",
        "c.yaml:2:12:",
    ]


def test_aliases_are_copies_with_the_place_of_their_anchor() -> None:
    document = yaml_file.parse("a: &x {y: 1}\nb: *x\n", "c.yaml")
    document.data["b"]["y"] = 2
    assert document.data == {"a": {"y": 1}, "b": {"y": 2}}
    assert document.where(("b", "y")) == "c.yaml:1:11"


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]", "a: &a {b: *a}", "&a [*a, *a]"])
def test_alias_bombs_and_circles_are_refused(text: str) -> None:
    assert re.fullmatch(r"c\.yaml:1:\d+: aliases without end; write the values out", refusal(text))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[" * 100_000, "1:51"),
        ("[" * 60 + "]" * 60, "1:51"),
        ("{a: " * 100_000, "1:198"),
        ("- " * 100_000, "1:101"),
        ("? " * 100_000, "1:101"),
    ],
)
def test_deep_nesting_is_refused_where_it_goes_too_deep(text: str, place: str) -> None:
    assert refusal(text) == f"c.yaml:{place}: not YAML: nested too deeply"


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_file, "MAX_NODES", 5)
    assert refusal("[1, 2,\n3, 4, 5, 6]") == "c.yaml:2:7: not YAML: too many values"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n---\nb: 2\n", "2:1: not YAML: expected a single document"),
        (
            "a: 1\n\tb: 2\n",
            "2:1: not YAML: while scanning for the next token, found character '\\t'",
        ),
        ("a: b: c\n", "1:5: not YAML: mapping values are not allowed here"),
        (
            'a: "b\nc: 1\n',
            "3:1: not YAML: while scanning a quoted scalar from 1:4, found unexpected",
        ),
        ("a: [1, 2\nb: 3\n", "2:2: not YAML: while parsing a flow sequence from 1:4, expected ','"),
        ("a: *b\n", "1:4: not YAML: found undefined alias 'b'"),
        (
            "- &a 1\n- &a 2\n",
            "2:3: not YAML: found duplicate anchor 'a'; first occurrence from 1:3",
        ),
        ("a: @b\n", "1:4: not YAML: while scanning for the next token, found character '@'"),
        ("%YAML 2.0\n---\na: 1\n", "1:1: not YAML: found incompatible YAML document"),
        ('x: 1\ny: "a\0"\n', "2:6: not YAML: the character '\\x00' is not allowed"),
        ("x: 1\r\ny: \x1b[2J\n", "2:4: not YAML: the character '\\x1b' is not allowed"),
        ("x: \ud800", "1:4: not YAML: the character '\\ud800' is not allowed"),
        ("x: 1\n" + "k" * 2000 + ": 1", "2:2001: not YAML: while scanning a simple key from 2:1"),
    ],
)
def test_what_is_not_yaml_is_refused_at_its_place(text: str, problem: str) -> None:
    assert refusal(text).startswith(f"c.yaml:{problem}")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: \xff\xfe", "not text in UTF-8"),
        (bytes(range(256)), "not text in UTF-8"),
        ("a: 1".encode("utf-16"), "not text in UTF-8"),
        (b"a: 1\n" * 300_000, "larger than 1 MiB; a config is a page of YAML"),
    ],
    ids=["bytes", "binary", "utf-16", "huge"],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        yaml_file.read(path)
    assert str(caught.value) == f"{path}: {problem}"


def test_files_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    for path, problem in ((tmp_path, "Is a directory"), (tmp_path / "no", "No such file")):
        with pytest.raises(
            ConfigError, match=rf"{re.escape(str(path))}: cannot be read: {problem}"
        ):
            yaml_file.read(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    document = yaml_file.read(path)
    assert document.data == {"a": 1}
    assert document.where(("a",)) == f"{path}:1:4"


def test_set_replaces_what_was_there_and_where_it_was() -> None:
    document = yaml_file.parse("a: {b: {c: 1}}\n", "c.yaml")
    document.set(("a", "b"), yaml_file.parse("{d: 2}", "--set"))
    assert document.data == {"a": {"b": {"d": 2}}}
    assert document.where(("a", "b", "d")) == "--set"
    assert document.where(("a", "b", "c"), key=True) == "--set"
    document.set(("new", "x"), yaml_file.parse("1", "--other"))
    assert document.where(("new",), key=True) == "--other"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**50), 10**50)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["1e3", "08", "no", "~", "null", "1:30", ".5", "- a", "a: b", "#", "*a", "!x"]
    )
)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@SOME
@given(DATA)
def test_what_was_dumped_is_read_back(data: Any) -> None:
    document = yaml_file.parse(yaml_file.dump(data), "c.yaml")
    assert document.data == data
    assert not document.problems


WORDS = ["b: ", "- ", ", ", ": ", "? ", "&x ", "*x", "!t ", "!!int ", "|\n", ">\n", "---\n", "1e3"]
TOKENS = st.sampled_from([*WORDS, "...\n", "%YAML 1.2\n", *"a[]{}'\"#\\ \té\n\ufeff"])


def survives(text: str) -> None:
    """Either a document or a ``ConfigError`` whose lines all say where."""
    try:
        document = yaml_file.parse(text, "c.yaml")
    except ConfigError as error:
        problems = str(error).split("\n")
    else:
        problems = document.problems
    for problem in problems:
        assert re.match(r"c\.yaml:\d+:\d+: .", problem), problem


@settings(SOME, max_examples=400)
@given(st.lists(TOKENS, max_size=25).map("".join))
def test_any_yaml_like_text_is_read_or_refused(text: str) -> None:
    survives(text)


@SOME
@given(st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs", "Cc"])))
def test_any_text_is_read_or_refused(text: str) -> None:
    survives(text)


@SOME
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        yaml_file.read(path)
    except ConfigError as error:
        assert all(line.startswith(f"{path}:") for line in str(error).split("\n"))
