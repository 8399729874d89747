"""Write a domain that Python holds as image files and a manifest, which any search can name."""

import csv
import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dann_search.data.python_domains import Item, parts_of
from dann_search.errors import InputError, counted
from dann_search.storage.atomic_file import write_atomically

IMAGES = "images"
Row = dict[str, str]
"""A manifest's cells by column."""


def write_domain(
    data: Any, folder: str | Path, *, class_names: Sequence[str] | None = None
) -> Path:
    """Write images and labels of Python objects to a folder, as a domain for any search.

    ::

        manifest = dann_search.write_domain((images, labels), "domains/phone")
        dann_search.launch({"name": "mugs", "data": {"target": {"manifest": manifest}, …}})

    The folder gets a lossless file for each image, and a manifest of them. Each item is read once,
    and one is held at a time. The folder appears when it is complete. If it is there and holds the
    same images and labels, it is kept.

    Args:
        data: images; a pair (images, labels); a torch ``Dataset`` that has a length and yields
            (image, label); a ``datasets.Dataset``; or a dict of these by split, such as
            ``{"train": …, "test": …}``. Images are Pillow images, or arrays and tensors of uint8,
            (height, width) or with 1, 3 or 4 channels, first or last; or of uint16, if grey. Labels
            are class numbers or text; None and NaN where they are missing.
        folder: a new folder; its name is the domain's in tables.
        class_names: of class numbers; by default those of the data set (``classes``), or the
            numbers. With names, the class number -1 is a missing label.

    Returns:
        The manifest's path, for ``{"manifest": …}`` in an experiment.

    Raises:
        InputError: an item is no image or label, or the folder holds something else.
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    parts = parts_of(data, class_names)
    items = (item for part in parts for item in part.items())
    manifest = folder / f"{folder.name}.csv"
    if os.path.lexists(folder):
        _check_same(items, manifest)
        return manifest
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place and renamed: what is there is always whole.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            new = Path(name) / folder.name
            (new / IMAGES).mkdir(parents=True)
            rows = [_written(number, item, new) for number, item in enumerate(items)]
            write_atomically(new / manifest.name, _table(rows))
            _move(new, folder, manifest)
    except OSError as exc:
        raise InputError(f"{folder}: cannot be written: {exc.strerror or exc}") from None
    return manifest


def _written(number: int, item: Item, folder: Path) -> Row:
    row = _row(number, item)
    (folder / row["path"]).write_bytes(item.image.content)
    return row


def _row(number: int, item: Item) -> Row:
    """Return an image's row; the name of its file tells its content."""
    digest = hashlib.sha256(item.image.content).hexdigest()[:16]
    path = f"{IMAGES}/{number:06}-{digest}{item.image.extension}"
    return {"path": path, "label": item.label or "", "split": item.split or ""}


def _table(rows: Sequence[Row]) -> bytes:
    """Return the manifest; without labels or splits it has no column of them."""
    columns = ["path", *(key for key in ("label", "split") if any(row[key] for row in rows))]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _move(new: Path, folder: Path, manifest: Path) -> None:
    """Give a finished folder its name, unless another process just wrote the same."""
    written = (new / manifest.name).read_bytes()
    try:
        os.rename(new, folder)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not manifest.is_file() or manifest.read_bytes() != written:
            raise InputError(
                f"{folder}: another process wrote there; give another folder"
            ) from None


def _check_same(items: Iterator[Item], manifest: Path) -> None:
    """Hold what would be written against what is there, without writing.

    Raises:
        InputError: it differs, with the first item that does.
    """
    remedy = f"remove {manifest.parent}, or give another folder"
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            there = list(csv.DictReader(file))
    except (OSError, csv.Error, UnicodeDecodeError):
        raise InputError(
            f"{manifest.parent} exists and is no written domain; give another folder"
        ) from None
    count = 0
    for count, item in enumerate(items, 1):
        row = _row(count - 1, item)
        old = there[count - 1] if count <= len(there) else {}
        if any(old.get(key, "" if old else None) != value for key, value in row.items()):
            raise InputError(
                f"{manifest}: holds other images or labels than these, first at {item.where} (does "
                f"the data set change images at random?); {remedy}"
            )
        if not (manifest.parent / row["path"]).is_file():
            raise InputError(f"{manifest.parent / row['path']} is missing; {remedy}")
    if count < len(there):
        raise InputError(
            f"{manifest}: holds {counted(len(there), 'image')}, and these are {count}; {remedy}"
        )
