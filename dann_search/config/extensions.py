"""Registries of what users may add: methods, validators, augmentations, samplers, backbones.

An entry is a description and the code that does the work. The description feeds everything that
lists names: the JSON Schema, error messages, the recipe's fields, the report and the docs. Modules
that register entries import torch inside their functions: this room is loaded by light processes.
"""

import math
import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from dann_search.config.messages import shown
from dann_search.errors import InputError, in_one_line, nearest


class Described(Protocol):
    """What every description has."""

    @property
    def name(self) -> str: ...  # noqa: D102


Spec = TypeVar("Spec", bound=Described)
Code = TypeVar("Code", bound=Callable[..., Any])


FILE_MODULE = "dann_search_extension__"
"""What the names of modules begin with that are files under ``extensions``."""


class Registry(Mapping[str, Spec], Generic[Spec]):
    """Descriptions by name, each with its code.

    Entries come from a package of ours, whose modules register themselves when they are imported,
    and from entry points of other packages. Both are imported when the registry is first read.
    Files under ``extensions``, scripts and notebooks add theirs when they are executed.

    Args:
        kind: what an entry is called in messages; entry points are in ``dann_search.KINDs``.
        home: our own module, or package of modules, that registers entries; empty for none.
    """

    def __init__(self, kind: str, home: str = ""):
        self.kind, self.group = kind, f"dann_search.{kind}s"
        self._home = home
        self._entries: dict[str, tuple[Spec, Callable[..., Any] | None]] = {}
        self._followers: list[tuple[Callable[[Spec], None], Callable[[Spec], None]]] = []
        self._packages = {"dann_search"}
        self._loaded, self._lock = False, threading.RLock()

    def add(self, spec: Spec, code: Callable[..., Any] | None) -> None:
        """Register an entry. A module that is executed again replaces its own entries.

        Raises:
            ValueError: the name is taken by another module.
        """
        if spec.name in self._entries:
            owner = _module(self._entries[spec.name][1])
            if owner != _module(code):
                raise ValueError(f"the {self.kind} name {spec.name} is taken by {_shown(owner)}")
        for added, _ in self._followers:
            added(spec)
        self._entries[spec.name] = spec, code
        # The same order in every process, whichever module was imported first.
        self._entries = dict(sorted(self._entries.items(), key=lambda item: _place(item[1][1])))

    def register(self, spec: Spec) -> Callable[[Code], Code]:
        """Return a decorator that adds a function under its description."""

        def decorate(code: Code) -> Code:
            self.add(spec, code)
            return code

        return decorate

    def code(self, name: str) -> Callable[..., Any]:
        """Return the function that was registered under a name."""
        self.load()
        code = self._entries[name][1]
        assert code is not None, name
        return code

    def follow(self, added: Callable[[Spec], None], forgotten: Callable[[Spec], None]) -> None:
        """Call ``added`` for every entry, now or later, and ``forgotten`` for those that go."""
        for spec in list(self.values()):
            added(spec)
        self._followers.append((added, forgotten))

    def forget_files(self) -> None:
        """Remove the entries of files under ``extensions``."""
        for name, (spec, code) in list(self._entries.items()):
            if _module(code).startswith(FILE_MODULE):
                for _, forgotten in self._followers:
                    forgotten(spec)
                del self._entries[name]

    def unshared(self) -> list[tuple[Spec, Callable[..., Any]]]:
        """List entries that only this process has: those of a script, a notebook, a module."""
        self.load()
        return [
            (spec, code)
            for spec, code in self._entries.values()
            if code is not None
            and code.__module__.partition(".")[0] not in self._packages
            and not code.__module__.startswith(FILE_MODULE)
        ]

    def load(self) -> None:
        """Import the modules that register entries, once.

        Raises:
            InputError: an entry point of another package cannot be imported.
        """
        if self._loaded:
            return
        with self._lock:
            if self._loaded or self._loading:
                return
            self._loading = True
            try:
                if self._home:
                    _import_all(self._home)
                for point in entry_points(group=self.group):
                    _load_point(point)
                    self._packages.add(point.module.partition(".")[0])
                self._loaded = True
            finally:
                self._loading = False

    _loading = False
    """Set while this thread imports modules, which may read what there is so far."""

    def __getitem__(self, name: str) -> Spec:
        self.load()
        return self._entries[name][0]

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(list(self._entries))

    def __len__(self) -> int:
        self.load()
        return len(self._entries)


