"""A file that extends another: its keys replace the other's, one by one."""

from pathlib import Path
from typing import Any

from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, SourceFile, read_yaml

EXTENDS = "extends"
"""The key that names the other file."""
WHOLE = (("data", "source"), ("data", "target"), ("space",), ("weights",))
"""What is replaced as one: a folder in the place of a manifest, a range in that of a choice."""

OTHER = {"training": "space", "space": "training"}


def read_extended(path: Path, below: tuple[Path, ...] = ()) -> SourceFile:
    """Read an experiment file over those that it extends.

    A recipe's parameter that this file fixes is no longer searched, and one that it searches is no
    longer fixed.

    Raises:
        InputError: as ``read_yaml``, or the files extend each other in a cycle.
    """
    source = read_yaml(path)
    if EXTENDS not in source.content:
        return source
    named = source.content.pop(EXTENDS)
    if not isinstance(named, str):
        raise source.error((EXTENDS,), f"must be the path of a file, got {shown(named)}")
    above = source.base((EXTENDS,)) / named
    chain = (*below, path.resolve())
    if above.resolve() in chain:
        cycle = [file.name for file in (*chain[chain.index(above.resolve()) :], above.resolve())]
        raise source.error((EXTENDS,), f"the files form a cycle: {' -> '.join(cycle)}")
    if not above.is_file():
        raise source.error((EXTENDS,), f"no such file: {above}")
    extended = read_extended(above, chain)
    return _over(extended, source)


def _over(above: SourceFile, source: SourceFile) -> SourceFile:
    """Merge the content of ``source`` into that of the file it extends."""
    for section in OTHER:
        mine = source.content.get(section)
        for name in mine if isinstance(mine, dict) else ():
            take_from_other(above, section, name)
    # A preset's name is not that of what extends it: the file's own name is the better default.
    above.content.pop("name", None)
    merged = SourceFile(source.name, above.content, above.lines)
    _merge(merged, (), merged.content, source.content)
    merged.lines |= source.lines
    return merged


def take_from_other(source: SourceFile, section: str, name: str) -> None:
    """Drop a parameter from where it was: one that is fixed now is not searched, and vice versa."""
    other = OTHER[section]
    theirs = source.content.get(other)
    if isinstance(theirs, dict) and name in theirs:
        del theirs[name]
        source.forget((other, name))


def _merge(merged: SourceFile, path: KeyPath, into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        here = (*path, key)
        old = into.get(key)
        whole = here in WHOLE[:2] or path in WHOLE[2:]
        if isinstance(old, dict) and isinstance(value, dict) and not whole:
            _merge(merged, here, old, value)
        else:
            into[key] = value
            merged.forget(here)
