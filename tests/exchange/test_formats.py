"""Folders written and read back, and folders of others: each against what its library computes."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as torch_load_file
from safetensors.torch import save_file as torch_save_file
from torch import Tensor
from torch.nn.functional import relu

from saesweep.errors import RunError
from saesweep.exchange.folding import of_raw_activations
from saesweep.exchange.formats import FORMATS, Format, recognised
from saesweep.exchange.parts import Handed

from .conftest import NORMALIZATION, SIZE, VARIANTS, D, raw_samples, shaken

Case = tuple[str, float, dict[str, Any]]


def handed(variant: str, sparsity: float, keys: dict[str, Any]) -> Handed:
    sae = of_raw_activations(shaken(variant, sparsity, keys), NORMALIZATION)
    return Handed(sae, variant, {"model": "m", "site": "blocks.0.hook_resid_pre", "run": "r"})


def rebuilt(sae: Any, x: Tensor) -> Tensor:
    result: Tensor = sae.decode(sae.encode(x))
    return result


def able(to: str) -> list[Case]:
    variants = FORMATS[to].variants
    return [case for case in VARIANTS if variants is None or case[0] in variants]


@pytest.mark.parametrize(
    ("to", "case"), [(to, case) for to in FORMATS for case in able(to)], ids=str
)
def test_what_is_written_is_read(to: str, case: Case, tmp_path: Path) -> None:
    given, x = handed(*case), raw_samples()
    FORMATS[to].write(tmp_path, given)
    form = recognised(tmp_path)
    assert form is FORMATS[to]
    found = form.read(tmp_path)
    torch.testing.assert_close(rebuilt(found.sae, x), rebuilt(given.sae, x), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found.sae.encode(x), given.sae.encode(x), rtol=1e-5, atol=1e-4)
    assert {key: found.origin[key] for key in ("model", "site")} == {
        "model": "m",
        "site": "blocks.0.hook_resid_pre",
    }


@pytest.mark.parametrize("case", able("saelens"), ids=str)
def test_saelens_computes_the_same(case: Case, tmp_path: Path) -> None:
    if importlib.util.find_spec("sae_lens") is None:
        pytest.skip("no sae-lens is installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens
    given, x = handed(*case), raw_samples()
    FORMATS["saelens"].write(tmp_path, given)
    theirs = sae_lens.SAE.load_from_disk(tmp_path)
    with torch.no_grad():
        x_hat, latents = theirs(x), theirs.encode(x)
    torch.testing.assert_close(x_hat, rebuilt(given.sae, x), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(latents, given.sae.encode(x), rtol=1e-5, atol=1e-4)
    assert theirs.cfg.metadata.hook_name == "blocks.0.hook_resid_pre"


@pytest.mark.parametrize("case", able("dictionary_learning"), ids=str)
def test_dictionary_learning_computes_the_same(case: Case, tmp_path: Path) -> None:
    if importlib.util.find_spec("dictionary_learning") is None:
        pytest.skip("no dictionary-learning is installed")
    theirs = loaded_by_dictionary_learning(tmp_path, handed(*case))
    x = raw_samples()
    expected = rebuilt(handed(*case).sae, x)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), expected, rtol=1e-5, atol=1e-4)


def loaded_by_dictionary_learning(folder: Path, given: Handed) -> Any:
    """By the class that its `load_dictionary` chooses."""
    # The package imports it, for what is not used here.
    sys.modules.setdefault("nnsight", SimpleNamespace(LanguageModel=None))  # type: ignore[arg-type]
    from dictionary_learning import dictionary
    from dictionary_learning.trainers import batch_top_k, matryoshka_batch_top_k, top_k

    FORMATS["dictionary_learning"].write(folder, given)
    trainer = json.loads((folder / "config.json").read_text())["trainer"]
    homes = (dictionary, top_k, batch_top_k, matryoshka_batch_top_k)
    name = trainer["dict_class"]
    kind = next(getattr(home, name) for home in homes if hasattr(home, name))
    keys = {"k": trainer["k"]} if "k" in trainer else {}
    return kind.from_pretrained(str(folder / "ae.pt"), **keys)


# Folders as others write them


def theirs(folder: Path, config: dict[str, Any], **tensors: Tensor) -> Path:
    """A folder of SAELens, by hand."""
    common = {"architecture": "standard", "d_in": D, "d_sae": SIZE, "dtype": "float32"}
    (folder / "cfg.json").write_text(json.dumps({**common, **config}))
    arrays = {name: np.ascontiguousarray(part.numpy()) for name, part in tensors.items()}
    save_file(arrays, folder / "sae_weights.safetensors")
    return folder


def bare(atoms: float = 3.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = {"W_enc": (D, SIZE), "W_dec": (SIZE, D), "b_enc": (SIZE,), "b_dec": (D,)}
    w = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**w, "W_dec": atoms * w["W_dec"]}


def normal() -> Tensor:
    return torch.randn(100, D, generator=torch.Generator().manual_seed(6))


def test_an_encoder_that_sees_x(tmp_path: Path) -> None:
    w, x = bare(), normal()
    found = recognised(theirs(tmp_path, {"apply_b_dec_to_input": False}, **w)).read(tmp_path)
    expected = relu(x @ w["W_enc"] + w["b_enc"]) @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(rebuilt(found.sae, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.sae.W_dec.norm(dim=1), torch.ones(SIZE))


def test_a_gated_encoder_that_sees_x(tmp_path: Path) -> None:
    w, x = bare(), normal()
    w["b_gate"] = w.pop("b_enc")
    w["b_mag"], w["r_mag"] = torch.linspace(-1, 1, SIZE), torch.linspace(-0.5, 0.5, SIZE)
    config = {"architecture": "gated", "apply_b_dec_to_input": False}
    found = recognised(theirs(tmp_path, config, **w)).read(tmp_path)
    opened = (x @ w["W_enc"] + w["b_gate"] > 0).float()
    latents = opened * relu(x @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"])
    expected = latents @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(rebuilt(found.sae, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rescale", [False, True])
def test_topk_by_latents_or_by_their_size(rescale: bool, tmp_path: Path) -> None:
    w, x = bare(), normal()
    config = {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": rescale}
    found = recognised(theirs(tmp_path, config, **w)).read(tmp_path)
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    norms = w["W_dec"].norm(dim=1) if rescale else torch.ones(SIZE)
    values, places = (pre * norms).topk(3)
    latents = torch.zeros_like(pre).scatter(1, places, relu(values)) / norms
    expected = latents @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(rebuilt(found.sae, x), expected, rtol=1e-4, atol=1e-4)


def test_thresholds_below_zero_are_those_of_a_relu(tmp_path: Path) -> None:
    w, x = bare(), normal()
    w["threshold"] = torch.linspace(-1, 2, SIZE)
    found = recognised(theirs(tmp_path, {"architecture": "jumprelu"}, **w)).read(tmp_path)
    pre = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    expected = relu(pre * (pre > w["threshold"])) @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(rebuilt(found.sae, x), expected, rtol=1e-4, atol=1e-4)


def test_a_folder_of_an_earlier_saelens(tmp_path: Path) -> None:
    config = {
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 2},
        "normalize_activations": None,
        "hook_point": "blocks.8.hook_resid_pre",
        "model_name": "gpt2-small",
    }
    found = recognised(theirs(tmp_path, config, **bare())).read(tmp_path)
    assert (found.sae.encode(normal()) > 0).sum(dim=1).max() == 2
    assert found.origin == {"model": "gpt2-small", "site": "blocks.8.hook_resid_pre"}


@pytest.mark.parametrize(
    ("config", "change", "text"),
    [
        ({"architecture": "transcoder"}, {}, "architecture 'transcoder': standard, topk, jumprelu"),
        ({"normalize_activations": "layer_norm"}, {}, "normalize_activations is 'layer_norm'"),
        ({"architecture": "topk"}, {}, "has no k"),
        ({"architecture": "topk", "k": "3"}, {}, "k is '3': should be a valid integer"),
        ({"architecture": "topk", "k": 0}, {}, "k is 0, not a count from 1 to 16"),
        ({"apply_b_dec_to_input": "maybe"}, {}, "apply_b_dec_to_input is 'maybe': should be"),
        ({"architecture": "jumprelu"}, {}, "has no threshold"),
        ({"activation_fn_str": "tanh-relu"}, {}, "activation_fn is 'tanh-relu': relu and topk"),
        ({"finetuning_scaling_factor": True}, {}, "finetuning_scaling_factor is set"),
        ({}, {"W_dec": torch.zeros(D, SIZE)}, r"W_dec has shape \[6, 16\], not \[16, 6\]"),
        ({}, {"W_enc": torch.zeros(D)}, "not two axes"),
        ({}, {"b_enc": torch.full((SIZE,), torch.nan)}, "b_enc holds what is no finite number"),
        ({}, {"b_dec": torch.zeros(D, dtype=torch.int32)}, "b_dec holds int32, not floating"),
    ],
)
def test_what_cannot_be_read_is_said(
    config: dict[str, Any], change: dict[str, Tensor], text: str, tmp_path: Path
) -> None:
    theirs(tmp_path, config, **{**bare(), **change})
    with pytest.raises(RunError, match=text):
        recognised(tmp_path).read(tmp_path)


JUNK: list[Any] = [None, [], ["x"], {}, {"x": 1}, "x", -1, 0, 1.5, 1e300, 10**400, True, math.nan]


def places(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every key at any depth, and the mapping that it is in."""
    for key, value in tree.items():
        yield tree, key
        if isinstance(value, dict):
            yield from places(value)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("variant", ["relu", "topk", "jumprelu"])
