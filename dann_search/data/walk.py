"""Find the images below a folder, by one rule for all commands: links are followed once."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dann_search.data.decode import EXTENSIONS
from dann_search.errors import InputError, counted, printable, some

OF_OTHER_TOOLS = {"@eadir", "__macosx", "#recycle", "@recycle", "$recycle.bin", "lost+found"}
"""Folders that network drives, archivers and file systems leave behind; some hold thumbnails."""
SHOWN = 5

Identity = tuple[int, int]
"""Device and inode of a folder: the same under every path that leads to it."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is other tools' own and holds no images to read."""
    return name.startswith(".") or name.casefold() in OF_OTHER_TOOLS


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in EXTENSIONS


def is_dangling(path: Path) -> bool:
    """Whether a link leads nowhere."""
    return path.is_symlink() and not os.path.exists(path)


@dataclass
class LeftOut:
    """What walks came across and did not return.

    Attributes:
        kinds: number of files by extension, or by name without one.
        hidden: number of hidden images by the hidden folder they are in.
        repeated: linked folders that lead to one that was read already, or contains them.
        closed: folders that cannot be read, with the reason, and what is neither file nor folder.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    repeated: list[Path] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def note_hidden(self, path: Path) -> None:
        """Count the images that a hidden file is, or a hidden folder holds."""
        if not path.is_dir():
            self.hidden["._*" if path.name.startswith("._") else ".*"] += is_image(path)
            return
        for _, _, names in os.walk(path):
            if images := sum(is_image(Path(name)) for name in names):
                self.hidden[path.name] += images

    def remarks(self, root: Path | None = None) -> tuple[str, ...]:
        """Return a sentence for each kind of what was skipped, below a folder if one is named."""
        found = []
        if self.kinds:
            one, many = "file of an unsupported type", "files of unsupported types"
            found.append(f"{counted(self.kinds.total(), one, many)} ({self.found()})")
        if hidden := +self.hidden:
            where = ", ".join(f"{count} in {name}" for name, count in hidden.most_common(SHOWN))
            found.append(f"{counted(hidden.total(), 'hidden image')} ({where})")
        if self.repeated:
            one, many = "link to a folder that was", "links to folders that were"
            links = counted(len(self.repeated), one, many)
            found.append(f"{links} already read: {some(map(str, self.repeated))}")
        if self.closed:
            places = counted(len(self.closed), "path that cannot", "paths that cannot")
            found.append(f"{places} be read: {some(self.closed)}")
        begin = f"{root}: skipped" if root else "skipped"
        return tuple(printable(f"{begin} {words}") for words in found)

    def found(self) -> str:
        """Return the kinds of the files that are no images, the most frequent first."""
        return ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common(SHOWN))


def no_image(left_out: LeftOut) -> str:
    """Return what is read as an image, and what was found instead."""
    kinds = ", ".join(sorted(EXTENSIONS))
    if not left_out.kinds:
        return f"({kinds})"
    return f"({kinds}); it holds {left_out.found()}: convert them to one of these kinds"


def folders_in(root: Path, left_out: LeftOut | None = None) -> list[Path]:
    """List the folders in a folder, linked ones too, but no hidden ones, sorted by name.

    Raises:
        InputError: a link that may be a folder leads nowhere.
    """
    left_out = left_out or LeftOut()
    above, found = _identities_to(root), []
    for path in sorted(root.iterdir()):
        if is_hidden(path.name):
            continue
        if path.is_dir():
            if path.is_symlink() and _identity(path) in above:
                left_out.repeated.append(path)
            else:
                found.append(path)
        elif not path.suffix and is_dangling(path):
            raise InputError(
                f"{path}: a link that leads nowhere (to {os.readlink(path)}); mount or mend what "
                "it leads to, or remove it"
            )
    return found


def images_in(root: Path, left_out: LeftOut | None = None) -> list[Path]:
    """List the images of a folder that lie in no folder of it, sorted by name.

    Links that lead nowhere and are called images are among them: reading them says so.
    """
    left_out, found = left_out or LeftOut(), []
    for path in _below(root, None, left_out):
        if is_image(path):
            found.append(path)
        else:  # a link that leads nowhere, perhaps to a folder that is not mounted
            left_out.closed.append(f"{path} (a link that leads nowhere)")
    return found


def images_below(root: Path, left_out: LeftOut | None = None) -> Iterator[Path]:
    """Yield the images below a folder in the order of their paths, one folder in memory at a time.

    Linked folders are followed, each folder once: none that contains ``root``. Links that lead
    nowhere count as images where they have no extension or that of one: reading them says so.
    """
    yield from _below(root, _identities_to(root), left_out or LeftOut())


def _below(folder: Path, read: set[Identity] | None, left_out: LeftOut) -> Iterator[Path]:
    """Yield the images below a folder but in those ``read``; None to enter no folder in it."""
    try:
        with os.scandir(folder) as found:  # knows most kinds without asking a slow disk again
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as exc:
        left_out.closed.append(f"{folder} ({exc.strerror})")
        return
    for entry in entries:
        path = folder / entry.name
        if is_hidden(entry.name):
            left_out.note_hidden(path)
        elif path.is_dir() if entry.is_symlink() else entry.is_dir():
            if read is None:
                continue
            if (identity := _identity(path)) in read:
                left_out.repeated.append(path)
                continue
            read.add(identity)
            yield from _below(path, read, left_out)
        elif entry.is_symlink() and is_dangling(path):
            if is_image(path) or not path.suffix:
                yield path
            else:
                left_out.closed.append(f"{path} (a link that leads nowhere)")
        elif not entry.is_file():  # a pipe, say: reading it would wait for ever
            left_out.closed.append(f"{path} (neither file nor folder)")
        elif is_image(path):
            yield path
        else:
            left_out.kinds[path.suffix or path.name] += 1


def _identity(folder: Path) -> Identity:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _identities_to(root: Path) -> set[Identity]:
    """Identify a folder and those that contain it, by its path as written and without links."""
    return {
        _identity(folder)
        for path in (root.absolute(), root.resolve())
        for folder in (path, *path.parents)
    }
