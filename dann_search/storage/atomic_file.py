"""Files written whole or not at all, and still there after a power cut."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

LEFT = ".*.[0-9]*"
"""Files that were being written when their process was killed, by their temporary names."""


def write_atomically(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Replace ``path`` by ``content``: a crash leaves the old or the new content, never a part.

    Content in pieces is written piece by piece, without a copy of the whole.

    What is written afterwards, the study above all, never tells of a file that a power cut took.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            exc.filename = exc.filename or str(path)  # a write itself does not know it
        with contextlib.suppress(OSError):  # a full disk must not be kept full by it
            temporary.unlink()
        raise
    sync_folder(path.parent)


def remove_left(folder: Path) -> None:
    """Delete what killed processes left half written in a folder that only the caller writes."""
    for path in folder.glob(LEFT):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk: a rename is a change of the folder, not of the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems do not know how to
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
