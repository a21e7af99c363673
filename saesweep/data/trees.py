"""A hierarchy of features: which children fire where their parents do."""

from __future__ import annotations

import torch
from torch import Tensor

from saesweep.data_config import HierarchyConfig


class Trees:
    """Trees of features. Of the children of a parent that fires at most one does.

    Which one is a single draw: child c with probability p_c / p_parent, none with what is left. So
    child c fires with probability p_c in all.
    """

    def __init__(self, config: HierarchyConfig, probabilities: Tensor) -> None:
        """``probabilities`` [n_features], float64: siblings' sum to no more than their parent's."""
        self.branching = config.branching
        self.levels = config.levels()
        self.depth = config.depth
        self.scale_by_parent = config.scale_by_parent
        self.inner = self.levels[-1].start
        """The features up to this have children."""
        shares = probabilities[config.roots : self.levels[-1].stop].view(-1, config.branching)
        self.cumulative = (shares / probabilities[: self.inner, None]).cumsum(dim=1)
        """[inner, branching]: the children of a parent share [0, 1) in these steps"""

    def free(self, n_features: int) -> Tensor:
        """The features that are no one's children: roots, and those outside the trees."""
        outside = torch.arange(self.levels[-1].stop, n_features)
        return torch.cat([torch.arange(len(self.levels[0])), outside])

    def children(self, parents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For ``parents`` that fire: places in ``parents`` of those with a child that does, and it.

        The features of ``parents`` [k] may repeat, as they fire in many samples.
        """
        uniform = torch.rand(
            len(parents), 1, generator=generator, device=parents.device, dtype=torch.float64
        )
        which = (uniform >= self.cumulative[parents]).sum(dim=1)
        places = (which < self.branching).nonzero().squeeze(1)
        # Level by level, siblings side by side: the children of parent i follow those of i - 1.
        first = len(self.levels[0]) + parents[places] * self.branching
        return places, first + which[places]

    def to(self, device: str) -> Trees:
        """Itself, with its tensors on ``device``."""
        self.cumulative = self.cumulative.to(device)
        return self
