"""Find the image files that arguments of a command name: files, folders, patterns."""

import glob
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from dann_search.data.walk import LeftOut, images_below, is_dangling, is_hidden, is_image, no_image
from dann_search.errors import InputError


def image_files(words: Sequence[str | Path], left_out: LeftOut | None = None) -> Iterator[Path]:
    """Yield every file named, one at a time: a folder may hold more than fit into a list.

    A folder names all images below it, by extension, sorted by name, those in linked folders too. A
    pattern (``*``, ``?``, ``[…]``, ``**`` for nested folders) names the images it matches. A file
    names itself, whatever its extension. ``left_out`` gets what folders hold besides.
    """
    left_out = left_out or LeftOut()
    return itertools.chain.from_iterable(_files(str(word), left_out) for word in words)


def check_words(words: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    """Check that each argument names at least one file; return the arguments, one or several.

    Raises:
        InputError: one names none.
    """
    words = [words] if isinstance(words, (str, Path)) else words
    if not words:
        raise InputError("no images named: give files, folders or patterns")
    for word in words:
        if next(_files(str(word), LeftOut()), None) is None:
            raise InputError(_why_not(str(word)))
    return words


def _files(word: str, left_out: LeftOut) -> Iterator[Path]:
    path = Path(word).expanduser()
    if path.is_dir():
        yield from images_below(path, left_out)
    elif path.exists() or is_dangling(path):
        yield path
    elif glob.has_magic(word):
        for found in sorted(glob.iglob(str(path), recursive=True)):
            place = Path(found)
            hidden = any(is_hidden(part) for part in set(place.parts) - set(path.parts))
            if is_image(place) and not hidden and (place.is_file() or is_dangling(place)):
                yield place


def _why_not(word: str) -> str:
    path, left_out = Path(word).expanduser(), LeftOut()
    if path.is_dir():
        list(images_below(path, left_out))
        return f"{word}: no image in it {no_image(left_out)}"
    if glob.has_magic(word):
        return f"{word}: the pattern matches no image {no_image(left_out)}"
    return f"{word}: no such file or folder"
