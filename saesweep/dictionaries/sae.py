"""One sparse autoencoder, for use after training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from saesweep.dictionaries.variant import Variant
from saesweep.dictionaries.variants.relu import Relu
from saesweep.model_config import ReluOptions

PLAIN = Relu(ReluOptions(), [0.0])


@dataclass(frozen=True)
class SAE:
    """An autoencoder of any variant; by default latents = ReLU((x - b_dec) W_enc + b_enc).

    >>> import torch
    >>> eye = torch.eye(2)
    >>> sae = SAE(W_enc=eye, b_enc=torch.zeros(2), W_dec=eye, b_dec=torch.zeros(2))
    >>> sae.decode(sae.encode(torch.tensor([[1.0, -1.0]])))
    tensor([[1., 0.]])
    """

    W_enc: Tensor
    """[d_in, dict_size]"""
    b_enc: Tensor
    """[dict_size]"""
    W_dec: Tensor
    """[dict_size, d_in], the atoms: unit rows"""
    b_dec: Tensor
    """[d_in], zero where the model has no decoder bias"""
    variant: Variant = PLAIN
    """How it encodes and decodes."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """What its variant has beyond these: [dict_size] or []."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], variant: Variant) -> SAE:
        """The autoencoder of ``variant`` with these `tensors`; ``KeyError`` if one is missing."""
        own = {name: tensors[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
        extra = {name: part for name, part in tensors.items() if name not in own}
        there = {*variant.learned(len(own["b_enc"])), *variant.kept()}
        if {*extra} != there:
            raise KeyError(f"the variant has {sorted(there)}, and the weights {sorted(extra)}")
        return cls(**own, variant=variant, extra=extra)

    def encode(self, x: Tensor) -> Tensor:
        """Latents [..., dict_size] of activations ``x`` [..., d_in]."""
        return self.variant.encode(self.tensors(), x)

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstruction [..., d_in] from ``latents`` [..., dict_size]."""
        return self.variant.decode(self.tensors(), latents)

    def probabilities(self, x: Tensor) -> Tensor | None:
        """[..., dict_size] how probable it is that each latent is active; None if none is said."""
        return self.variant.probabilities(self.tensors(), x)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of ``sae.safetensors``."""
        return {
            "W_enc": self.W_enc,
            "b_enc": self.b_enc,
            "W_dec": self.W_dec,
            "b_dec": self.b_dec,
            **self.extra,
        }
