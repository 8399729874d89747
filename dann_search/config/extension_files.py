"""Files under ``extensions``: Python beside an experiment file that registers entries of its own.

A file is read once, by the driver. Its copies in the experiment, in ``best`` and on workers are
executed from the same text. One experiment's files are in use at a time: using those of another
removes their entries first.
"""

import hashlib
import linecache
import os.path
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from dann_search.config.entries import FILE_MODULE
from dann_search.config.extensions import REGISTRIES
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, SourceFile
from dann_search.errors import InputError, in_one_line
from dann_search.storage.atomic_file import write_atomically

KEY: KeyPath = ("extensions",)
LIMIT = 2**20
"""Bytes of a file: more than this is data."""


@dataclass(frozen=True)
class ExtensionFile:
    """A file's name, its text, and where it was read, for tracebacks."""

    name: str
    text: str
    place: str = field(compare=False)

    @property
    def sha256(self) -> str:
        """Hash of its text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def module(self) -> str:
        """Name of the module that it is executed as."""
        return FILE_MODULE + self.name.removesuffix(".py")


def stated_extensions(source: SourceFile) -> tuple[ExtensionFile, ...]:
    """Read the files that an experiment file names.

    Raises:
        InputError: one is missing, no Python file, or outside of the experiment file's folder; or
            two have the same name.
    """
    stated = source.content.get("extensions") or []
    if not isinstance(stated, list | tuple):
        raise source.error(KEY, f"must be a list of files, got {shown(stated)}")
    files: list[ExtensionFile] = []
    for number, value in enumerate(stated):
        here = (*KEY, number)
        file = _read(source, here, value)
        if file.name in {other.name for other in files}:
            raise source.error(here, f"two files are called {file.name}; rename one")
        files.append(file)
    return tuple(files)


def _read(source: SourceFile, here: KeyPath, value: Any) -> ExtensionFile:
    if not isinstance(value, str | Path) or Path(value).suffix != ".py":
        raise source.error(
            here, f"must be a Python file such as my_backbone.py, got {shown(value)}"
        )
    base = source.base(here)
    # Not resolved: the file itself may be a link.
    path = Path(os.path.normpath(base / value))
    if not path.is_relative_to(base):
        raise source.error(here, f"must be in {base} or below, beside the experiment; got {value}")
    if not path.is_file():
        raise source.error(here, f"no such file: {path}")
    try:
        return read_extension(path)
    except InputError as exc:
        raise source.error(here, str(exc)) from None


def read_extension(path: Path) -> ExtensionFile:
    """Read a file.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path}: cannot be read: {in_one_line(exc)}") from None
    if len(content) > LIMIT:
        raise InputError(f"{path}: has {len(content)} bytes; a Python file has at most {LIMIT}")
    return ExtensionFile(path.name, text, str(path))


def write_copies(folder: Path, files: Sequence[ExtensionFile]) -> None:
    """Copy files into a folder, which then has no others."""
    names = {file.name for file in files}
    for old in folder.glob("*.py"):
        if old.name not in names:
            old.unlink()
    for file in files:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / file.name, file.text.encode())


def read_copies(folder: Path, hashes: Mapping[str, str]) -> tuple[ExtensionFile, ...]:
    """Read the copies in a folder, whose recorded ``hashes`` are SHA-256 by name.

    Raises:
        InputError: a copy is missing or was changed.
    """
    files = []
    for name, recorded in hashes.items():
        file = read_extension(folder / Path(name).name)
        if file.sha256 != recorded:
            raise InputError(
                f"{file.place}: was changed: its SHA-256 is {file.sha256[:16]}…, recorded is "
                f"{recorded[:16]}…; put the file back, or launch the changed one under another name"
            )
        files.append(file)
    return tuple(files)


_lock = threading.RLock()
_in_use: tuple[ExtensionFile, ...] = ()


def extensions_in_use() -> tuple[ExtensionFile, ...]:
    """Return the files whose entries are registered."""
    return _in_use


def use_extensions(files: tuple[ExtensionFile, ...]) -> None:
    """Execute files, so that their entries are registered, and no longer those of other files.

    Raises:
        InputError: a file raises an exception; with its line.
    """
    global _in_use
    with _lock:
        if files == _in_use:
            return
        for registry in REGISTRIES.values():
            registry.load()  # names of ours come first, so that it is the file that is refused
            registry.forget_files()
        _in_use = ()
        for file in files:
            _execute(file)
        _in_use = files


def extension_of(code: Callable[..., Any]) -> ExtensionFile | None:
    """Return the file that defines a function, if it is one that is in use."""
    return next((file for file in _in_use if file.module == code.__module__), None)


def _execute(file: ExtensionFile) -> None:
    module = ModuleType(file.module)
    module.__file__ = file.place
    # Tracebacks and inspect show what was executed, whatever is in the file by now.
    lines = file.text.splitlines(keepends=True)
    linecache.cache[file.place] = len(file.text), None, lines, file.place
    sys.modules[file.module] = module
    try:
        exec(compile(file.text, file.place, "exec"), module.__dict__)
    except SystemExit as exc:
        raise InputError(f"{file.place}{_line(exc, file)}: ends the program: exit {exc}") from exc
    except Exception as exc:
        raise InputError(f"{file.place}{_line(exc, file)}: {in_one_line(exc)}") from exc


def _line(exc: BaseException, file: ExtensionFile) -> str:
    """Return the line of a file that raised an error, as ``:12``."""
    if isinstance(exc, SyntaxError) and exc.filename == file.place:
        return f":{exc.lineno}"
    frames = traceback.extract_tb(exc.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file.place]
    return f":{lines[-1]}" if lines else ""
