"""Decode a domain's images into the arrays of a store, and say which could not be."""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PILImage

from dann_search.data.decode import UnreadableImageError
from dann_search.data.domain import Domain
from dann_search.data.splits import Splits
from dann_search.errors import InputError

UNREADABLE = "unreadable.txt"
"""Beside a store: every image that could not be decoded, and why."""

SHOWN = 20
Failures = dict[int, str]
"""The numbers of images that cannot be decoded, and why not."""


def write_images(
    domain: Domain,
    parts: Splits,
    side: int,
    folder: Path,
    role: str,
    progress: Callable[[int, int], None],
) -> Failures:
    """Write ``ROLE.SPLIT.images.npy``, uint8 of shape (n, 3, side, side), for each split.

    Decoding runs in threads, as many as the machine has cores: Pillow lets go of the interpreter.
    """
    failed: Failures = {}
    done = itertools.count(1)
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        # Pillow warns of images above 89 megapixels, and refuses those above twice that.
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        for split, rows in parts.items():
            path = folder / f"{role}.{split}.images.npy"
            images = np.lib.format.open_memmap(
                path, mode="w+", dtype=np.uint8, shape=(len(rows), 3, side, side)
            )

            def decode(place: int, images=images, rows=rows) -> None:  # type: ignore[no-untyped-def]
                row = int(rows[place])
                try:
                    images[place] = domain.decode(row, side)
                except UnreadableImageError as exc:
                    failed[row] = exc.reason
                progress(next(done), len(domain))

            list(pool.map(decode, range(len(rows))))
            images.flush()
    return failed


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
        f"{domains[role].places[row]}: {reason}"
        for role, failures in failed.items()
        for row, reason in sorted(failures.items())
    ]
    of_all = f"{len(lines)} of {sum(map(len, domains.values())):,} images cannot be read"
    record = folder / UNREADABLE
    record.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if policy == "error":
        raise InputError(
            f"{of_all}:{_listed(lines, record)}\n"
            "mend or remove them, or go on without them: data.unreadable: skip"
        )
    left = {
        role: domain.subset([row for row in range(len(domain)) if row not in failed[role]])
        for role, domain in domains.items()
    }
    return left, f"{of_all} and are left out:{_listed(lines, record)}"


def _listed(lines: Sequence[str], record: Path) -> str:
    shown = [*lines[:SHOWN], *([f"… all in {record}"] if len(lines) > SHOWN else [])]
    return "".join(f"\n    {line}" for line in shown)
