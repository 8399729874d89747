"""The packed store: every image decoded once, uint8, memory-mapped by all workers of a node.

Labels lie in a file of their own a split, and the target's training labels are never written: what
is not there cannot leak into training.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import DataConfig, DomainConfig
from dann_search.data.digits import load_digits_domain
from dann_search.data.domain import Domain
from dann_search.data.folder import load_folder_domain
from dann_search.data.splits import split_indices
from dann_search.errors import InputError

INFO = "store.json"
ROLES = ("source", "target")
UNLABELLED = ("target", "train")


@dataclass(frozen=True)
class StoreInfo:
    """What a packed store holds.

    Attributes:
        class_names: one a label.
        image_size: side of every image in pixels.
        fixed_size: whether the user chose that side; otherwise each backbone takes its own, scaled.
        domains: name of the source and of the target.
        sizes: images of each split, as ``{"source": {"train": n, …}, …}``.
        hashes: of the contents and labels of each split.
        duplicates: contents that are in both domains.
        made_from: what was asked for, to know a store made for something else.
    """

    class_names: list[str]
    image_size: int
    fixed_size: bool
    domains: dict[str, str]
    sizes: dict[str, dict[str, int]]
    hashes: dict[str, dict[str, str]]
    duplicates: int
    made_from: dict[str, Any] = field(default_factory=dict)


def load_domain(config: DomainConfig) -> Domain:
    """Open the domain that a config names."""
    if config.folder is not None:
        return load_folder_domain(config.folder)
    return load_digits_domain(str(config.dataset))


def pack(config: DataConfig, image_size: int, folder: Path) -> StoreInfo:
    """Decode, split and write both domains into ``folder``.

    A finished store there is used as it is if it was made from the same configuration.

    Raises:
        InputError: an unreadable image, unequal classes, or a class too small to split.
    """
    made_from = {"data": config.model_dump(mode="json"), "image_size": image_size}
    if (folder / INFO).exists():
        if (info := read_info(folder)).made_from == made_from:
            return info
        (folder / INFO).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    domains = {"source": load_domain(config.source), "target": load_domain(config.target)}
    _check_classes(domains["source"], domains["target"])
    sizes: dict[str, dict[str, int]] = {}
    hashes: dict[str, dict[str, str]] = {}
    for role, domain in domains.items():
        parts = split_indices(
            domain.keys, domain.labels, domain.class_names, config.splits, domain.name
        )
        sizes[role] = {split: len(indices) for split, indices in parts.items()}
        hashes[role] = {split: _content_hash(domain, indices) for split, indices in parts.items()}
        for split, indices in parts.items():
            _write_split(domain, indices, image_size, folder, role, split)
    info = StoreInfo(
        class_names=list(domains["source"].class_names),
        image_size=image_size,
        fixed_size=config.image_size is not None,
        domains={role: domain.name for role, domain in domains.items()},
        sizes=sizes,
        hashes=hashes,
        duplicates=len(set(domains["source"].keys) & set(domains["target"].keys)),
        made_from=made_from,
    )
    # Written last and renamed: its presence says that the store is whole.
    temporary = folder / f".store-{os.getpid()}.json"
    temporary.write_text(json.dumps(asdict(info), indent=1))
    temporary.replace(folder / INFO)
    return info


def _check_classes(source: Domain, target: Domain) -> None:
    missing = {
        source.name: sorted(set(target.class_names) - set(source.class_names)),
        target.name: sorted(set(source.class_names) - set(target.class_names)),
    }
    for name, classes in missing.items():
        if classes:
            shown = ", ".join(classes[:5]) + (" …" if len(classes) > 5 else "")
            raise InputError(
                f"domain {name} lacks {len(classes)} classes that the other domain has: {shown}"
            )


def _content_hash(domain: Domain, indices: NDArray[np.int64]) -> str:
    lines = sorted(f"{domain.keys[i]} {domain.class_names[domain.labels[i]]}" for i in indices)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _write_split(
    domain: Domain, indices: NDArray[np.int64], side: int, folder: Path, role: str, split: str
) -> None:
    path = folder / f"{role}.{split}.images.npy"
    shape = (len(indices), 3, side, side)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def decode(row: int) -> None:
        images[row] = domain.decode(int(indices[row]), side)

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(len(indices))))
    images.flush()
    if (role, split) != UNLABELLED:
        np.save(folder / f"{role}.{split}.labels.npy", domain.labels[indices])


def open_images(folder: Path, role: str, split: str) -> NDArray[np.uint8]:
    """Memory-map the images of a split, shape (n, 3, side, side)."""
    images: NDArray[np.uint8] = np.load(folder / f"{role}.{split}.images.npy", mmap_mode="r")
    return images


def open_labels(folder: Path, role: str, split: str) -> NDArray[np.int64]:
    """Read the labels of a split, shape (n,). Only evaluation may ask for the target's test."""
    labels: NDArray[np.int64] = np.load(folder / f"{role}.{split}.labels.npy")
    return labels


def read_info(folder: Path) -> StoreInfo:
    """What the store in ``folder`` holds."""
    content: dict[str, Any] = json.loads((folder / INFO).read_text())
    return StoreInfo(**content)
