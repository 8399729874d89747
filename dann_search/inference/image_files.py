"""Find the image files that arguments of a command name: files, folders, patterns."""

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dann_search.data.decode import EXTENSIONS
from dann_search.data.folder import is_hidden
from dann_search.errors import InputError


def image_files(words: Sequence[str | Path]) -> Iterator[Path]:
    """Yield every file named, one at a time: a folder may hold more than fit into a list.

    A folder names all images below it, by extension, sorted by name. A pattern (``*``, ``?``,
    ``[…]``, ``**`` for nested folders) names the images it matches. A file names itself, whatever
    its extension.
    """
    return itertools.chain.from_iterable(_files(str(word)) for word in words)


def check_words(words: Sequence[str | Path]) -> None:
    """Check that each argument names at least one file.

    Raises:
        InputError: one names none.
    """
    if not words:
        raise InputError("no images named: give files, folders or patterns")
    for word in words:
        if next(_files(str(word)), None) is None:
            raise InputError(_why_not(str(word)))


def _files(word: str) -> Iterator[Path]:
    path = Path(word).expanduser()
    if path.is_dir():
        yield from _below(path)
    elif path.exists():
        yield path
    elif glob.has_magic(word):
        for found in sorted(glob.iglob(str(path), recursive=True)):
            place = Path(found)
            if place.is_file() and place.suffix.lower() in EXTENSIONS:
                yield place


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        # os.walk descends into what is left in this list; hidden folders are other tools'.
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            if not is_hidden(name) and Path(name).suffix.lower() in EXTENSIONS:
                yield Path(place, name)


def _why_not(word: str) -> str:
    kinds = ", ".join(sorted(EXTENSIONS))
    if Path(word).expanduser().is_dir():
        return f"{word}: no image in it ({kinds})"
    if glob.has_magic(word):
        return f"{word}: the pattern matches no image ({kinds})"
    return f"{word}: no such file or folder"
