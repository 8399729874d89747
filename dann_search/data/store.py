"""The packed store: every image decoded once, uint8, memory-mapped by all workers of a node.

Labels lie in a file of their own a split. Of the target's training labels none is written but those
that ``data.target.labels`` gives to training: what is not there cannot leak.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dann_search.config.data import DataConfig
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.duplicates import content_groups, duplicate_remarks, without_conflicts
from dann_search.data.few_labels import few_labels
from dann_search.data.image_pixels import VERSION, Transparency
from dann_search.data.open_domain import DomainPair, open_pair
from dann_search.data.pixels import UNREADABLE, dark_remark, readable, write_images
from dann_search.data.splits import Splits, split_domain
from dann_search.errors import InputError, printable
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.file_lock import locked
from dann_search.storage.remote_folder import cache_folder

INFO = "store.json"
ROLES = ("source", "target")
UNLABELLED = ("target", "train")
FEW = "target.train.few.npy"
"""Labels of the target's training images that training may see, ``NO_LABEL`` elsewhere."""
HELD_OUT = "target.test.txt"
"""Beside the images of a target without labels: where those came from that nothing is chosen by."""
Progress = Callable[[int, int], None]
"""Told how many images of how many are decoded."""


@dataclass(frozen=True)
class StoreInfo:
    """What a packed store holds.

    Attributes:
        class_names: one a label.
        image_size: side of every image in pixels.
        fixed_size: whether the user chose that side; otherwise each backbone takes its own, scaled.
        crop_size: side in pixels that networks see of every image; None for all of it.
        pixels: version of the preparation of images (``image_pixels.VERSION``).
        domains: name of the source and of the target.
        sizes: images of each split, as ``{"source": {"train": n, …}, …}``.
        hashes: of the contents and labels of each split.
        duplicates: contents that are in both domains.
        skipped: hashes of the images left out because they cannot be decoded.
        remarks: what a user has to know about the data, a sentence each.
        made_from: what was asked for and of which contents, to know a store made for another.
        grey_bits: bits that the values of 16-bit grey images use, the target's if it has such ones;
            None without any: each needs what it needs. 16 in stores of version 1.
        transparency: what is seen through transparent pixels.
        target_labelled: whether the target has labels; those of its val and test are packed then.
        few_labels: labelled training images of the target, by class; empty without any.
    """

    class_names: list[str]
    image_size: int
    fixed_size: bool
    domains: dict[str, str]
    sizes: dict[str, dict[str, int]]
    hashes: dict[str, dict[str, str]]
    duplicates: int
    skipped: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    made_from: dict[str, Any] = field(default_factory=dict)
    crop_size: int | None = None
    pixels: int = 1
    target_labelled: bool = True
    grey_bits: int | None = 16
    transparency: Transparency = "ignored"
    few_labels: list[int] = field(default_factory=list)

    def side_seen(self, native: int) -> int:
        """Return the side in pixels at which a network sees images, given its native side."""
        return self.crop_size or (self.image_size if self.fixed_size else native)


