"""Config files: read with every error at its line, and written out in full."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from saesweep import yaml_file
from saesweep.config import SweepConfig, _GridModel
from saesweep.errors import ConfigError
from saesweep.yaml_file import Document, Location


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The config in the YAML file at ``path``, with ``overrides`` like ``train.lr=1e-3`` put over it.

    Raises ``ConfigError`` with one line for every problem: file, line, column, what was given and
    what is allowed.
    """
    document = yaml_file.read(Path(path))
    for override in overrides:
        _override(document, override)
    return _validated(document)


def parse_config(text: str, source: str = "config") -> SweepConfig:
    """The config in the YAML ``text``; ``source`` names it in errors."""
    return _validated(yaml_file.parse(text, source))


def dump_config(config: SweepConfig) -> str:
    """The config as YAML, with defaults and axes written out.

    ``parse_config`` of the result gives the same config.
    """
    return yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def json_schema() -> str:
    """The JSON schema of a config, for editors."""
    schema = SweepConfig.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2)


def _override(document: Document, text: str) -> None:
    source = f"--set {text}"
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError([f"{source}: should be key.path=value, as in train.lr=1e-3"])
    section, dot, rest = key.partition(".")
    # A key of the grid has a dot of its own: grid.train.lr is the axis "train.lr".
    location = (section, rest) if section == "grid" and dot else tuple(key.split("."))
    if document.data is None:
        document.data = {}
    document.set(location, yaml_file.parse(value, source))


def _validated(document: Document) -> SweepConfig:
    problems = list(document.problems)
    config = None
    if not isinstance(document.data, dict):
        problems.append(f"{document.source}: should be a mapping with the keys {_allowed(())}")
    else:
        try:
            config = SweepConfig.model_validate(document.data)
        except ValidationError as error:
            problems += [_explain(document, details) for details in error.errors()]
    if problems or config is None:
        raise ConfigError(problems)
    return config


def _explain(document: Document, error: ErrorDetails) -> str:
    """One line: where, which key, what was given, what is allowed."""
    location: Location = error["loc"]
    where, key = document.where(location), _dotted(location)
    match error["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(location[-1]), _keys(location[:-1]), 1)
            hint = f"did you mean {close[0]}? " if close else ""
            where = document.where(location, key=True)
            return f"{where}: unknown key {key}: {hint}allowed: {_allowed(location[:-1])}"
        case "missing":
            return f"{where}: {key} is missing"
        case "cross" | "grid" | "axis":
            return f"{where}: {key}: {error['msg']}"
        case "model_type" | "dict_type":
            text = "should be a mapping of keys to values"
        case "too_short":
            text = "should have at least one value"
        case _:
            text = error["msg"].removeprefix("Input ")
    return f"{where}: {key}: given {_shown(error['input'])}: {text}"


def _shown(given: Any) -> str:
    text = json.dumps(given, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _dotted(location: Location) -> str:
    """``grid.l1[2]`` for ``("grid", "l1", 2)``."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "the config"


def _keys(location: Location) -> list[str]:
    """The keys that are allowed in the section at ``location``."""
    model: type[BaseModel] = SweepConfig
    for step in location:
        annotation = SweepConfig.model_fields[str(step)].annotation
        model = _GridModel if step == "grid" else annotation  # type: ignore[assignment]
    return list(model.model_fields)


def _allowed(location: Location) -> str:
    return ", ".join(_keys(location))
