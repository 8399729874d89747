"""A YAML file read with the line of every key, so that an error can name its place."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dann_search.errors import InputError

KeyPath = tuple[str | int, ...]


class SettingError(InputError):
    """Bad input under a key of the experiment file, found where only its content is at hand.

    ``SourceFile.placing`` adds the line of the key.
    """

    def __init__(self, path: KeyPath, message: str):
        super().__init__(f"{dotted(path)}: {message}")
        self.path, self.message = path, message


LARGEST = 1_000_000
"""Values that a file may state. Lines of aliases, each ten times the one before, are soon more."""


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does; to PyYAML's YAML 1.1 only 1.0e-3 is one."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class SourceFile:
    """A YAML file's plain content, the place of each key, and the command line's overrides.

    Keys of a file that it extends have their place there. ``relative_to`` is what relative paths
    are relative to; by default the folder of the file that states them.
    """

    name: str
    content: dict[str, Any]
    lines: dict[KeyPath, Place] = field(default_factory=dict)
    overridden: dict[KeyPath, str] = field(default_factory=dict)
    relative_to: Path | None = None

    def where(self, path: KeyPath) -> str:
        """Return the place of ``path``: ``file:line: key``, or the override that set it.

        The nearest parent's where the file has no such key.
        """
        n, key = len(path), dotted(path)
        parts = (origin for one, origin in self.overridden.items() if n and one[:n] == path)
        place = self._nearest(path) or next(parts, self.name)
        return f"{place}: {key}" if key else f"{place}"

    def base(self, path: KeyPath) -> Path:
        """Return the folder that a relative path at ``path`` is relative to.

        Its own file's; the working folder where the command line states it.
        """
        if self.relative_to:
            return self.relative_to
        nearest = self._nearest(path)
        if isinstance(nearest, str):
            return Path.cwd()
        return Path(nearest.file if nearest else self.name).parent.resolve()

    def _nearest(self, path: KeyPath) -> "str | Place | None":
        """Return the override or the line that states ``path``, or its nearest parent."""
        for length in range(len(path), 0, -1):
            part = path[:length]
            if found := self.overridden.get(part) or self.lines.get(part):
                return found
        return None

    def error(self, path: KeyPath, message: str) -> InputError:
        """Return an error about the value at ``path``."""
        return InputError(f"{self.where(path)}: {message}")

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Give each ``SettingError`` of the block the file and the line of its key."""
        try:
            yield
        except SettingError as exc:
            raise self.error(exc.path, exc.message) from None

    def override(self, path: tuple[str, ...], value: Any, origin: str) -> None:
        """Set the value at ``path``, as a command-line option would."""
        node = self.content
        for key in path[:-1]:
            if not isinstance(node.setdefault(key, {}), dict):
                raise InputError(f"{origin}: '{key}' holds a value, not a section")
            node = node[key]
        node[path[-1]] = value
        self.overridden[path] = origin
        self.forget(path)

    def forget(self, path: KeyPath) -> None:
        """Drop the lines of a value that is replaced."""
        for known in [known for known in self.lines if known[: len(path)] == path]:
            del self.lines[known]


def dotted(path: KeyPath) -> str:
    """Return a path as messages show it: ``search.budget.hours``."""
    return ".".join(map(_plain, path))


def _plain(key: str | int) -> str:
    """Return a key on one line, whatever is in it."""
    text = str(key)
    return text if text.isprintable() else repr(text)[1:-1]


def read_yaml(path: Path, keys: tuple[str, str] = ("name", "data")) -> SourceFile:
    """Read a YAML mapping safely; ``keys`` are two that a file of its kind has.

    Raises:
        InputError: the file is missing, unreadable, no YAML, no mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as exc:
        raise InputError(f"{path}: cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: cannot be read: not UTF-8 text") from None
    content, node = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        found = "an empty file" if content is None else f"a {type(content).__name__}"
        raise InputError(
            f"{path}: expected a mapping of keys such as '{keys[0]}:' and '{keys[1]}:', "
            f"found {found}"
        )
    source = SourceFile(str(path), content)
    _note_lines(node, (), source, frozenset(), set())
    return source


def parse_yaml(text: str, origin: str, *, one_line: bool = False) -> tuple[Any, yaml.Node | None]:
    """Parse YAML text into plain content and nodes; ``origin`` names it in errors.

    Raises:
        InputError: it is no valid YAML.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        if _values(node, {}) > LARGEST:
            raise InputError(f"{origin}: its aliases stand for more than {LARGEST:,} values")
        return yaml.load(text, Loader=_Loader), node
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f":{mark.line + 1}" if mark and not one_line else ""
        problem = str(getattr(exc, "problem", None) or exc).splitlines()[0]
        if "'\\t'" in problem:
            problem += "; indent with spaces, not with a tab"
        raise InputError(f"{origin}{line}: not valid YAML: {problem}") from None
    except RecursionError:
        raise InputError(f"{origin}: not valid YAML: nested too deeply") from None
    # An ill-formed date or tagged scalar escapes PyYAML as whatever its conversion raised.
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as exc:
        problem = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise InputError(f"{origin}: not valid YAML: {problem}") from None


def _values(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Count the values below a node, those that an alias repeats as often as it does."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = 0  # of an alias to what it is part of, which is refused later
        pairs = isinstance(node, yaml.MappingNode)
        parts = itertools.chain(*node.value) if pairs else node.value
        known[id(node)] = sum(_values(part, known) for part in parts)
    return known[id(node)]


def _note_lines(
    node: yaml.Node | None,
    path: KeyPath,
    source: SourceFile,
    above: frozenset[int],
    noted: set[int],
) -> None:
    """Note the line of each key; those of what an alias repeats only where it first occurs."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return
    if id(node) in above:
        line = node.start_mark.line + 1
        raise InputError(f"{source.name}:{line}: an alias repeats the section that it is part of")
    if id(node) in noted:
        return
    noted.add(id(node))
    above |= {id(node)}
    parts: list[tuple[str | int, yaml.Node, yaml.Node]] = (
        [(str(key.value), key, value) for key, value in node.value]
        if isinstance(node, yaml.MappingNode)
        else [(index, value, value) for index, value in enumerate(node.value)]
    )
    seen: set[str | int] = set()
    for name, marked, value in parts:
        line = marked.start_mark.line + 1
        if name in seen:
            raise InputError(f"{source.name}:{line}: duplicate key {name!r}")
        seen.add(name)
        source.lines[(*path, name)] = Place(source.name, line)
        _note_lines(value, (*path, name), source, above, noted)
