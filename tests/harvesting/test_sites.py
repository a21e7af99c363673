"""Each site against what it must be, computed from the weights or from other sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from saesweep.errors import UsageError
from saesweep.harvesting.harvest import Tap
from saesweep.harvesting.model import LanguageModel
from saesweep.harvesting.sites import POINTS, find

FAMILIES = ("gpt2", "neox", "neox_serial", "llama", "bert")
Network = Callable[[str], Any]
IDS = torch.arange(24).reshape(2, 12)
LAYERS = {
    "gpt2": "transformer.h",
    "neox": "gpt_neox.layers",
    "neox_serial": "gpt_neox.layers",
    "llama": "model.layers",
    "bert": "encoder.layer",
}
DOWN = {"gpt2": "mlp.c_proj", "llama": "mlp.down_proj", "bert": "output.dense"}
OUT = {"gpt2": "attn.c_proj", "llama": "self_attn.o_proj", "bert": "attention.output.dense"}
UP = {"gpt2": "mlp.c_fc", "llama": "mlp.gate_proj", "bert": "intermediate.dense"}
NEOX = ("mlp.dense_4h_to_h", "attention.dense", "mlp.dense_h_to_4h")


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def tap_of(model: Any, names: list[str]) -> Tap:
    wrapped = LanguageModel(model, None, True, "", None, torch.device("cpu"))
    return Tap(wrapped, {name: find(model, name) for name in names})


def taken(model: Any, names: list[str]) -> dict[str, Tensor]:
    return tap_of(model, names).rows(IDS, torch.ones_like(IDS, dtype=torch.bool))


def linear(module: Any, x: Tensor) -> Tensor:
    """What a Linear, or GPT-2's transposed one, makes of x, from its weights."""
    weight = module.weight if type(module).__name__ == "Conv1D" else module.weight.T
    bias = 0 if module.bias is None else module.bias
    return (x @ weight + bias).detach()


def points_of(family: str) -> list[str]:
    return [point for point in POINTS if (family, point) != ("neox", "hook_resid_mid")]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_point_follows_from_the_others(network: Network, family: str) -> None:
    model = network(family)
    names = [f"blocks.{layer}.{point}" for layer in (0, 1) for point in points_of(family)]
    sites = taken(model, names)
    close(sites["blocks.0.hook_resid_post"], sites["blocks.1.hook_resid_pre"])
    for number in (0, 1):
        at = {point: sites[f"blocks.{number}.{point}"] for point in points_of(family)}
        layer = model.get_submodule(f"{LAYERS[family]}.{number}")
        down, out, up = (
            layer.get_submodule(table.get(family, name))
            for table, name in zip((DOWN, OUT, UP), NEOX, strict=True)
        )
        close(linear(down, at["mlp.hook_post"]), at["hook_mlp_out"])
        close(linear(out, at["attn.hook_z"]), at["hook_attn_out"])
        _check_the_residual(family, layer, at)
        _check_the_nonlinearity(family, layer, up, at)


def _check_the_residual(family: str, layer: Any, at: dict[str, Tensor]) -> None:
    pre, post, mlp, attention = (
        at[name] for name in ("hook_resid_pre", "hook_resid_post", "hook_mlp_out", "hook_attn_out")
    )
    if family == "neox":  # both add to the same residual
        close(pre + attention + mlp, post)
    elif family == "bert":  # a norm after each addition
        close(layer.attention.output.LayerNorm(pre + attention), at["hook_resid_mid"])
        close(layer.output.LayerNorm(at["hook_resid_mid"] + mlp), post)
    else:
        close(pre + attention, at["hook_resid_mid"])
        close(at["hook_resid_mid"] + mlp, post)


def _check_the_nonlinearity(family: str, layer: Any, up: Any, at: dict[str, Tensor]) -> None:
    if family == "bert":
        read = at["hook_resid_mid"]
    elif family == "gpt2":
        read = layer.ln_2(at["hook_resid_mid"])
    else:
        residual = at["hook_resid_pre" if family == "neox" else "hook_resid_mid"]
        read = layer.post_attention_layernorm(residual)
    close(linear(up, read), at["mlp.hook_pre"])
    if family == "llama":
        gated = functional.silu(at["mlp.hook_pre"]) * linear(layer.mlp.up_proj, read)
        close(gated, at["mlp.hook_post"])
    else:
        kind = "tanh" if family == "gpt2" else "none"
        close(functional.gelu(at["mlp.hook_pre"], approximate=kind), at["mlp.hook_post"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_residual_is_what_the_model_itself_gives(network: Network, family: str) -> None:
    model = network(family)
    with torch.no_grad():
        given = model(IDS, output_hidden_states=True).hidden_states
    sites = taken(model, ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre"])
    close(sites["blocks.0.hook_resid_pre"], given[0].flatten(0, 1))
    close(sites["blocks.1.hook_resid_pre"], given[1].flatten(0, 1))


def test_any_module_by_its_path(network: Network) -> None:
    model = network("gpt2")
    path = "transformer.h.1.mlp.c_proj"
    sites = taken(model, [path, f"{path}:input", "blocks.1.mlp.hook_post", "blocks.1.hook_mlp_out"])
    assert torch.equal(sites[path], sites["blocks.1.hook_mlp_out"])
    assert torch.equal(sites[f"{path}:input"], sites["blocks.1.mlp.hook_post"])


def test_the_pass_ends_after_the_last_site(network: Network) -> None:
    model = network("gpt2")
    run = []
    model.transformer.h[1].register_forward_pre_hook(lambda *_: run.append(1))
    taken(model, ["blocks.0.hook_resid_post"])
    assert not run
    taken(model, ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"])
    assert run


def test_the_hooks_are_gone_afterwards(network: Network) -> None:
    model = network("llama")
    taken(model, ["blocks.0.hook_resid_mid"])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("family", "site", "said"),
    [
        ("gpt2", "blocks.2.hook_resid_pre", "the model has 2: blocks.0 to blocks.1"),
        ("gpt2", "blocks.0.hook_resid", "there are hook_resid_pre, hook_resid_mid"),
        ("gpt2", "transformer.h.1.mpl", "close modules: transformer.h.1.mlp"),
        ("gpt2", "transformer.h.1:left", "should end in :input or :output"),
        ("neox", "blocks.0.hook_resid_mid", "no such point: attention and MLP both read"),
    ],
)
def test_what_is_not_there_is_a_line(network: Network, family: str, site: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(network(family), site)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_no_known_family_says_so() -> None:
    with pytest.raises(UsageError, match="Linear is of no family whose blocks are known"):
        find(torch.nn.Linear(2, 2), "blocks.0.hook_resid_pre")


def test_a_module_that_is_not_run_is_a_line(network: Network) -> None:
    model = network("gpt2")
    model.idle = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="the model does not run its module idle"):
        tap_of(model, ["idle"]).try_out(IDS)
