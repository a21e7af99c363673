"""Sites: the points of a model that the field has names for, and which module has them.

Names are TransformerLens's. A point is the input or the output of a module of the Hugging Face
model, which is all that a forward hook can see.

In BERT a LayerNorm follows each addition to the residual. There, `hook_resid_mid` and
`hook_resid_post` are what comes out of it: what the next part reads. (TransformerLens's are before
it: `…attention.output.LayerNorm:input` and `…output.LayerNorm:input`.)
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import nn

from saesweep.errors import UsageError

Side = Literal["input", "output"]
_NAME = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Site:
    """A point of a model: the input or output of ``module``, which is at ``path``."""

    module: nn.Module
    path: str
    side: Side


class _Family(NamedTuple):
    """Where a layer of one family of models has its points; the layer itself is ""."""

    name: str
    points: dict[str, tuple[str, Side]]


def _family(name: str, mid: tuple[str, Side], mlp: list[str], attention: str) -> _Family:
    """``mlp``: the modules before and after the nonlinearity, and the one that puts the MLP out."""
    before, after, out = mlp
    points: dict[str, tuple[str, Side]] = {
        "hook_resid_pre": ("", "input"),
        "hook_resid_mid": mid,
        "hook_resid_post": ("", "output"),
        "mlp.hook_pre": (before, "output"),
        "mlp.hook_post": (after, "input"),
        "hook_mlp_out": (out, "output"),
        "attn.hook_z": (attention, "input"),
        "hook_attn_out": (attention, "output"),
    }
    return _Family(name, points)


FAMILIES = (
    _family("GPT-2", ("ln_2", "input"), ["mlp.c_fc", "mlp.c_proj", "mlp.c_proj"], "attn.c_proj"),
    _family(
        "GPT-NeoX",
        ("post_attention_layernorm", "input"),
        ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.dense_4h_to_h"],
        "attention.dense",
    ),
    _family(
        "Llama",  # and SmolLM2, Mistral, Qwen2
        ("post_attention_layernorm", "input"),
        ["mlp.gate_proj", "mlp.down_proj", "mlp.down_proj"],
        "self_attn.o_proj",
    ),
    _family(
        "BERT",
        ("attention.output", "output"),
        ["intermediate.dense", "output.dense", "output.dense"],
        "attention.output.dense",
    ),
)
POINTS = tuple(FAMILIES[0].points)
"""What may follow `blocks.N.`."""


def find(model: nn.Module, site: str) -> Site:
    """The point of ``model`` that ``site`` names.

    ``blocks.N.POINT`` of a family that is known, or the path of a module for its output, or
    ``path:input``. Raises ``UsageError`` with what there is instead.
    """
    if named := _NAME.fullmatch(site):
        number, point = int(named[1]), named[2]
        if point in POINTS:
            return _point(model, site, number, point)
        if not any(
            True for path, _ in model.named_modules() if path == site.split(":", maxsplit=1)[0]
        ):
            allowed = ", ".join(POINTS)
            raise UsageError(f"{site}: no such point of a block; there are {allowed}")
    path, colon, side = site.partition(":")
    if colon and side not in ("input", "output"):
        raise UsageError(f"{site}: should end in :input or :output, or have no colon")
    modules = dict(model.named_modules())
    if not path or path not in modules:
        close = difflib.get_close_matches(path, list(modules), 3)
        instead = ", ".join(close) or ", ".join(name for name, _ in model.named_children())
        raise UsageError(
            f"{site}: no such site; close modules: {instead}; "
            f"or blocks.N. with one of {', '.join(POINTS)}"
        )
    return Site(modules[path], path, "input" if side == "input" else "output")


def _point(model: nn.Module, site: str, number: int, point: str) -> Site:
    family, path, layers = _layers(model, site)
    if number >= len(layers):
        last = len(layers) - 1
        raise UsageError(
            f"{site}: no such layer; the model has {len(layers)}: blocks.0 to blocks.{last}"
        )
    config: Any = model.config
    if point == "hook_resid_mid" and family.name == "GPT-NeoX" and config.use_parallel_residual:
        raise UsageError(
            f"{site}: this model has no such point: attention and MLP both read hook_resid_pre"
        )
    within, side = family.points[point]
    whole = f"{path}.{number}" + (f".{within}" if within else "")
    return Site(model.get_submodule(whole), whole, side)


def _layers(model: nn.Module, site: str) -> tuple[_Family, str, nn.ModuleList]:
    """The family of ``model``, and the path and list of its layers, told by the modules in them."""
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            inside = {name for name, _ in module[0].named_modules()}
            # A second norm around the MLP, as in Gemma 2, means that the points are elsewhere.
            if "pre_feedforward_layernorm" in inside:
                continue
            for family in FAMILIES:
                if all(within in inside for within, _ in family.points.values()):
                    return family, path, module
    names = ", ".join(family.name for family in FAMILIES)
    kind = type(model).__name__
    raise UsageError(
        f"{site}: {kind} is of no family whose blocks are known ({names}); give a module's path"
    )
