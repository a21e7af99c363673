"""What a cell's dictionary looks like over time, for GIFs and for tracking features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from saesweep.grid import SHOWN_FEATURES


class Track:
    """The snapshots of one cell: ``snapshots.safetensors``."""

    def __init__(self, probabilities: Tensor, *, keep_atoms: bool) -> None:
        count = min(SHOWN_FEATURES, len(probabilities))
        self.shown = probabilities.argsort(descending=True, stable=True)[:count].cpu()
        self.keep_atoms = keep_atoms
        self.records: dict[str, list[Tensor]] = {}

    def add(self, epoch: int, step: int, C: Tensor, dead: Tensor, atoms: Tensor) -> None:
        """Record C [n_features, dict_size], dead [dict_size] and atoms [dict_size, d_in]."""
        best_cosine, best_atom = (best.cpu() for best in C.max(dim=1))
        record = {
            "epoch": torch.tensor(epoch),
            "step": torch.tensor(step),
            "best_cosine": best_cosine,
            "best_atom": best_atom.to(torch.int32),
            "dead": dead.cpu(),
        }
        if self.keep_atoms:
            record["atoms"] = atoms.clone().cpu()
        else:
            shown = self.shown.to(C.device)
            best = best_atom.to(C.device)[shown]
            record["cosines"] = C[shown][:, best].half().cpu()
        for name, tensor in record.items():
            self.records.setdefault(name, []).append(tensor)

    def tensors(self) -> dict[str, Tensor]:
        """Each record stacked over snapshots [T, ...].

        ``epoch``, ``step`` [T]; ``best_cosine``, ``best_atom`` [T, n_features]: each feature's
        largest cosine and the atom that has it; ``dead`` [T, dict_size]; ``atoms`` [T, dict_size,
        d_in], or in large cells ``cosines`` [T, k, k] of the k = 64 most probable features with
        each other's best atoms.
        """
        return {name: torch.stack(tensors) for name, tensors in self.records.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.records = {name: list(stacked) for name, stacked in tensors.items()}
