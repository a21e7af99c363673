"""Config files: read with every error at its line, and written out in full."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from saesweep import yaml_file
from saesweep.config import SweepConfig, _GridModel, data_kind
from saesweep.config_checks import MISFIT
from saesweep.errors import ConfigError
from saesweep.model_config import ModelKeys
from saesweep.yaml_file import Document, Location

MOST_SHOWN = 30
"""How many problems of one config are reported."""

HARMLESS: dict[Any, dict[str, Any]] = {
    "data": {"activation_dim": 1, "n_features": 1, "mean_active": 1},
    "grid": {"l1": 0, "dict_ratio": 1},
}
"""The keys that have no default, with values that fit."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """The config in the YAML file at ``path``, with ``overrides`` like ``train.lr=1e-3`` on top.

    Raises ``ConfigError`` with one line for every problem: file, line, column, what was given and
    what is allowed.
    """
    return _overridden(yaml_file.read(Path(path)), overrides)


def changed(config: SweepConfig, overrides: Sequence[str]) -> SweepConfig:
    """``config`` with ``overrides`` like ``train.lr=1e-3`` on top.

    >>> config = parse_config('''
    ... data: {activation_dim: 3, n_features: 6, mean_active: 1}
    ... grid: {l1: [0.1], dict_size: [8]}
    ... ''')
    >>> changed(config, ["jobs.stack=1"]).jobs.stack
    1
    """
    return _overridden(yaml_file.parse(dump_config(config), "config"), overrides)


def _overridden(document: Document, overrides: Sequence[str]) -> SweepConfig:
    for override in overrides:
        try:
            override_in(document, override)
        except ConfigError as error:
            document.problems += error.problems
    return _validated(document)


def parse_config(text: str, source: str = "config") -> SweepConfig:
    """The config in the YAML ``text``; ``source`` names it in errors."""
    return _validated(yaml_file.parse(text, source))


def dump_config(config: SweepConfig) -> str:
    """The config as YAML, with defaults and axes written out.

    ``parse_config`` of the result gives the same config.
    """
    return yaml_file.dump(config.model_dump())


def json_schema() -> str:
    """The JSON schema of a config, for editors."""
    schema = SweepConfig.model_json_schema()
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2
    )


def override_in(document: Document, text: str) -> None:
    """Set the key in ``document`` that ``text``, as ``train.lr=1e-3``, says; or a problem of it."""
    source = f"--set {_short(text)}"
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
    try:
        config = SweepConfig.model_validate(document.data)
    except ValidationError as error:
        problems += [_explain(document, details) for details in _all_errors(document.data, error)]
    if problems:
        problems.sort(key=lambda problem: _line_and_column(problem, document.source))
        more = [f"{document.source}: … and {len(problems) - MOST_SHOWN} problems more"]
        raise ConfigError(problems[:MOST_SHOWN] + (more if len(problems) > MOST_SHOWN else []))
    return config


def _line_and_column(problem: str, source: str) -> tuple[float, float]:
    """Where in the file a problem is; overrides come after it."""
    place = re.match(r":(\d+):(\d+): ", problem.removeprefix(source))
    return (int(place[1]), int(place[2])) if place else (math.inf, 0)


def _all_errors(data: Any, error: ValidationError) -> list[ErrorDetails]:
    """The errors of ``data``, and what does not go together among its values that are right.

    pydantic looks for misfits only where everything before is right. So it looks again, with
    harmless values in place of those that are wrong, and the misfits that follow from these are
    left out.
    """
    errors = [details for details in error.errors() if details["type"] != MISFIT]
    wrong = {".".join(map(str, details["loc"][:2])) for details in errors}
    try:
        SweepConfig.model_validate(_mended(data, errors))
        return errors
    except ValidationError as again:
        misfits = [details for details in again.errors() if details["type"] == MISFIT]
    return errors + [
        misfit
        for misfit in misfits
        if not any(_overlap(about, place) for about in misfit["ctx"]["about"] for place in wrong)
    ]


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _mended(data: Any, errors: Sequence[ErrorDetails]) -> Any:
    """``data`` with harmless values in place of what ``errors`` are about."""
    if not isinstance(data, dict):
        return data
    mended = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for section, *rest in (details["loc"] for details in errors if details["loc"]):
        harmless = HARMLESS.get(section, {})
        target = mended.get(section)
        if not rest or not isinstance(target, dict):
            mended.pop(section, None)
            if harmless:
                mended[section] = dict(harmless)
        elif rest[0] in harmless:
            target[rest[0]] = harmless[rest[0]]
        else:
            target.pop(rest[0], None)
    return mended


def _explain(document: Document, error: ErrorDetails) -> str:
    """One line: where, which key, what was given, what is allowed."""
    location: Location = error["loc"]
    where, key = document.where(location), dotted(location)
    match error["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(location[-1]), _keys(document, location[:-1]), 1)
            hint = f"did you mean {close[0]}? " if close else ""
            where = document.where(location, key=True)
            return f"{where}: unknown key {key}: {hint}allowed: {_allowed(document, location[:-1])}"
        case "missing":
            return f"{where}: {key} is missing"
        case "misfit":
            return f"{where}: {key}: {error['msg']}"
        case "model_type" | "dict_type":
            text = f"should be a mapping with the keys {_allowed(document, location)}"
        case "too_short":
            text = "should have at least one value"
        case "too_long":
            text = f"should have at most {error['ctx']['max_length']} values"
        case _:
            text = error["msg"].removeprefix("Input ")
    return f"{where}: {key}: given {shown(error['input'])}: {text}"


def shown(given: Any) -> str:
    """What was ``given``, in at most 60 characters."""
    return (
        "nothing" if given is None else _short(json.dumps(given, ensure_ascii=False, default=str))
    )


def _short(text: str) -> str:
    """The beginning of ``text``, with escapes for what would upset a terminal."""
    text = text if len(text) <= 60 else text[:57] + "…"
    return text if text.isprintable() else ascii(text)


def dotted(location: Location) -> str:
    """``grid.l1[2]`` for ``("grid", "l1", 2)``."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{_short(step)}"
    return text.removeprefix(".") or "the config"


def _keys(document: Document, location: Location) -> list[str]:
    """The keys that are allowed in the section at ``location``."""
    model: type[BaseModel] = SweepConfig
    data = document.data.get("data") if isinstance(document.data, dict) else None
    special = {"grid": _GridModel, "model": ModelKeys, "data": data_kind(data)}
    for step in location:
        annotation = model.model_fields[str(step)].annotation
        kinds = get_args(annotation) or (annotation,)  # of a section that may be null, too
        model = special.get(str(step), kinds[0])
    return list(model.model_fields)


def _allowed(document: Document, location: Location) -> str:
    return ", ".join(_keys(document, location))
