"""Decode a domain's images into the arrays of a store, and say which could not be."""

import errno
import itertools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PILImage

from dann_search.data.decode import UnreadableImageError
from dann_search.data.domain import SPLITS, Domain
from dann_search.data.splits import Splits
from dann_search.errors import InputError, counted, printable

UNREADABLE = "unreadable.txt"
"""Beside a store: every image that could not be decoded, and why."""

SHOWN = 20
DARK = 15
"""Largest grey level of an image that is as good as black, as 12 bits in a 16-bit file become."""

Failures = dict[int, str]
"""The numbers of images that cannot be decoded, and why not."""


def write_images(
    domains: Mapping[str, Domain],
    parts: Mapping[str, Splits],
    side: int,
    folder: Path,
    progress: Callable[[int, int], None],
) -> tuple[dict[str, Failures], dict[str, list[int]]]:
    """Write ``ROLE.SPLIT.images.npy``, uint8 of shape (n, 3, side, side), for each split.

    Decoding runs in threads, as many as the machine has cores: Pillow lets go of the interpreter.

    Returns:
        By role, the images that cannot be decoded, and the numbers of those that are black.
    """
    failed: dict[str, Failures] = {role: {} for role in domains}
    dark: dict[str, list[int]] = {role: [] for role in domains}
    done, total = itertools.count(1), sum(map(len, domains.values()))
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        # Pillow warns of images above 89 megapixels, and refuses those above twice that.
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        for role, split in itertools.product(domains, SPLITS):
            rows = parts[role][split]
            path = folder / f"{role}.{split}.images.npy"
            images = np.lib.format.open_memmap(
                path, mode="w+", dtype=np.uint8, shape=(len(rows), 3, side, side)
            )
            reserve(path)

            def decode(place: int, role=role, images=images, rows=rows) -> None:  # type: ignore[no-untyped-def]
                row = int(rows[place])
                try:
                    images[place] = pixels = domains[role].decode(row, side)
                    if pixels.max() <= DARK:
                        dark[role].append(row)
                except UnreadableImageError as exc:
                    failed[role][row] = exc.reason
                progress(next(done), total)

            list(pool.map(decode, range(len(rows))))
            images.flush()
    return failed, {role: sorted(rows) for role, rows in dark.items()}


def reserve(path: Path) -> None:
    """Have the disk keep room for a file of zeros: writing to a map of it fails by a signal.

    Raises:
        InputError: the disk is full, or the user's quota.
    """
    size = path.stat().st_size
    try:
        with open(path, "r+b") as file:
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{path}: {exc.strerror}: the packed images of this split take {size / 2**20:,.0f} "
                "MiB; make room, lower data.image_size, or choose another --storage"
            ) from None
        if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # what the file system cannot do
            raise


def dark_remark(domain: Domain, rows: Sequence[int]) -> str:
    """Return a remark on these black images."""
    return (
        f"{domain.name}: {counted(len(rows), 'image is', 'images are')} black, or nearly (no "
        f"value above {DARK} of 255), the first is {domain.places[rows[0]]}; 16-bit files that "
        f"hold 8 or 12 bits become so: "
        "say how many with grey_bits, or scale the values of colour images to 16 bits"
    )


def readable(
    domains: Mapping[str, Domain],
    failed: Mapping[str, Failures],
    policy: Literal["error", "skip"],
    folder: Path,
) -> tuple[dict[str, Domain], str]:
    """Drop the images that failed; return the domains and remarks about it.

    All of them are listed in ``folder / UNREADABLE``.

    Raises:
        InputError: the policy is ``error``; the message lists the images.
    """
    lines = [
        printable(f"{domains[role].places[row]}: {reason}")
        for role, failures in failed.items()
        for row, reason in sorted(failures.items())
    ]
    images = f"{sum(map(len, domains.values())):,} images"
    record = folder / UNREADABLE
    record.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shown = [*lines[:SHOWN], *([f"… all in {record}"] if len(lines) > SHOWN else [])]
    listed = "".join(f"\n    {line}" for line in shown)
    if policy == "error":
        raise InputError(
            f"{len(lines)} of {images} cannot be read:{listed}\nmend or remove them, or continue "
            f"without them: data.unreadable: skip"
        )
    left = {
        role: domain.subset([row for row in range(len(domain)) if row not in failed[role]])
        for role, domain in domains.items()
    }
    return left, f"{len(lines)} of {images} could not be read and were skipped:{listed}"
