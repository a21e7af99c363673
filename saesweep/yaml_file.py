"""YAML read safely, with the line and column of everything in it.

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
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_NUMBERS = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


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
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ConfigError([f"{place}: not YAML: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{source}: not YAML: {str(error).splitlines()[0]}"]) from None
    except RecursionError:
        raise ConfigError([f"{source}: nested too deeply"]) from None
    document = Document(None, source)
    if root is not None:
        document.data = _Builder(document).build(root, ())
    return document


class _Builder:
    """Turns a tree of YAML nodes into plain data, filling a document's marks and problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def build(self, node: yaml.Node, location: Location) -> Any:
        where = self._where(node)
        self.document.marks[location] = where
        self.count += 1
        if self.count > MAX_NODES or len(location) > 50:
            raise ConfigError([f"{where}: aliases or nesting without end; write the values out"])
        if node.tag not in _TAGS:
            self.document.problems.append(f"{where}: the tag {node.tag!r} is not allowed here")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*location, i)) for i, child in enumerate(node.value)]
        return _scalar(node.value) if node.style is None else node.value

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
                self.document.problems.append(f"{where}: the key {key!r} was given before at {first}")
                continue
            self.document.keys[(*location, key)] = where
            result[key] = self.build(value_node, (*location, key))
        return result

    def _where(self, node: yaml.Node) -> str:
        mark = node.start_mark
        return f"{self.document.source}:{mark.line + 1}:{mark.column + 1}"


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
