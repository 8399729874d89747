"""The packed images of an experiment on the machine that trains on them, wherever that is."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dann_search.config.data import DataConfig, DomainConfig
from dann_search.data.image_pixels import VERSION
from dann_search.data.store import StoreInfo, pack, read_info
from dann_search.errors import InputError
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import cache_folder

FIRST = 1
"""Version of the preparation that had neither ``grey_bits`` nor ``transparency``."""


@dataclass(frozen=True)
class StoreSpec:
    """A packed store as any machine can find or make it.

    Attributes:
        place: folder in which it lies where the search was begun.
        data: what it was packed from.
        image_size: side of its images in pixels.
        hashes: of the contents and labels of each split.
        pixels: version of the preparation of its images.
    """

    place: str
    data: DataConfig
    image_size: int
    hashes: dict[str, dict[str, str]]
    pixels: int = VERSION

    @property
    def digest(self) -> str:
        """Of all that makes one store another one."""
        sides = self.image_size, self.data.image_size is not None, self.data.crop_size
        bits = [domain.grey_bits for domain in (*self.data.sources, self.data.target)]
        made = [self.hashes, *sides, self.pixels, self.data.transparency, bits]
        if (few := self.data.target.labels) is not None:
            made += [few.model_dump(mode="json"), self.data.splits_of("target").seed]
        content = json.dumps(made)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def store_here(
    spec: StoreSpec, progress: Callable[[int, int], None] = lambda done, of: None
) -> Path:
    """Return the store on this machine: the shared one, else its own, packed if necessary.

    Processes that ask at once wait for the first.

    Raises:
        InputError: the images are not here, are others than the search began with, find no room, or
            would be other pixels, prepared by another version.
    """
    if _holds(Path(spec.place), spec):
        return Path(spec.place)
    own = cache_folder() / "stores" / spec.digest
    if not _holds(own, replace(spec, pixels=VERSION)):
        if spec.pixels not in (FIRST, VERSION):
            raise InputError(
                f"{spec.place}: the packed images are not here, and packing them anew would make "
                f"other pixels: they were prepared by version {spec.pixels}, this dann-search has "
                f"version {VERSION}; copy that folder to this machine"
            )
        info = pack(spec.data, spec.image_size, own, progress)
        if info.hashes != spec.hashes:
            parts = ", ".join(differing(spec.hashes, info.hashes))
            raise InputError(f"the images here are not those the search began with, in: {parts}")
    return own


def store_of(folder: ExperimentFolder, data: DataConfig, info: StoreInfo) -> StoreSpec:
    """Describe the packed store of an experiment, so that any machine can find or make it."""
    if info.pixels == FIRST:
        data = _as_first(data)
    return StoreSpec(str(folder.data), data, info.image_size, info.hashes, info.pixels)


def _as_first(data: DataConfig) -> DataConfig:
    """Return data that are prepared as in the first version: 16 bits, colours as they are."""

    def before(domain: DomainConfig) -> DomainConfig:
        return domain.model_copy(update={"grey_bits": 16})

    sources = tuple(map(before, data.sources))
    changes = {
        "source": sources[0] if isinstance(data.source, DomainConfig) else sources,
        "target": before(data.target),
        "transparency": "ignored",
    }
    return data.model_copy(update=changes)


def _holds(folder: Path, spec: StoreSpec) -> bool:
    try:
        info = read_info(folder)
        return (info.hashes, info.pixels) == (spec.hashes, spec.pixels)
    except (OSError, ValueError, TypeError):
        return False


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name the splits whose hashes differ, as ``target val``."""
    pairs = {(role, split) for hashes in (before, now) for role in hashes for split in hashes[role]}
    return [
        f"{role} {split}"
        for role, split in sorted(pairs)
        if before.get(role, {}).get(split) != now.get(role, {}).get(split)
    ]