def test_any_other_value_in_a_config_is_read_or_said(to: str, variant: str, tmp_path: Path) -> None:
    form = FORMATS[to]
    form.write(tmp_path, handed(*next(case for case in VARIANTS if case[0] == variant)))
    path = tmp_path / form.config
    config, refused = json.loads(path.read_text()), 0
    for within, key in [*places(config)]:
        before = within[key]
        for value in JUNK:
            within[key] = value
            path.write_text(json.dumps(config))
            try:
                rebuilt(form.read(tmp_path).sae, normal())
            except RunError as error:
                refused += 1
                assert len(str(error).splitlines()) == 1
                assert str(path) in str(error) or form.weights in str(error)
        within[key] = before
    assert refused > len(JUNK)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("variant", ["relu", "topk", "jumprelu", "gated"])
@pytest.mark.parametrize(
    "broken",
    [
        lambda part: part[None].repeat(2, *[1] * part.dim()),
        lambda part: part.flatten()[:3],
        lambda part: part.flatten()[0] if part.dim() else part[None],
        lambda part: part > 0,
        lambda part: part * 1j,
        lambda part: torch.full_like(part, -torch.inf),
        lambda part: part.double() * 1e300,
    ],
    ids=["axis", "short", "scalar", "bool", "complex", "infinite", "large"],
)
def test_any_other_tensor_is_said(
    to: str, variant: str, broken: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    form = FORMATS[to]
    form.write(tmp_path, handed(*next(case for case in VARIANTS if case[0] == variant)))
    whole = stored(tmp_path)
    for name in read_by(form, tmp_path):
        other = broken(whole[name].where(whole[name] != 0, 1.0))
        if name == "log_threshold" and other.dtype == torch.float32 and (other == -torch.inf).all():
            continue  # the threshold is 0
        if name == "threshold" and not other.dim():
            continue  # one for all latents
        store(tmp_path, {**whole, name: other})
        with pytest.raises(RunError) as caught:
            form.read(tmp_path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_read(to: str, dtype: torch.dtype, tmp_path: Path) -> None:
    given = handed("relu", 0.3, {})
    FORMATS[to].write(tmp_path, given)
    store(tmp_path, {name: part.to(dtype) for name, part in stored(tmp_path).items()})
    found = recognised(tmp_path).read(tmp_path).sae
    assert found.W_enc.dtype == torch.float32
    expected = given.sae.W_enc.to(dtype).float()
    torch.testing.assert_close(found.W_enc, expected, rtol=0.01, atol=1e-4)


def stored(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder of any format."""
    (path,) = [path for path in folder.iterdir() if path.suffix != ".json"]
    return torch.load(path) if path.suffix == ".pt" else torch_load_file(path)


def store(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Put ``tensors`` in the place of `stored`."""
    (path,) = [path for path in folder.iterdir() if path.suffix != ".json"]
    whole = {name: part.contiguous() for name, part in tensors.items()}
    torch.save(whole, path) if path.suffix == ".pt" else torch_save_file(whole, path)


def read_by(form: Format, folder: Path) -> list[str]:
    """The floating-point tensors without which ``form`` reads no folder."""
    needed, whole = [], stored(folder)
    for name, part in whole.items():
        store(folder, {other: whole[other] for other in whole if other != name})
        try:
            form.read(folder)
        except RunError:
            needed += [name] if part.is_floating_point() else []
    store(folder, whole)
    return needed


def test_a_topk_without_a_threshold(tmp_path: Path) -> None:
    """As dictionary_learning wrote them before it had one."""
    given = handed("topk", 3, {})
    FORMATS["dictionary_learning"].write(tmp_path, given)
    state = stored(tmp_path)
    del state["threshold"]
    store(tmp_path, state)
    found = recognised(tmp_path).read(tmp_path)
    torch.testing.assert_close(found.sae.encode(raw_samples()), given.sae.encode(raw_samples()))


def test_tensors_that_are_no_plain_numbers_are_said(tmp_path: Path) -> None:
    form = FORMATS["dictionary_learning"]
    form.write(tmp_path, handed("relu", 0.3, {}))
    whole = stored(tmp_path)
    name = "encoder.weight"
    for kind in (whole[name].to_sparse(), whole[name].to("meta")):
        torch.save({**whole, name: kind}, tmp_path / "ae.pt")
        with pytest.raises(RunError, match=r"W_enc holds (sparse_coo|no numbers), not floating"):
            form.read(tmp_path)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("which", ["config", "weights"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff" * 50])
def test_damage_is_said(to: str, which: str, content: bytes, tmp_path: Path) -> None:
    FORMATS[to].write(tmp_path, handed(*VARIANTS[0]))
    (tmp_path / getattr(FORMATS[to], which)).write_bytes(content)
    with pytest.raises(RunError):
        FORMATS[to].read(tmp_path)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    FORMATS["dictionary_learning"].write(tmp_path, handed(*VARIANTS[0]))
    (tmp_path / "ae.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(RunError, match="cannot be read as plain tensors"):
        recognised(tmp_path).read(tmp_path)
    torch.save(Bomb(), tmp_path / "ae.pt")
    with pytest.raises(RunError, match="cannot be read as plain tensors"):
        recognised(tmp_path).read(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_without_an_autoencoder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no autoencoder that can be read"):
        recognised(tmp_path)
    with pytest.raises(RunError, match="there is no such folder"):
        recognised(tmp_path / "nowhere")


def test_saelens_files_have_exactly_its_tensors(tmp_path: Path) -> None:
    """It refuses others."""
    FORMATS["saelens"].write(tmp_path, handed("matryoshka", 3, {}))
    arrays = load_file(tmp_path / "sae_weights.safetensors")
    shapes = {name: part.shape for name, part in arrays.items()}
    assert shapes == {
        "W_enc": (D, SIZE),
        "W_dec": (SIZE, D),
        "b_enc": (SIZE,),
        "b_dec": (D,),
        "threshold": (SIZE,),
    }
    assert len(set(arrays["threshold"].tolist())) == 1
