"""The variants of the autoencoder, and the keys that each has in a config's `model`.

Nothing here computes: `dictionaries/variants/` has a file for each. So a config is read, and
`saesweep status` answers, without torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from saesweep.config_checks import Misfit, refuse
from saesweep.errors import UsageError
from saesweep.fields import Count, Positive, Section
from saesweep.sparsity import AXES

GROUP = "saesweep.variants"
"""The entry points under which other packages offer variants of their own."""


class Options(Section):
    """The keys that every variant has; those of one are a subclass."""

    sparsity: ClassVar[str]
    """The axis of the grid that makes it sparse: a key of `sparsity.AXES`."""

    decoder_bias: bool = False
    """Learn b_dec, from the geometric median of activations on: x_hat = latents W_dec + b_dec, and
    the encoder sees x - b_dec."""
    project_gradient: bool = False
    """Take out of the decoder's gradient what points along its atoms, which normalising undoes."""

    def misfits(self, sparsity: float, dict_size: int) -> Iterator[str]:
        """What does not go together at a value of the sparsity axis and a dictionary size."""
        yield from ()


class ReluOptions(Options):
    """latents = ReLU(x W_enc + b_enc)."""

    sparsity: ClassVar[str] = "l1"
    penalty: Literal["lp", "tanh"] = "lp"
    """For relu. `lp`: l1 * Σ latents^lp. `tanh`: l1 * Σ tanh(latents)."""
    lp: Annotated[float, Field(gt=0, le=2)] = 1.0
    """For relu. The power of `penalty: lp`; 1 is L1."""
    tied: bool = False
    """For relu. The encoder is the decoder's transpose."""
    unit_norm: bool = True
    """For relu. `false`: atoms of any norm, and the penalty weighs each latent by its atom's."""

    def misfits(self, sparsity: float, dict_size: int) -> Iterator[str]:
        """A norm is fixed or free, an exponent is used or not."""
        if not self.unit_norm:
            if self.tied:
                yield "tied atoms have norm 1; leave unit_norm true"
            if self.project_gradient:
                yield "project_gradient is for atoms of norm 1, and unit_norm is false"
        if self.penalty == "tanh" and self.lp != 1:
            yield "lp is the power of `penalty: lp`, and the penalty is tanh"


class _CountOptions(Options):
    """Variants that keep k latents."""

    sparsity: ClassVar[str] = "k"

    def misfits(self, sparsity: float, dict_size: int) -> Iterator[str]:
        """No more latents than there are."""
        if sparsity > dict_size:
            yield f"k of {sparsity:g} is more than the {dict_size} latents of a dictionary"


class TopKOptions(_CountOptions):
    """The k largest latents of a sample."""


class BatchTopKOptions(_CountOptions):
    """The k largest latents a sample, over a batch; a threshold takes their place afterwards."""


class MatryoshkaOptions(_CountOptions):
    """Prefixes of the dictionary reconstruct as well as all of it; as batchtopk otherwise."""

    prefixes: Annotated[Count, Field(le=20)] = 4
    """For matryoshka. How many prefixes: all of the dictionary, half of it, a quarter, …"""

    def misfits(self, sparsity: float, dict_size: int) -> Iterator[str]:
        """Every prefix has a latent."""
        yield from super().misfits(sparsity, dict_size)
        if dict_size < 2 ** (self.prefixes - 1):
            yield f"{self.prefixes} prefixes, each half of the next, of {dict_size} latents only"


class JumpReluOptions(Options):
    """Latents above a threshold of their own that is learned, under an L0 penalty."""

    sparsity: ClassVar[str] = "l0_coefficient"
    threshold: Positive = 1e-3
    """For jumprelu. Where all thresholds start."""
    bandwidth: Positive = 1e-3
    """For jumprelu. Width of the kernel that stands in for the gradient at the jump."""


class GatedOptions(Options):
    """One path says which latents are active, another how strongly."""

    sparsity: ClassVar[str] = "l1"


class VariationalOptions(Options):
    """A sparse-prior variational autoencoder: latents have a probability of being active."""

    sparsity: ClassVar[str] = "prior_rate"
    prior: Literal["spike_slab", "laplace"] = "spike_slab"
    """For variational. `spike_slab`: a latent is active with probability prior_rate, and then
    normal. `laplace`: its density is that of a Laplace law with rate prior_rate."""
    slab_std: Positive = 1.0
    """For variational. Standard deviation of the slab."""
    kl_weight: Positive = 0.01
    """For variational. What the divergence from the prior weighs: twice the variance of the noise
    that the model assumes in each dimension of x."""

    def misfits(self, sparsity: float, dict_size: int) -> Iterator[str]:
        """A spike's rate is a probability."""
        if self.prior == "spike_slab" and not 0 < sparsity < 1:
            yield f"a prior_rate of {sparsity:g} is no probability between 0 and 1"
        if self.prior == "laplace" and sparsity == 0:
            yield "a Laplace prior has a prior_rate above 0"


BUILT_IN: dict[str, type[Options]] = {
    "relu": ReluOptions,
    "topk": TopKOptions,
    "batchtopk": BatchTopKOptions,
    "jumprelu": JumpReluOptions,
    "gated": GatedOptions,
    "matryoshka": MatryoshkaOptions,
    "variational": VariationalOptions,
}