def pack(
    config: DataConfig, image_size: int, folder: Path, progress: Progress = lambda done, all_: None
) -> StoreInfo:
    """Decode, split and write both domains into ``folder``.

    A finished store there is used as it is if it was made of the same contents in the same way.
    Processes that start at once wait for the first.

    Raises:
        InputError: unreadable images, unequal classes, a class too small to split, no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        pair = open_pair(config, cache_folder())
        made_from = {
            "data": config.model_dump(mode="json", exclude={"feature_limit_gib"}),
            "image_size": image_size,
            "pixels": VERSION,
            "contents": {role: domain.fingerprint() for role, domain in pair.by_role.items()},
        }
        if (folder / INFO).exists() and (info := read_info(folder)).made_from == made_from:
            return info
        # What is there is of another store, or of one that was begun.
        files = (file for role in ROLES for file in folder.glob(f"{role}.*"))
        for old in (folder / INFO, folder / UNREADABLE, *files):
            old.unlink(missing_ok=True)
        _check_room(config, image_size, pair, folder)
        info = _write(config, image_size, pair, folder, progress, made_from)
        # Written last and renamed: its presence says that the store is whole.
        write_atomically(folder / INFO, json.dumps(asdict(info), indent=1).encode())
        return info


def _check_room(config: DataConfig, side: int, pair: DomainPair, folder: Path) -> None:
    images = sum(map(len, pair.by_role.values()))
    needed = images * 3 * side**2 / 2**30
    free = shutil.disk_usage(folder).free / 2**30
    if needed <= min(free, config.store_limit_gib):
        return
    limit = f"only {free:.3g} GiB are free in {folder}"
    if needed > config.store_limit_gib:
        limit = f"data.store_limit_gib is {config.store_limit_gib:g}"
    raise InputError(
        f"data: {images:,} images of {side} x {side} pixels take {needed:.3g} GiB and {limit}; "
        f"lower data.image_size (now {config.image_size or side}) or make room"
    )


def _write(
    config: DataConfig,
    side: int,
    pair: DomainPair,
    folder: Path,
    progress: Progress,
    made_from: dict[str, Any],
) -> StoreInfo:
    """Decode all; where images are unreadable, say which, or divide the others anew."""
    domains, told = without_conflicts(pair.by_role, config.conflicting_labels)
    while True:
        parts = {role: _split(role, domain, config) for role, domain in domains.items()}
        failed, dark = write_images(domains, parts, side, folder, progress)
        if not any(failed.values()):
            break
        domains, remark = readable(domains, failed, config.unreadable, folder)
        told.append(remark)
    source, target = domains["source"], domains["target"]
    for role, splits in parts.items():
        for split, rows in splits.items():
            _write_labels(folder, role, split, domains[role], rows)
    counts: list[int] = []
    if config.target.labels is not None:
        few = few_labels(target, parts["target"]["train"], config)
        np.save(folder / FEW, few)
        counts = np.bincount(few[few != NO_LABEL], minlength=len(target.class_names)).tolist()
    if not target.labelled:
        held_out = "".join(f"{target.places[row]}\n" for row in parts["target"]["test"])
        (folder / HELD_OUT).write_text(held_out, encoding="utf-8", errors="surrogateescape")
    told += [dark_remark(domains[role], rows) for role, rows in dark.items() if rows]
    remarks = [*pair.remarks, *told, *duplicate_remarks(domains, parts)]
    return StoreInfo(
        class_names=list(source.class_names),
        image_size=side,
        fixed_size=config.image_size is not None,
        crop_size=config.crop_size,
        pixels=VERSION,
        domains={role: domain.name for role, domain in domains.items()},
        sizes={role: {split: len(rows) for split, rows in parts[role].items()} for role in ROLES},
        hashes={
            role: {split: domains[role].split_hash(rows) for split, rows in parts[role].items()}
            for role in ROLES
        },
        duplicates=len(set(source.keys) & set(target.keys)),
        skipped=sorted(
            set(pair.source.keys).union(pair.target.keys).difference(source.keys, target.keys)
        ),
        remarks=[printable(remark) for remark in remarks],
        made_from=made_from,
        target_labelled=target.labelled,
        grey_bits=target.grey_bits or source.grey_bits,
        transparency=config.transparency,
        few_labels=counts,
    )


def _write_labels(
    folder: Path, role: str, split: str, domain: Domain, rows: NDArray[np.int64]
) -> None:
    """Write the labels of a split, and which of the target's measured images are copies."""
    if domain.labelled and (role, split) != UNLABELLED:
        np.save(folder / f"{role}.{split}.labels.npy", domain.labels[rows])
    if role == "target" and split != "train":
        copies = content_groups([domain.keys[row] for row in rows])
        if copies is not None:
            np.save(folder / f"{role}.{split}.groups.npy", copies)


def _split(role: str, domain: Domain, config: DataConfig) -> Splits:
    parts = split_domain(domain, config.splits_of(role))
    if not domain.labelled:
        return parts
    for split in ("train",) if role == "source" else ("val", "test"):
        counts = np.bincount(domain.labels[parts[split]], minlength=len(domain.class_names))
        if not counts.all():
            name = domain.class_names[int(counts.argmin())]
            raise InputError(
                f"domain {domain.name}: no image of class '{name}' in its {split} ("
                f"{np.count_nonzero(counts == 0)} of {len(counts)} classes have none); add some "
                "there, take the class out of both domains, or give the classes without splits, to "
                "be divided by ratio"
            )
    return parts


def open_images(folder: Path, role: str, split: str) -> NDArray[np.uint8]:
    """Memory-map the images of a split, shape (n, 3, side, side)."""
    images: NDArray[np.uint8] = np.load(folder / f"{role}.{split}.images.npy", mmap_mode="r")
    return images


def open_labels(folder: Path, role: str, split: str) -> NDArray[np.int64]:
    """Read the labels of a split, shape (n,). Only evaluation may ask for the target's test."""
    labels: NDArray[np.int64] = np.load(folder / f"{role}.{split}.labels.npy")
    return labels


def open_groups(folder: Path, role: str, split: str) -> NDArray[np.int64] | None:
    """Read which images of a split show one content, as ``content_groups``; None where none do.

    Only of the target's validation and test images. Stores of version 0.1.0 do not say.
    """
    return _loaded_if_any(folder / f"{role}.{split}.groups.npy")


def labels_if_any(folder: Path, role: str, split: str) -> NDArray[np.int64] | None:
    """Read the labels of a split; None where there are none, as of the target's training split."""
    return _loaded_if_any(folder / f"{role}.{split}.labels.npy")


def few_if_any(folder: Path) -> NDArray[np.int64] | None:
    """Read the labels of the target's training images that training may see; None without any.

    Of shape (n,), ``NO_LABEL`` for all other images.
    """
    return _loaded_if_any(folder / FEW)


def _loaded_if_any(path: Path) -> NDArray[np.int64] | None:
    found: NDArray[np.int64] | None = np.load(path) if path.exists() else None
    return found


def read_info(folder: Path) -> StoreInfo:
    """Read what the store in ``folder`` holds."""
    content: dict[str, Any] = json.loads((folder / INFO).read_text())
    return StoreInfo(**content)