def _module(code: Callable[..., Any] | None) -> str:
    return code.__module__ if code else "dann_search"


def _shown(module: str) -> str:
    name = module.removeprefix(FILE_MODULE)
    return module if name == module else f"{name}.py"


def _place(code: Callable[..., Any] | None) -> tuple[bool, str]:
    """Sort our own entries before others, by module; sorting is stable within a module."""
    module = _module(code)
    return module.partition(".")[0] != "dann_search", module


def _import_all(home: str) -> None:
    """Import a module; of a package every module in it, in alphabetical order."""
    package = import_module(home)
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        import_module(f"{home}.{module.name}")


def _load_point(point: EntryPoint) -> None:
    try:
        point.load()
    except Exception as exc:
        package = point.dist.name if point.dist else "an unknown package"
        raise InputError(
            f"entry point {point.name} = {point.value} of {package} (group {point.group}) cannot "
            f"be loaded: {in_one_line(exc)}; repair or uninstall the package"
        ) from exc


RECORDED = {"recorded": True}
"""Validation context of what was valid once: its names may not be registered in this process."""


@dataclass(frozen=True)
class OneOf:
    """Annotates a text that must be one of the names that there are when it is checked."""

    names: Callable[[], Iterable[str]]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._checked, serialization=core_schema.to_string_ser_schema()
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.names())}

    def _checked(self, value: Any, info: ValidationInfo) -> str:
        names = list(self.names())
        if value not in names and info.context != RECORDED:
            raise ValueError(f"unknown value {shown(value)}; {nearest(value, names)}")
        return str(value)


def _require_words(spec: Any, *names: str) -> None:
    """Refuse an entry that something would have nothing to print of."""
    for name in ("name", *names):
        if not getattr(spec, name).strip():
            raise ValueError(f"{type(spec).__name__} {spec.name!r} needs its {name!r}")


Condition = Mapping[str, str | list[str]]


@dataclass(frozen=True, kw_only=True)
class Option:
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

    name: str
    neutral: float
    low: float = 0.0
    high: float = 1.0
    above_low: bool = False
    unit: str = ""
    description: str
    words: str
    when: Condition = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_words(self, "description", "words")
        if not self.name.isidentifier():
            raise ValueError(f"option name {self.name!r} must be letters, digits and '_'")
        if not self.low <= self.neutral <= self.high:
            raise ValueError(f"{self.name}: neutral {self.neutral} is not in its range")

    def told(self, value: float) -> str:
        """Return what the report says of a value."""
        return self.words.format(value=f"{value:.3g}", share=f"{100 * value:.3g} %")


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
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

    name: str
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
        _require_words(self, "words", "term", "source")
        if not 0 < self.trade_off < math.inf:
            raise ValueError(f"{self.name}: trade_off must be above 0, got {self.trade_off}")
        if self.discriminator not in ("", "features", "conditioned"):
            raise ValueError(f"{self.name}: discriminator must be 'features' or 'conditioned'")


@dataclass(frozen=True, kw_only=True)
class ValidatorSpec:
    """A label-free score of an epoch; the higher, the better.

    Attributes:
        name: what users write under ``search.objective``.
        words: what it measures, for the docs.
        source: where it was published, for the docs.
    """

    name: str
    words: str
    source: str

    def __post_init__(self) -> None:
        _require_words(self, "words", "source")


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
class SamplerSpec:
    """What proposes configurations.

    Attributes:
        name: what users write under ``search.sampler``.
        words: what it proposes by, for the docs.
        module: a module that must be installed for it; empty for none.
        install: what to give to pip where ``module`` is missing.
    """

    name: str
    words: str
    module: str = ""
    install: str = ""

    def __post_init__(self) -> None:
        _require_words(self, "words")


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
