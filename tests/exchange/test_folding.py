from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from saesweep.dictionaries.sae import SAE
from saesweep.dictionaries.variant import Variant, pre_activations
from saesweep.exchange.folding import (
    of_normalised_activations,
    of_raw_activations,
    with_unit_atoms,
)

from .conftest import NORMALIZATION, SIZE, VARIANTS, raw_samples, shaken


def in_double(sae: SAE) -> SAE:
    w = {name: part.double() for name, part in sae.tensors().items()}
    return SAE.of(w, sae.variant)


@pytest.mark.parametrize(("variant", "sparsity", "keys"), VARIANTS)
def test_raw_activations_give_what_normalised_ones_gave(
    variant: str, sparsity: float, keys: dict[str, Any]
) -> None:
    """The folded autoencoder against the three steps by hand, in float64."""
    sae, x = in_double(shaken(variant, sparsity, keys)), raw_samples().double()
    mean, scale = NORMALIZATION.mean.double(), NORMALIZATION.scale
    folded = of_raw_activations(sae, NORMALIZATION)
    latents = sae.encode((x - mean) * scale)
    assert 0.02 < (latents > 0).double().mean() < 0.98
    expected = sae.decode(latents) / scale + mean
    torch.testing.assert_close(folded.encode(x), latents / scale, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(folded.decode(folded.encode(x)), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(folded.W_dec, sae.W_dec)  # unit rows stay unit rows
    before, after = sae.probabilities((x - mean) * scale), folded.probabilities(x)
    if before is not None:
        torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("variant", "sparsity", "keys"), VARIANTS)
def test_the_way_back_is_the_inverse(variant: str, sparsity: float, keys: dict[str, Any]) -> None:
    sae = shaken(variant, sparsity, keys)
    back = of_normalised_activations(of_raw_activations(sae, NORMALIZATION), NORMALIZATION)
    for name, part in sae.tensors().items():
        torch.testing.assert_close(back.tensors()[name], part, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("variant", "sparsity", "keys"),
    [row for row in VARIANTS if row[0] in ("relu", "jumprelu", "gated", "variational")],
)
def test_atoms_of_any_norm_become_unit_atoms(
    variant: str, sparsity: float, keys: dict[str, Any]
) -> None:
    sae = in_double(shaken(variant, sparsity, keys))
    norms = torch.linspace(0.1, 30, SIZE, dtype=torch.float64)
    longer = SAE.of(dict(sae.variant.stretched(sae.tensors(), 1 / norms)), sae.variant)
    unit, x = with_unit_atoms(longer), raw_samples().double()
    torch.testing.assert_close(unit.W_dec.norm(dim=1), torch.ones(SIZE, dtype=torch.float64))
    expected = longer.decode(longer.encode(x))
    torch.testing.assert_close(unit.decode(unit.encode(x)), expected, rtol=1e-9, atol=1e-9)
    # The atoms that were stretched have norm 1 as far as float32 goes.
    torch.testing.assert_close(unit.encode(x), longer.encode(x) * norms, rtol=1e-6, atol=1e-6)


def test_an_atom_of_norm_zero_stays() -> None:
    sae = shaken("relu", 0.3, {})
    sae.W_dec[3] = 0
    assert with_unit_atoms(sae).W_dec[3].eq(0).all()
    assert all(part.isfinite().all() for part in with_unit_atoms(sae).tensors().values())


def test_a_variant_that_does_not_say_how_is_folded_without() -> None:
    """Its latents stay what they are; the atoms take the scale."""

    class Own(Variant):
        def encode(self, w: Any, x: torch.Tensor) -> torch.Tensor:
            return (pre_activations(w, x).relu() + 1).log()

    sae = in_double(shaken("relu", 0.3, {}))
    own, x = replace(sae, variant=Own(sae.variant.options, [0.3])), raw_samples().double()
    normalised = (x - NORMALIZATION.mean.double()) * NORMALIZATION.scale
    folded = of_raw_activations(own, NORMALIZATION)
    torch.testing.assert_close(folded.encode(x), own.encode(normalised), rtol=1e-9, atol=1e-9)
    expected = own.decode(own.encode(normalised)) / NORMALIZATION.scale + NORMALIZATION.mean
    torch.testing.assert_close(folded.decode(folded.encode(x)), expected, rtol=1e-9, atol=1e-9)
    back = of_normalised_activations(folded, NORMALIZATION)
    torch.testing.assert_close(back.W_dec, own.W_dec, rtol=1e-12, atol=1e-12)
