"""Language models: from a folder, a GGUF file or the Hugging Face hub, ready to be looked into."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saesweep import files
from saesweep.errors import UsageError

INSTALL = "pip install 'saesweep[lm]'"
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model"]
_UNWANTED = ["*/*", "consolidated*"]


@dataclass(frozen=True)
class LanguageModel:
    """A model that only computes: in eval mode, without gradients."""

    model: nn.Module
    tokenizer: Any
    is_causal: bool
    """Whether it predicts the next token: then it has logits."""
    sha256: str
    """Of its weights."""
    revision: str | None
    """The commit on the hub that it is of."""
    device: torch.device


def load(
    model: str, revision: str | None = None, dtype: str = "float32", device: str = "auto"
) -> LanguageModel:
    """The model in the folder or GGUF file ``model``, or of that name on the hub.

    A folder never asks the hub. Weights are read from safetensors or GGUF; pickles are refused.
    Raises ``UsageError``, one or two lines, where there is no such model or nothing to load it.
    """
    transformers = _transformers()
    where = device_of(device)
    folder, gguf = _local(model)
    commit = None
    if folder is None:
        folder = _downloaded(model, revision)
        commit = folder.name
    elif revision is not None:
        raise UsageError(f"revision {revision}: {model} is a folder, which has no revisions")
    weights = _weights(model, folder, gguf)
    # Never its own code: without this the library asks on standard input, which may be the text.
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if gguf:
        options["gguf_file"] = gguf
    with _explained(model):
        config = transformers.AutoConfig.from_pretrained(folder, **options)
        is_causal = gguf is not None or _predicts(config)
        kind = transformers.AutoModelForCausalLM if is_causal else transformers.AutoModel
        loaded, info = kind.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
            **options,
            **({} if gguf else {"use_safetensors": True}),
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    # A pooler stands beside the layers, and many checkpoints have none.
    if lacking := sorted(name for name in info["missing_keys"] if "pooler" not in name):
        raise UsageError(f"{model}: its weights lack {len(lacking)} tensors, as {lacking[0]}")
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UsageError(f"{model}: has no tokenizer: its folder needs tokenizer.json or the like")
    rows = loaded.get_input_embeddings().num_embeddings
    if len(tokenizer) and max(tokenizer.get_vocab().values()) >= rows:
        raise UsageError(f"{model}: its tokenizer has more tokens than its {rows} embeddings")
    loaded.eval().requires_grad_(False).to(where)
    return LanguageModel(loaded, tokenizer, is_causal, _hash(weights), commit, where)


def device_of(name: str) -> torch.device:
    """``auto`` is a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {name}: this machine has {torch.cuda.device_count()} such devices"
        )
    return device


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError:
        raise UsageError(f"transformers is not installed: {INSTALL}") from None
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers


def _local(model: str) -> tuple[Path | None, str | None]:
    """The folder of ``model`` and its GGUF file's name; none, if it may be a name on the hub."""
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix == ".gguf":
            return path.parent, path.name
        raise UsageError(f"{model}: not a model: should be a folder or a .gguf file")
    if path.is_dir():
        if (path / "config.json").is_file():
            return path, None
        found = sorted(file.name for file in path.glob("*.gguf"))
        if len(found) == 1:
            return path, found[0]
        if found:
            raise UsageError(f"{model}: has several .gguf files; name one: {', '.join(found)}")
        raise UsageError(f"{model}: not a model: it has no config.json and no .gguf file")
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UsageError(f"{model}: no such folder")
    return None, None


def _downloaded(model: str, revision: str | None) -> Path:
    """The folder into which the hub's ``model`` is downloaded, if it is not there already."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            model, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except (OSError, ValueError, RuntimeError) as error:  # what the hub raises is one of these
        raise UsageError(
            f"{model}: no such folder, and not to be had from the hub: {_first_line(error)}"
        ) from None
    return Path(folder)


def _weights(model: str, folder: Path, gguf: str | None) -> list[Path]:
    """The files that hold the weights."""
    if gguf:
        return [folder / gguf]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UsageError(f"{index}: damaged: not an index of weights") from None
        found = [folder / name for name in names]
    else:
        found = [folder / "model.safetensors"]
    for path in found:
        if not path.is_file():
            raise UsageError(f"{model}: not a model: {path.name} is missing")
    return found


def _predicts(config: Any) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    return any(name in known for name in config.architectures or ())


def _hash(weights: list[Path]) -> str:
    """Of one file its SHA-256, of several that of theirs in a row."""
    each = [files.sha256(path) for path in weights]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


@contextlib.contextmanager
def _explained(model: str) -> Iterator[None]:
    """Say in a line what the library says in many, and keep its progress bars off the screen."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except ImportError as error:
        raise UsageError(f"{model}: {_first_line(error)}: {INSTALL}") from None
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the library, and those below it, raise errors of every kind
        why = _first_line(error)
        if "trust_remote_code" in str(error):
            why = "it brings code of its own, which is not run"
        if "ignore_mismatched_sizes" in why:
            why = "its weights have other shapes than its config.json says"
        raise UsageError(f"{model}: not a model that can be loaded: {why}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]
