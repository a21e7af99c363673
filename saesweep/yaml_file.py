"""YAML read safely, with the line and column of everything in it, and written to be read back.

Scalars follow YAML 1.2's core schema (``1e-3`` is a number; ``no`` and ``1:30`` are text). Tags are
refused, a repeated key is an error, and aliases may not expand without bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from saesweep.errors import ConfigError

Location = tuple[str | int, ...]
"""Where a value stands in the document: ``("grid", "l1", 2)``."""

MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # after aliases are expanded; a bomb of nine aliases nested nine deep is 10^9
MAX_DEPTH = 50
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_NUMBERS = {
    ".inf": float("inf"),
    "+.inf": float("inf"),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}


@dataclass
class Document:
    """A YAML document as plain data, where each of its values stands, and what is wrong with it."""

    data: Any
    source: str
    marks: dict[Location, str] = field(default_factory=dict)
    keys: dict[Location, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def where(self, location: Location, *, key: bool = False) -> str:
        """``file:line:column`` of the value at ``location``, or of the nearest thing around it."""
        if key and location in self.keys:
            return self.keys[location]
        for length in range(len(location), -1, -1):
            if location[:length] in self.marks:
                return self.marks[location[:length]]
        return self.source

    def set(self, location: Location, value: Document) -> None:
        """Put another document's data at ``location``, making the mappings on the way."""
        target = self.data
        for step in location[:-1]:
            if not isinstance(target, dict) or not isinstance(target.get(step, {}), dict):
                raise ConfigError([f"{value.source}: {step!r} is not a section of {self.source}"])
            target = target.setdefault(step, {})
        if not isinstance(target, dict):
            raise ConfigError([f"{value.source}: {self.source} is not a mapping"])
        target[location[-1]] = value.data
        # What stood below is gone: errors there point at the new source.
        for known in (self.marks, self.keys):
            for old in [place for place in known if place[: len(location)] == location]:
                del known[old]
        for length in range(1, len(location)):
            self.marks.setdefault(location[:length], value.source)
        self.marks[location] = value.source
        self.problems += value.problems


def read(path: Path) -> Document:
    """The YAML document in the file at ``path``; ``ConfigError`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError([f"{path}: larger than 1 MiB; a config is a page of YAML"])
        return parse(raw.decode("utf-8-sig"), str(path))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not text in UTF-8"]) from None


def parse(text: str, source: str) -> Document:
    """The YAML document in ``text``; ``source`` names it in errors.

    >>> parse("lr: 1e-3", "a.yaml").data
    {'lr': 0.001}
    """
    try:
        composer = _Composer(text)
        root = composer.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError([f"{source}{_syntax_error(error)}"]) from None
    except yaml.reader.ReaderError as error:
        lines = (text[: error.position] + "x").splitlines()
        place = f"{source}:{len(lines)}:{len(lines[-1])}"
        found = f"the character {text[error.position]!a} is not allowed"
        raise ConfigError([f"{place}: not YAML: {found}"]) from None
    if composer.tags:
        text = "is not allowed; write the value without it"
        raise ConfigError(
            [f"{source}:{where}: the tag {tag!r} {text}" for where, tag in composer.tags]
        )
    document = Document(None, source)
    if root is not None:
        document.data = _Builder(document).build(root, ())
    return document


def dump(data: Any) -> str:
    """``data`` as YAML; `parse` of it gives the same.

    >>> print(dump({"name": "1e3", "lr": 1e-3}), end="")
    name: '1e3'
    lr: 0.001
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `parse` would take for something else, and writes aliases out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


class _Composer(yaml.BaseLoader):
    """Composes nodes, with an eye on tags and on size."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tags: list[tuple[str, str]] = []
        self.depth = self.count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if tag := getattr(event, "tag", None):  # an alias has none
            self.tags.append((_place(event.start_mark), tag.replace("tag:yaml.org,2002:", "!!")))
        self.count += 1
        self.depth += 1
        if self.count > MAX_NODES or self.depth > MAX_DEPTH:
            size = "nested too deeply" if self.depth > MAX_DEPTH else "too many values"
            raise yaml.MarkedYAMLError(problem=size, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _syntax_error(error: yaml.MarkedYAMLError) -> str:
    context, mark = error.context, error.problem_mark or error.context_mark
    if context and error.context_mark:
        context += f" from {_place(error.context_mark)}"
    text = ", ".join(part for part in (context, error.problem) if part)
    return f":{_place(mark)}: not YAML: {text}" if mark else f": not YAML: {text}"


def _place(mark: yaml.Mark) -> str:
    return f"{mark.line + 1}:{mark.column + 1}"


class _Builder:
    """Turns a tree of YAML nodes into plain data, filling a document's marks and problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def build(self, node: yaml.Node, location: Location) -> Any:
        where = self._where(node)
        self.document.marks[location] = where
        self.count += 1
        if self.count > MAX_NODES or len(location) > MAX_DEPTH:
            raise ConfigError([f"{where}: aliases without end; write the values out"])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*location, i)) for i, child in enumerate(node.value)]
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return _scalar(node.value) if plain else node.value

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = self._where(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.problems.append(f"{where}: a key must be a word")
                continue
            key = key_node.value
            if key in result:
                first = self.document.keys[(*location, key)]
                self.document.problems.append(
                    f"{where}: the key {key!r} was given before at {first}"
                )
                continue
            self.document.keys[(*location, key)] = where
            result[key] = self.build(value_node, (*location, key))
        return result

    def _where(self, node: yaml.Node) -> str:
        return f"{self.document.source}:{_place(node.start_mark)}"


def _scalar(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.lower() in _NUMBERS:
        return _NUMBERS[text.lower()]
    if len(text) > 100:  # no number needs more, and int() refuses thousands of digits
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
