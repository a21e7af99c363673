"""The `data` section of a config: the laws of synthetic activations, and what they need."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from saesweep.config_checks import Misfit, largest_mean
from saesweep.fields import (
    NonNegative,
    Positive,
    PositiveSpread,
    Range,
    Section,
    Size,
    Spread,
    Width,
    ends,
    whole,
)

MOST_CORRELATED = 8192
"""The most features for which there is a full correlation matrix (0.5 GiB in float64)."""
DENSE_FEATURES = 8192
"""With more features than this, only those are drawn that fire."""


Likely = Annotated[float, Field(ge=1e-9)]
"""Less is 0 in float32 for the rarer features."""


class HierarchyConfig(Section):
    """Trees of features: a child fires only with its parent, and alone among its siblings."""

    roots: Width
    """How many trees there are; the features 0, 1, … are their roots."""
    branching: Annotated[int, BeforeValidator(whole), Field(ge=1, le=1024)] = 4
    """Children of each parent. Features are numbered level by level; what is left is in no tree."""
    depth: Annotated[int, BeforeValidator(whole), Field(ge=1, le=20)] = 3
    """Levels of children under the roots."""
    scale_by_parent: bool = False
    """A child's coefficient is multiplied by its parent's, divided by the parent's
    `magnitude_mean`."""

    def levels(self) -> list[range]:
        """The features of each level, roots first.

        >>> HierarchyConfig(roots=2, branching=3, depth=1).levels()
        [range(0, 2), range(2, 8)]
        """
        sizes = [self.roots * self.branching**level for level in range(self.depth + 1)]
        starts = [sum(sizes[:level]) for level in range(self.depth + 2)]
        return [range(first, last) for first, last in pairwise(starts)]

    def limit(self, p: list[float]) -> None:
        """Scale siblings in ``p`` down, in place, where they sum to more than their parent."""
        for parents, children in pairwise(self.levels()):
            for i, parent in enumerate(parents):
                first = children.start + i * self.branching
                siblings = slice(first, first + self.branching)
                total = sum(p[siblings])
                if total > p[parent]:
                    p[siblings] = [share * (p[parent] / total) for share in p[siblings]]


class DataConfig(Section):
    """Synthetic activations: sparse sums of known features (docs/numbers.md)."""

    source: Literal["synthetic"] = "synthetic"
    """Where activations come from."""
    activation_dim: Width
    """d: how many numbers an activation has."""
    n_features: Width
    """n: how many true features there are, as unit directions in d dimensions."""
    directions: Literal["random", "pushed_apart"] = "random"
    """`random`: uniform on the sphere. `pushed_apart`: from there to the least sum of squared
    cosines."""
    probability_range: Range = None
    """[least, most]: the probabilities of the last and the first feature, in place of
    `mean_active`."""
    mean_active: Annotated[Likely | None, Field(validate_default=True)] = None
    """How many features are active in a sample, on average; this or `probability_range`."""
    probability_law: Literal["decay", "zipf"] = "decay"
    """The probability of feature i is proportional to `decay`: decay**i; `zipf`:
    (i + 1)**-zipf_exponent."""
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """For `probability_law: decay`; 1 makes all features equally likely."""
    zipf_exponent: Positive = 1.0
    """For `probability_law: zipf`."""
    rescale: bool = True
    """Rescale the probabilities to `mean_active`. `false` keeps decay**i * mean_active / n."""
    magnitudes: Literal["uniform", "half_normal", "rectified_normal"] = "uniform"
    """The coefficient of a feature that fires: uniform around its mean, |N(0, s²)|, or
    max(0, N(mean, std²))."""
    magnitude_mean: PositiveSpread = 0.5
    """Mean of the coefficients (before they are rectified): a number or [first, last], linear
    over features. `uniform` with 0.5 is uniform on [0, 1)."""
    magnitude_std: Spread | None = None
    """Their standard deviation, likewise. `null`: `uniform` begins at 0."""
    magnitude_std_spread: NonNegative = 0.0
    """For `rectified_normal`: each feature's standard deviation is |N(magnitude_std, spread²)|,
    drawn once."""
    correlation: Literal["none", "batch", "sample", "low_rank"] = "none"
    """`none`: features fire independently. `batch`: the features of one batch are likely
    together. `sample`: features co-occur within a sample (Gaussian copula). `low_rank`: the same
    with a few shared factors, for any number of features."""
    correlation_rank: Annotated[int, BeforeValidator(whole), Field(ge=1, le=1024)] = 25
    """For `low_rank`: how many factors."""
    correlation_scale: NonNegative = 0.1
    """For `low_rank`: standard deviation of the loadings of features on factors."""
    hierarchy: HierarchyConfig | None = None
    """Trees of features. `null`: none."""
    empty_samples: Literal["activate_one", "keep"] = "activate_one"
    """A sample in which nothing fires gets one feature with coefficient 1, or stays empty."""
    noise_std: Size = 0.0
    """Standard deviation of the noise that is added to each activation."""
    bias_norm: Size = 0.0
    """Norm of a constant vector, of random direction, that is added to every activation."""

    @field_validator("mean_active")
    @classmethod
    def _one_of_two(cls, mean: float | None, info: ValidationInfo) -> float | None:
        if mean is None and info.data.get("probability_range", True) is None:
            raise PydanticKnownError("missing")
        return mean

    def probabilities(self) -> Iterator[float]:
        """p_i for each feature: how likely it fires in a sample, empty ones not yet filled."""
        if self.hierarchy is None:
            return self._free_probabilities()
        p = list(self._free_probabilities())
        self.hierarchy.limit(p)
        return iter(p)

    @property
    def ratio_unit(self) -> tuple[int, str]:
        """What `grid.dict_ratio` is a multiple of, and its key."""
        return self.n_features, "n_features"

    def evaluation_bytes(self) -> int:
        """What a sample of the evaluation set takes: activation, coefficients, those not 0."""
        dense = 0 if self.is_sparse() else 4 * self.n_features
        return 4 * self.activation_dim + dense + int(24 * self.mean())

    def source_bytes(self) -> int:
        """What the source of batches keeps in memory, beside what is drawn once."""
        return 0

    def mean(self) -> float:
        """How many features are active in a sample, on average, empty ones not yet filled."""
        if self.mean_active is not None and self.rescale and self.hierarchy is None:
            return self.mean_active
        return sum(self.probabilities())

    def magnitude_ends(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of the coefficients of the first and the last feature."""
        means = ends(self.magnitude_mean)
        if self.magnitudes == "half_normal":
            return [(mean, mean * math.sqrt(math.pi / 2 - 1)) for mean in means]
        if self.magnitude_std is None:
            return [(mean, mean / math.sqrt(3)) for mean in means]
        return list(zip(means, ends(self.magnitude_std), strict=True))

    def is_sparse(self) -> bool:
        """Whether coefficients are drawn only where features fire."""
        by_law = self.hierarchy is not None or self.correlation == "low_rank"
        return by_law or self.n_features > DENSE_FEATURES

    def has_plain_magnitudes(self) -> bool:
        """Whether the coefficients of all features are uniform on [0, 1)."""
        standard = (self.magnitudes, self.magnitude_mean, self.magnitude_std)
        return standard == ("uniform", 0.5, None)

    def _free_probabilities(self) -> Iterator[float]:
        """p_i without a hierarchy."""
        n = self.n_features
        if self.probability_range is not None:
            least, most = self.probability_range
            last = self._weight(n - 1)
            scale = (most - least) / (1 - last) if last < 1 else 0.0
            return (min(most, least + scale * (self._weight(i) - last)) for i in range(n))
        largest = self._largest()
        return (min(1.0, largest * self._weight(i)) for i in range(n))

    def _weight(self, i: int) -> float:
        """What p_i is proportional to; 1 for feature 0."""
        return self.decay**i if self.probability_law == "decay" else (i + 1) ** -self.zipf_exponent

    def _largest(self) -> float:
        """p_0, by the formula: it may come out over 1."""
        assert self.mean_active is not None
        n, log = self.n_features, math.log(self.decay)
        if self.probability_law == "zipf":
            return self.mean_active / math.fsum(self._weight(i) for i in range(n))
        total = n if log == 0 else math.expm1(n * log) / math.expm1(log)  # Σ decay**i, i < n
        return self.mean_active / (total if self.rescale else n)

    def misfits(self) -> Iterator[Misfit]:
        """What does not go together."""
        yield from self._probability_misfits()
        yield from self._magnitude_misfits()
        yield from self._structure_misfits()
        for key, other, text in self._idle():
            yield _misfit(key, f"{text}; leave this out", other)

    def _probability_misfits(self) -> Iterator[Misfit]:
        if self.mean_active is not None and self.probability_range is not None:
            text = "mean_active is given too; keep one of them (the other may be null)"
            yield _misfit("probability_range", text, "mean_active")
        elif self.mean_active is not None and (largest := self._largest()) > 1 + 1e-9:
            # The largest mean that fits is never exact.
            text = (
                f"with {self.mean_active:g} feature 0 would fire with probability {largest:.4g}, "
                f"over 1; "
                f"the largest mean that fits is {largest_mean(self.mean_active / largest)}"
            )
            laws = ("n_features", "decay", "rescale", "probability_law", "zipf_exponent")
            yield _misfit("mean_active", text, *laws)
        elif self.probability_range is not None and self._weight(self.n_features - 1) == 1:
            least, most = self.probability_range
            if least != most:
                text = "features that are all equally likely have no range; set data.decay below 1"
                if self.n_features == 1:
                    text = "one feature has one probability: give it twice"
                yield _misfit("probability_range", text, "decay", "n_features")
        if self.correlation == "batch" and not self.rescale:
            text = "with correlation: batch the probabilities are always rescaled; leave this out"
            yield _misfit("rescale", text, "correlation")

    def _magnitude_misfits(self) -> Iterator[Misfit]:
        law = f"magnitudes: {self.magnitudes}"
        if self.magnitudes == "rectified_normal" and self.magnitude_std is None:
            yield _misfit("magnitude_std", f"{law} needs one", "magnitudes")
        below = self.magnitudes == "uniform" and any(
            mean < math.sqrt(3) * std * (1 - 1e-9) for mean, std in self.magnitude_ends()
        )
        if below:
            text = f"with {law} coefficients would be below 0; at most magnitude_mean / √3 fits"
            yield _misfit("magnitude_std", text, "magnitudes", "magnitude_mean")

    def _structure_misfits(self) -> Iterator[Misfit]:
        full = self.correlation in ("batch", "sample")
        if full and self.n_features > MOST_CORRELATED:
            text = (
                f"a full correlation matrix allows at most {MOST_CORRELATED} features; "
                "use correlation: low_rank or none"
            )
            yield _misfit("n_features", text, "correlation")
        if self.hierarchy is None:
            return
        total = self.hierarchy.levels()[-1].stop
        if total > self.n_features:
            text = f"its trees have {total:,} features, more than n_features: {self.n_features:,}"
            yield _misfit("hierarchy", text, "n_features")
        if full:
            text = f"not with correlation: {self.correlation}; use low_rank or none"
            yield _misfit("hierarchy", text, "correlation")

    def _idle(self) -> Iterator[tuple[str, str, str]]:
        """The keys that are given but would have no effect: each with the key that is why."""
        law = f"with probability_law: {self.probability_law} it has no effect"
        if self.probability_law == "zipf" and self.decay != 1:
            yield "decay", "probability_law", law
        if self.probability_law == "decay" and self.zipf_exponent != 1:
            yield "zipf_exponent", "probability_law", law
        if self.probability_law == "zipf" and not self.rescale:
            yield "rescale", "probability_law", law
        if self.probability_range is not None and not self.rescale:
            yield "rescale", "probability_range", "with probability_range it has no effect"
        if self.magnitudes == "half_normal" and self.magnitude_std is not None:
            yield "magnitude_std", "magnitudes", "of a half_normal it follows from the mean"
        for key, default in (("correlation_rank", 25), ("correlation_scale", 0.1)):
            if self.correlation != "low_rank" and getattr(self, key) != default:
                yield key, "correlation", f"with correlation: {self.correlation} it has no effect"
        if self.magnitudes != "rectified_normal" and self.magnitude_std_spread:
            yield "magnitude_std_spread", "magnitudes", "only rectified_normal has one"


def _misfit(key: str, text: str, *others: str) -> Misfit:
    """A misfit of `data.key`, which follows from it and from ``others`` of the section."""
    return Misfit(("data", key), text, [f"data.{one}" for one in (key, *others)])
