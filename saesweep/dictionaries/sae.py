"""One sparse autoencoder, for use after training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SAE:
    """latents = ReLU((x - b_dec) W_enc + b_enc); x_hat = latents W_dec + b_dec.

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

    def encode(self, x: Tensor) -> Tensor:
        """Latents [..., dict_size] of activations ``x`` [..., d_in]."""
        return ((x - self.b_dec) @ self.W_enc + self.b_enc).relu()

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstruction [..., d_in] from ``latents`` [..., dict_size]."""
        return latents @ self.W_dec + self.b_dec

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of ``sae.safetensors``."""
        return {
            "W_enc": self.W_enc,
            "b_enc": self.b_enc,
            "W_dec": self.W_dec,
            "b_dec": self.b_dec,
        }
