"""Registries of what users may add: methods, validators, augmentations, samplers, backbones.

An entry is a description and the code that does the work. The description feeds everything that
lists names: the JSON Schema, error messages, the recipe's fields, the report and the docs. Modules
that register entries import torch inside their functions: this room is loaded by light processes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from dann_search.config.entries import Code, Registry


@dataclass(frozen=True, kw_only=True)
class _Named:
    """Base of descriptions. Something prints each text that has no default, so none is empty."""

    name: str

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.default is MISSING and isinstance(value, str) and not value.strip():
                raise ValueError(f"{type(self).__name__} {self.name!r} needs its {one.name!r}")


Condition = Mapping[str, str | list[str]]


@dataclass(frozen=True, kw_only=True)
class Option(_Named):
    """A number of the recipe that a method or an augmentation brings along.

    Attributes:
        name: key under ``training`` and ``space``.
        neutral: value without any effect, the default; its type, int or float, is the option's.
        low, high: smallest and largest value.
        above_low: whether ``low`` itself is refused.
        unit: of the value, for axes of figures.
        description: one line for the schema, the docs and the report's table.
        words: what the report says of a value, with ``{value}``, or with ``{share}`` in percent.
        when: values that other fields must have for this one to have an effect.
    """

    neutral: float
    low: float = 0.0
    high: float = 1.0
    above_low: bool = False
    unit: str = ""
    description: str
    words: str
    when: Condition = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.isidentifier():
            raise ValueError(f"option name {self.name!r} must be letters, digits and '_'")
        if not self.low <= self.neutral <= self.high:
            raise ValueError(f"{self.name}: neutral {self.neutral} is not in its range")

    def told(self, value: float) -> str:
        """Return what the report says of a value."""
        return self.words.format(value=f"{value:.3g}", share=f"{100 * value:.3g} %")


@dataclass(frozen=True, kw_only=True)
class MethodSpec(_Named):
    """A way to use the target's images in training.

    Attributes:
        name: what users write under ``training.method``.
        words: sentence for the report, with its paper.
        term: its term of the loss, for the docs.
        source: where it was published, for the docs.
        adapts: whether target images are trained on.
        discriminator: what its domain discriminator sees: ``features``, or ``conditioned``, the
            products of features and class probabilities; empty without one.
        module: builds a module of its own of the number of features and of classes, which its loss
            finds as ``network.method_module``: trained as the heads are, part of checkpoints, left
            out of models. None without one.
        labels: whether its loss takes ``labels``, those of this worker's source images.
        classifier: its label classifier: ``linear``, or ``cosine``, which looks at the direction of
            features alone (``models.cosine_classifier``).
        strong_views: whether its loss takes ``strong``, logits (n, classes) of this worker's target
            images once more, under strong augmentation.
        target_labels: what it makes of labelled training images of the target, where
            ``data.target.labels`` gives some: ``used`` in a label loss of their own, ``unused``, or
            ``needed``.
        by_statistics: whether it adapts by the target's batch-norm statistics alone, gathered as
            by ``batch_norm: domain``; lambda then has nothing to weigh.
        trade_off: the published weight of its term. The loss gets lambda multiplied by it, so that
            ``lambda_max`` 1 means as published for every method.
        options: further fields of the recipe, given to its loss by their names.
    """

    words: str
    term: str
    source: str
    adapts: bool = True
    discriminator: str = ""
    module: Callable[[int, int], Any] | None = None
    labels: bool = False
    classifier: Literal["linear", "cosine"] = "linear"
    strong_views: bool = False
    target_labels: Literal["used", "unused", "needed"] = "used"
    by_statistics: bool = False
    trade_off: float = 1.0
    options: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.trade_off < math.inf:
            raise ValueError(f"{self.name}: trade_off must be above 0, got {self.trade_off}")
        if self.discriminator not in ("", "features", "conditioned"):
            raise ValueError(f"{self.name}: discriminator must be 'features' or 'conditioned'")


@dataclass(frozen=True, kw_only=True)
class ValidatorSpec(_Named):
    """A label-free score of an epoch; the higher, the better.

    Attributes:
        name: what users write under ``search.objective``.
        words: what it measures, for the docs.
        source: where it was published, for the docs.
    """

    words: str
    source: str


@dataclass(frozen=True, kw_only=True)
class AugmentationSpec(Option):
    """A random change of training images, and its amount as a field of the recipe.

    Attributes:
        numbers: random numbers in [0, 1) that one image needs.
        column: where they are in the table that our own augmentations share. None for numbers of
            its own, which leave those of all others as they are.
    """

    numbers: int = 1
    column: int | None = None


@dataclass(frozen=True, kw_only=True)
class SamplerSpec(_Named):
    """What proposes configurations.

    Attributes:
        name: what users write under ``search.sampler``.
        words: what it proposes by, for the docs.
        module: a module that must be installed for it; empty for none.
        install: what to give to pip where ``module`` is missing.
    """

    words: str
    module: str = ""
    install: str = ""


METHODS: Registry[MethodSpec] = Registry("method", "dann_search.training.methods")
VALIDATORS: Registry[ValidatorSpec] = Registry("validator", "dann_search.training.validators")
AUGMENTATIONS: Registry[AugmentationSpec] = Registry(
    "augmentation", "dann_search.data.augmentations"
)
SAMPLERS: Registry[SamplerSpec] = Registry("sampler", "dann_search.study.samplers")

REGISTRIES: dict[str, Registry[Any]] = {
    one.kind: one for one in (METHODS, VALIDATORS, AUGMENTATIONS, SAMPLERS)
}
"""By kind. ``models.registry`` adds that of backbones."""


def registered_here() -> dict[str, str]:
    """Return the module of each entry that only this process has, by kind and name."""
    return {
        f"{kind} {spec.name}": code.__module__
        for kind, registry in REGISTRIES.items()
        for spec, code in registry.unshared()
    }


def is_registered(entry: str) -> bool:
    """Return whether an entry of ``registered_here`` is registered in this process, too."""
    kind, _, name = entry.partition(" ")
    return kind in REGISTRIES and name in REGISTRIES[kind]


def register_method(spec: MethodSpec) -> Callable[[Code], Code]:
    """Add a method; the decorated function is its loss, as ``training.methods.terms.Adaptation``.

    Worker processes get it from a file under ``extensions``, from an entry point of the group
    ``dann_search.methods``, or, where a script or a notebook registers it, from this process. The
    other kinds have groups of their own in the same way.
    """
    return METHODS.register(spec)


def register_validator(spec: ValidatorSpec) -> Callable[[Code], Code]:
    """Add a validator; the function gives a number for a ``training.validators.ValidationView``."""
    return VALIDATORS.register(spec)


def register_augmentation(spec: AugmentationSpec) -> Callable[[Code], Code]:
    """Add an augmentation; the function is called with draws, random numbers and the amount.

    The numbers are a tensor of shape (images, ``spec.numbers``) on the CPU. The function changes
    the ``data.draws.Draws``; ``draws.then(change)`` adds any change of pixels.
    """
    return AUGMENTATIONS.register(spec)


def register_sampler(spec: SamplerSpec) -> Callable[[Code], Code]:
    """Add a sampler; the function makes an Optuna sampler of a ``SearchConfig`` and a seed."""
    return SAMPLERS.register(spec)