@cache
def offered() -> dict[str, EntryPoint]:
    """The variants that installed packages offer, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def options_of(variant: str) -> type[Options]:
    """The keys of ``variant``, built in or offered by an installed package.

    >>> options_of("topk").sparsity
    'k'
    """
    if variant in BUILT_IN:
        return BUILT_IN[variant]
    point = offered()[variant]
    try:
        options: type[Options] = point.load().Options
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"the variant {variant} ({point.value}) cannot be loaded: {reason}"
        ) from error
    return options


def _known(variant: str) -> str:
    if variant in BUILT_IN or variant in offered():
        return variant
    names = ", ".join([*BUILT_IN, *offered()])
    raise PydanticCustomError("allowed", "should be one of {names}", {"names": names})


VariantName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"anyOf": [{"enum": [*BUILT_IN]}, {"type": "string"}]}),
]
"""One of `BUILT_IN`, or what an installed package offers under `GROUP`."""


def keys_of(variants: Sequence[str]) -> type[Section]:
    """A pydantic model with `variant` and every key of ``variants``, as `model` takes them."""
    fields: dict[str, Any] = {"variant": (VariantName, Field("relu", description=_VARIANT))}
    for variant in variants:  # the first has the word on a key's default
        for key, field in options_of(variant).model_fields.items():
            fields.setdefault(key, (field.annotation, field))
    return create_model("Model", __base__=Section, __doc__="The sparse autoencoder.", **fields)


_VARIANT = "Which autoencoder: relu, topk, batchtopk, jumprelu, gated, matryoshka, variational."

ModelKeys = keys_of([*BUILT_IN])
"""`model` with the keys of all built-in variants."""


def resolved(given: Any, grid: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """`model` as ``given``, beside the axes of ``grid``: checked, with every key of its variants.

    >>> resolved({"variant": "topk"}, {"k": [4]})
    {'variant': 'topk', 'decoder_bias': False, 'project_gradient': False}
    """
    names = grid.get("model.variant")
    named = given.get("variant") if isinstance(given, dict) else None
    own = [name for name in (names or [named]) if isinstance(name, str) and name in offered()]
    keys = (keys_of([*own, *BUILT_IN]) if own else ModelKeys).model_validate(given)
    names = names or [keys.variant]  # type: ignore[attr-defined]
    there = {key for name in names for key in options_of(name).model_fields}
    foreign = [] if "model.variant" in grid else _foreign(keys, there)
    refuse("model", (Misfit((key,), _owners(key, names), _VARIANTS) for key in foreign))
    used = keys.model_dump(include=there)
    return used if "model.variant" in grid else {"variant": names[0], **used}


def _foreign(keys: Section, there: Collection[str]) -> list[str]:
    """The keys that were given and are not ``there``; one with its default says nothing."""
    given = keys.model_fields_set - {"variant", *there}
    fields = type(keys).model_fields
    return sorted(key for key in given if getattr(keys, key) != fields[key].default)


_VARIANTS, _GRID = ("model", "grid.model.variant"), ("model", "grid")
"""What decides which variants there are, and which axes they need, for `Misfit.about`."""


def _owners(key: str, names: Sequence[str]) -> str:
    """Whose key it is, for an error."""
    known = [*BUILT_IN, *offered()]
    owners = [name for name in known if key in options_of(name).model_fields]
    return f"is for {', '.join(owners)}; the variant is {', '.join(names)}"


def variants_of(grid: Mapping[str, Sequence[Any]], model: Mapping[str, Any]) -> list[str]:
    """The variants of a grid, in its order."""
    return list(grid.get("model.variant") or [model["variant"]])


def axes_of(variant: str, grid: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The axes of ``grid`` that ``variant`` takes part in: not others' sparsity, nor their keys.

    >>> axes_of("topk", {"l1": [0.1], "k": [2, 4], "model.tied": [True], "dict_size": [8]})
    {'k': [2, 4], 'dict_size': [8]}
    """
    options = options_of(variant)
    axes: dict[str, Sequence[Any]] = {}
    for axis, values in grid.items():
        section, _, key = axis.partition(".")
        if axis == "model.variant":
            axes[axis] = [variant]
        elif section == "model":
            if key in options.model_fields:
                axes[axis] = values
        elif axis not in AXES or axis == options.sparsity:
            axes[axis] = values
    return axes


def axis_misfits(grid: Mapping[str, Sequence[Any]], model: Mapping[str, Any]) -> Iterator[Misfit]:
    """Sparsity axes that a variant lacks, and axes that it has not.

    Where the variants are an axis, those of others may stay: so the list may be cut short.
    """
    names = variants_of(grid, model)
    for name in names:
        axis = options_of(name).sparsity
        if axis not in grid:
            yield Misfit(("grid",), f"has no {axis}, which makes {name} sparse; give it", _GRID)
    if "model.variant" in grid:
        return
    there = axes_of(names[0], grid)
    for axis in grid:
        if axis in there:
            continue
        if axis in AXES:
            owners = [name for name, options in BUILT_IN.items() if options.sparsity == axis]
            text = f"is for {', '.join(owners)}; the variant is {', '.join(names)}"
        else:
            text = _owners(axis.partition(".")[2], names)
        yield Misfit(("grid", axis), text, _GRID)
