"""A domain from a list of image files: hashed, and 16-bit grey ones looked at for their range."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dann_search.data.decode import AS_IT_IS, Preparation, decode_image
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.image_pixels import bits_used
from dann_search.errors import counted, printable

DEEP = (".png", ".tif", ".tiff")
"""Extensions of files that may be 16-bit grey images."""


@dataclass(frozen=True)
class LabelledFile:
    """An image file, its class (None without) and, where its owner gave one, its split."""

    file: Path
    label: str | None
    split: str | None = None


def domain_of_files(
    name: str,
    files: Sequence[LabelledFile],
    remarks: tuple[str, ...] = (),
    class_names: Sequence[str] | None = None,
    how: Preparation = AS_IT_IS,
) -> Domain:
    """Make a domain of image files; their bytes are hashed, of 16-bit grey ones the range is found.

    Nothing else is decoded yet.
    """
    names = class_names or sorted({item.label for item in files if item.label is not None})
    index = {label: number for number, label in enumerate(names)}
    with ThreadPoolExecutor() as pool:
        keys = list(pool.map(_hash, (item.file for item in files)))
        bits = list(pool.map(_bits, (item.file for item in files)))
    given = [item.split for item in files if item.split is not None]
    deep = [number for number, one in enumerate(bits) if one]
    if deep and how.grey_bits is None:
        found = max(one for one in bits if one)
        how = Preparation(found, how.transparency)
        if found < 16:
            remarks += (
                f"{name}: {counted(len(deep), 'image of 16 bits holds', 'images of 16 bits hold')} "
                f"values of {found} bits, such as {files[deep[0]].file}: {2**found - 1} becomes "
                f"white (grey_bits says otherwise)",
            )
    return Domain(
        name=name,
        class_names=tuple(names),
        labels=np.array(
            [NO_LABEL if item.label is None else index[item.label] for item in files],
            dtype=np.int64,
        ),
        keys=keys,
        decode=lambda number, side: decode_image(files[number].file, side, how=how),
        places=[str(item.file) for item in files],
        splits=given or None,
        remarks=remarks,
        grey_bits=how.grey_bits if deep else None,
    )


def _bits(file: Path) -> int | None:
    return bits_used(file) if file.suffix.lower() in DEEP else None


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        # Decoding it will fail too, and then be told with all others.
        return f"unreadable {printable(str(file))}"
