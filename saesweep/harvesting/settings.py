"""The YAML file of a harvest: which model, which sites, which text, what is kept."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from saesweep import yaml_file
from saesweep.config_checks import MOST
from saesweep.config_file import dotted, override_in, shown
from saesweep.errors import ConfigError, RunError
from saesweep.fields import Count, Section, whole
from saesweep.yaml_file import Document

NEUTRAL = ("device", "out")
"""Keys that may differ when a harvest is continued."""


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


Word = Annotated[str, Field(min_length=1)]
Words = Annotated[list[Word], BeforeValidator(_listed), Field(min_length=1)]


class TextConfig(Section):
    """Where text comes from: `files` or `dataset`, one of the two."""

    files: Words | None = None
    """Files, folders (all .txt in them, sorted by path), or `-` for standard input. Each file is a
    document."""
    dataset: Word | None = None
    """A name or folder for the library `datasets`; each row is a document."""
    subset: Word | None = None
    """Of the dataset, where it has several."""
    split: Word = "train"
    """Of the dataset."""
    column: Word = "text"
    """Of the dataset: where the text is."""


class DropConfig(Section):
    """Which positions are run but not written."""

    first: Annotated[int, BeforeValidator(whole), Field(ge=0, le=MOST)] = 1
    """So many positions at the start of each context. Many models use the first as a sink of
    attention: its activations are alike and huge."""
    special: bool = True
    """Special tokens, as those between documents and around a context."""


class HarvestConfig(Section):
    """A harvest."""

    model: Word
    """A folder of a model (or with one .gguf file), a .gguf file, or a name on the Hugging Face
    hub."""
    revision: Word | None = None
    """Of a model on the hub: a branch, tag or commit."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the model computes in."""
    sites: Words
    """As blocks.3.hook_resid_pre, or a module's path for its output, or path:input."""
    text: TextConfig
    context: Annotated[int, BeforeValidator(whole), Field(ge=2, le=2**20)] = 128
    """Tokens in a sequence, with the special ones that the tokenizer puts around it."""
    batch_size: Count = 8
    """Sequences in a forward pass."""
    tokens: Count | None = None
    """How many tokens to run, in whole sequences; else all of the text."""
    drop: DropConfig = DropConfig()
    store_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """What is written."""
    shard_rows: Count = 65_536
    """Rows in a file."""
    out: Word
    """The folder that is written."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda or cuda:N."""


def load(path: Path, overrides: Sequence[str] = ()) -> HarvestConfig:
    """The config in the YAML file at ``path``, with ``overrides`` like ``tokens=1e5`` on top.

    Raises ``ConfigError`` with one line for every problem.
    """
    document = yaml_file.read(path)
    for override in overrides:
        try:
            override_in(document, override)
        except ConfigError as error:
            document.problems += error.problems
    return _validated(document)


def located(config: HarvestConfig) -> HarvestConfig:
    """``config`` that means the same in any folder: local files by their whole paths."""
    text = config.text
    if text.files is not None:
        found = [name if name == "-" else _whole(name) for name in text.files]
        text = text.model_copy(update={"files": found})
    is_local = Path(config.model).expanduser().exists()  # else it is a name on the hub
    model = _whole(config.model) if is_local else config.model
    return config.model_copy(update={"model": model, "text": text})


def _whole(name: str) -> str:
    return str(Path(name).expanduser().resolve())


def dump(config: HarvestConfig) -> str:
    """The config as YAML, with its defaults written out."""
    return yaml_file.dump(config.model_dump())


def differences(before: Path, config: HarvestConfig) -> list[str]:
    """What ``config`` has otherwise than the written one at ``before``, a phrase for each key."""
    try:
        old = _flat(located(_validated(yaml_file.read(before))).model_dump())
    except ConfigError as error:
        raise RunError(f"{error.problems[0]}; not a harvest of this version") from None
    new = _flat(located(config).model_dump())
    return [
        f"{key} was {shown(old.get(key))}, now {shown(value)}"
        for key, value in new.items()
        if value != old.get(key) and key not in NEUTRAL
    ]


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _validated(document: Document) -> HarvestConfig:
    problems = list(document.problems)
    try:
        config = HarvestConfig.model_validate(document.data)
        problems += [f"{document.where(at)}: {text}" for at, text in _misfits(config)]
    except ValidationError as error:
        problems += [_explain(document, details) for details in error.errors()]
    if problems:
        raise ConfigError(problems)
    return config


def _misfits(config: HarvestConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """What does not go together among values that are right."""
    if (config.text.files is None) == (config.text.dataset is None):
        yield ("text",), "text: should have files or dataset, one of the two"
    if config.drop.first >= config.context:
        text = f"drop.first: given {config.drop.first}: nothing is left of {config.context} tokens"
        yield ("drop", "first"), text
    if config.tokens is not None and config.tokens < config.context:
        text = f"tokens: given {config.tokens}: less than one context of {config.context}"
        yield ("tokens",), text
    if len(set(config.sites)) < len(config.sites):
        yield ("sites",), "sites: one is given twice"


def _explain(document: Document, error: ErrorDetails) -> str:
    """One line: where, which key, what was given, what is allowed."""
    location, key = error["loc"], dotted(error["loc"])
    where = document.where(location)
    if error["type"] == "extra_forbidden":
        keys = list(_section(location[:-1]).model_fields)
        close = difflib.get_close_matches(str(location[-1]), keys, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        where = document.where(location, key=True)
        return f"{where}: unknown key {key}: {hint}allowed: {', '.join(keys)}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing"
    text = error["msg"].removeprefix("Input ")
    if error["type"] == "model_type":
        keys = list(_section(location).model_fields)
        text = f"should be a mapping with the keys {', '.join(keys)}"
    return f"{where}: {key}: given {shown(error['input'])}: {text}"


def _section(location: tuple[str | int, ...]) -> type[Section]:
    sections: dict[Any, type[Section]] = {"text": TextConfig, "drop": DropConfig}
    return sections[location[0]] if location else HarvestConfig
