"""A YAML file read with the line of every key, so that an error can name where it stands."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dann_search.errors import InputError

KeyPath = tuple[str | int, ...]


@dataclass
class SourceFile:
    """The plain content of a YAML file, the line of each key, and the overrides of the command line."""

    name: str
    content: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overridden: dict[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """The place of ``path``: ``file:line: key`` or the override that set it, nearest parent where absent."""
        key = ".".join(map(str, path))
        for length in range(len(path), 0, -1):
            if path[:length] in self.overridden:
                return f"{self.overridden[path[:length]]}: {key}"
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}: {key}"
        return f"{self.name}: {key}" if key else self.name

    def error(self, path: KeyPath, message: str) -> InputError:
        """An error about the value at ``path``."""
        return InputError(f"{self.where(path)}: {message}")

    def override(self, path: KeyPath, value: Any, origin: str) -> None:
        """Set the value at ``path``, as a command-line option would."""
        node = self.content
        for key in path[:-1]:
            if not isinstance(node.setdefault(key, {}), dict):
                raise InputError(f"{origin}: '{key}' holds a value, not a section")
            node = node[key]
        node[path[-1]] = value
        self.overridden[path] = origin


def read_yaml(path: Path) -> SourceFile:
    """Read a YAML mapping safely.

    Raises:
        InputError: the file is missing, unreadable, no YAML, no mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: cannot be read: {exc}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not valid YAML: {getattr(exc, 'problem', exc)}") from None
    except ValueError as exc:
        raise InputError(f"{path}: not valid YAML: {exc}") from None
    if not isinstance(content, dict):
        found = "an empty file" if content is None else f"a {type(content).__name__}"
        raise InputError(
            f"{path}: expected a mapping of keys such as 'name:' and 'data:', found {found}"
        )
    source = SourceFile(str(path), content)
    _note_lines(node, (), source)
    return source


def _note_lines(node: yaml.Node | None, path: KeyPath, source: SourceFile) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise InputError(
                    f"{source.name}:{key.start_mark.line + 1}: the key '{name}' stands twice"
                )
            seen.add(name)
            source.lines[(*path, name)] = key.start_mark.line + 1
            _note_lines(value, (*path, name), source)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            source.lines[(*path, index)] = value.start_mark.line + 1
            _note_lines(value, (*path, index), source)
