"""A registry: descriptions by name, each with its code, of ours and of other packages."""

import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

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
        if info.context == RECORDED:  # reading a search need not import what could be registered
            return str(value)
        names = list(self.names())
        if value not in names:
            raise ValueError(f"unknown value {shown(value)}; {nearest(value, names)}")
        return str(value)
