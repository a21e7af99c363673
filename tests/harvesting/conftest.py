"""Tiny models of each family with random weights, in folders, with a tokenizer of words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = [f"w{number}" for number in range(60)]
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "</s>"]
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}


def make_network(family: str) -> Any:
    """A model of two layers, 16 wide, the same at each call."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_inner=32, vocab_size=64, n_positions=64
        )
        made = transformers.GPT2LMHeadModel(config)
    elif family == "llama":
        config = transformers.LlamaConfig(**SIZE, num_key_value_heads=1)
        made = transformers.LlamaForCausalLM(config)
    elif family == "bert":
        made = transformers.BertModel(transformers.BertConfig(**SIZE))
    else:
        config = transformers.GPTNeoXConfig(**SIZE, use_parallel_residual=family == "neox")
        made = transformers.GPTNeoXForCausalLM(config)
    for parameter in made.parameters():  # as they are, biases are 0 and layers do next to nothing
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def save_tokenizer(folder: Path, framed: bool) -> None:
    """A tokenizer of words; ``framed``: it puts [CLS] and [SEP] around a text, as BERT's does."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "eos_token": "</s>"}
    if framed:
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
        names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)


@pytest.fixture(scope="session")
def network() -> Callable[[str], Any]:
    """Makes the tiny model of a family."""
    pytest.importorskip("transformers")
    return make_network


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the tiny model of a family."""
    made: dict[str, Path] = {}

    def of(family: str) -> Path:
        if family not in made:
            path = tmp_path_factory.mktemp(family)
            make_network(family).save_pretrained(path)
            save_tokenizer(path, framed=family == "bert")
            made[family] = path
        return made[family]

    return of


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A folder of three documents, 1,200 words."""
    path = tmp_path / "texts"
    path.mkdir()
    generator = torch.Generator().manual_seed(0)
    for number, length in enumerate((500, 300, 400)):
        drawn = torch.randint(len(WORDS), (length,), generator=generator).tolist()
        (path / f"{number}.txt").write_text(" ".join(WORDS[word] for word in drawn))
    return path


@pytest.fixture
def write_config(folder: Callable[[str], Path], text: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes the config of a harvest, with other lines in place of some."""

    def write(family: str = "gpt2", **other: Any) -> Path:
        keys = {
            "model": folder(family),
            "sites": "[blocks.1.hook_resid_pre, blocks.0.mlp.hook_post]",
            "text": f"{{files: {text}}}",
            "context": 16,
            "batch_size": 4,
            "shard_rows": 100,
            "store_dtype": "float32",
            "device": "cpu",
            "out": tmp_path / "out",
            **other,
        }
        path = tmp_path / "harvest.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
        return path

    return write
