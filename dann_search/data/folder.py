"""A domain from a folder of class folders: ``root/class/*.jpg``, or ``root/split/class/*.jpg``."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dann_search.data.decode import EXTENSIONS, decode_image
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.layers import check_no_layer_between
from dann_search.data.split_names import how_read, is_split_name, splits_by_name
from dann_search.errors import InputError

OF_OTHER_TOOLS = {"@eadir", "__macosx", "#recycle", "@recycle", "$recycle.bin", "lost+found"}
"""Folders that network drives, archivers and file systems leave behind; some hold thumbnails."""


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
) -> Domain:
    """Make a domain of image files; their bytes are hashed, nothing is decoded yet."""
    names = class_names or sorted({item.label for item in files if item.label is not None})
    index = {label: number for number, label in enumerate(names)}
    with ThreadPoolExecutor() as pool:
        keys = list(pool.map(lambda item: _hash(item.file), files))
    given = [item.split for item in files if item.split is not None]
    return Domain(
        name=name,
        class_names=tuple(names),
        labels=np.array(
            [NO_LABEL if item.label is None else index[item.label] for item in files],
            dtype=np.int64,
        ),
        keys=keys,
        decode=lambda number, side: decode_image(files[number].file, side),
        places=[str(item.file) for item in files],
        splits=given or None,
        remarks=remarks,
    )


def load_folder_domain(root: Path) -> Domain:
    """List the images of a folder and hash their bytes; nothing is decoded yet.

    Where all its folders are named as splits (``split_names``), they are the splits; ``train`` may
    then hold images without class folders, which have no label.

    Raises:
        InputError: no class folders, none with an image, images beside them, or folders that are
            splits or domains under names that do not say so.
    """
    names = folder_names(root)
    if not _are_splits(root, names):
        files = _files_of_classes(root)
        check_no_layer_between(root, [item.file for item in files])
        return domain_of_files(root.name, files, left_out(root))
    splits, read = _read_splits(root, names)
    _refuse_images_beside_folders(root)
    files = [item for f in _folders(root) for item in _files_of_split(f, splits[f.name])]
    if not any(item.label for item in files):
        raise InputError(f"{root}: no image in a class folder")
    return domain_of_files(root.name, files, read + left_out(root))


def _read_splits(root: Path, names: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the split that each folder stands for, and what is to be said of it.

    Raises:
        InputError: one may be several, or there is no training or no test split.
    """
    try:
        splits = splits_by_name(names)
    except InputError as exc:
        raise InputError(f"{root}: {exc}") from None
    for split in ("train", "test"):
        if split not in splits.values():
            shown = ", ".join(sorted(names))
            raise InputError(
                f"{root}: holds the splits {shown} but no {split}; add or rename a folder, or "
                "give one of them alone, which is then divided by ratio"
            )
    return splits, (f"{root}: read as splits: {how}",) if (how := how_read(splits)) else ()


def is_flat(root: Path) -> bool:
    """Whether a folder holds images and no folder: nothing that could be a class."""
    return root.is_dir() and not _folders(root) and bool(images_directly_in(root))


def load_bare_folder(root: Path) -> Domain:
    """List all images below a folder, without labels, whatever folders they lie in.

    Where all its folders are named as splits, they are the splits.

    Raises:
        InputError: there is no image, no such folder, or a split is missing.
    """
    names, read = folder_names(root), tuple[str, ...]()
    if names and all(map(is_split_name, names)):
        splits, read = _read_splits(root, names)
        _refuse_images_beside_folders(root)
        bare = [LabelledFile(f, None, splits[s.name]) for s in _folders(root) for f in _images(s)]
    else:
        bare = [LabelledFile(item.file, None) for item in load_unlabelled(root)]
    return domain_of_files(root.name, bare, read + left_out(root))


def _are_splits(root: Path, names: set[str]) -> bool:
    """Whether all folders are named as splits, and hold what splits hold.

    Without class folders in any, ``Train`` and ``Test`` may as well be two classes.
    """
    if not names or not all(map(is_split_name, names)):
        return False
    return "train" in names or any(_folders(root / name) for name in names)


def load_class_folders(root: Path) -> Domain:
    """Read a folder of class folders, whatever they are called: each image has a label.

    Raises:
        InputError: no class folders, none with an image, or images beside them.
    """
    folder_names(root)
    return domain_of_files(root.name, _files_of_classes(root), left_out(root))


def folder_names(root: Path) -> set[str]:
    """Names of the folders in a folder, but of hidden ones.

    Raises:
        InputError: there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    return {folder.name for folder in _folders(root)}


def images_directly_in(root: Path) -> list[Path]:
    """Images of a folder that lie in no folder of it."""
    return sorted(
        p
        for p in root.iterdir()
        if p.suffix.lower() in EXTENSIONS and p.is_file() and not is_hidden(p.name)
    )


def load_unlabelled(root: Path) -> list[LabelledFile]:
    """All images below a folder, for the training split, whatever folders they lie in.

    Raises:
        InputError: there is none.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if not (files := _images(root)):
        raise InputError(f"{root}: no image in it ({', '.join(sorted(EXTENSIONS))})")
    return [LabelledFile(file, None, "train") for file in files]


def _files_of_split(folder: Path, split: str) -> list[LabelledFile]:
    loose = images_directly_in(folder)
    if loose and split != "train":
        raise InputError(
            f"{loose[0]}: an image without a class folder; {folder.name} is for measuring, so each "
            "of its images needs a label"
        )
    if loose and not _folders(folder):
        return [LabelledFile(file, None, split) for file in loose]
    files = _files_of_classes(folder)
    check_no_layer_between(folder, [item.file for item in files])
    return [LabelledFile(item.file, item.label, split) for item in files]


def _refuse_images_beside_folders(root: Path) -> None:
    """Their owner may believe that they count."""
    if loose := images_directly_in(root):
        raise InputError(
            f"{root}: holds both folders and images beside them ({len(loose)}, such as "
            f"{loose[0].name}); move the images into its folders or elsewhere"
        )


def _files_of_classes(root: Path) -> list[LabelledFile]:
    classes = _folders(root)
    by_class = {folder.name: _images(folder) for folder in classes}
    if not any(by_class.values()):
        found = f"{len(classes)} folders and no image" if classes else "no folders"
        raise InputError(
            f"{root}: expected one folder a class with images in it "
            f"({', '.join(sorted(EXTENSIONS))}), found {found}"
        )
    _refuse_images_beside_folders(root)
    if empty := [name for name, files in by_class.items() if not files]:
        raise InputError(f"{root}: no image in the class folder '{empty[0]}'; remove it or fill it")
    return [LabelledFile(file, name) for name, files in by_class.items() for file in files]


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not is_hidden(p.name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is other tools' own and holds no images to read."""
    return name.startswith(".") or name.casefold() in OF_OTHER_TOOLS


def _visible_files(root: Path) -> list[Path]:
    # macOS leaves files such as ._0001.jpg, other tools folders such as .cache.
    files = (p for p in root.rglob("*") if p.is_file())
    return sorted(p for p in files if not any(map(is_hidden, p.relative_to(root).parts)))


def _images(folder: Path) -> list[Path]:
    return [p for p in _visible_files(folder) if p.suffix.lower() in EXTENSIONS]


def left_out(root: Path) -> tuple[str, ...]:
    """Files of other kinds are no part of the domain: said, lest photographs be missed."""
    others = [
        p.suffix or p.name for p in _visible_files(root) if p.suffix.lower() not in EXTENSIONS
    ]
    if not others:
        return ()
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(others).most_common(5))
    return (f"{root}: {len(others)} files are no images by their names and are left out ({kinds})",)


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        # Decoding it will fail too, and then be told with all others.
        return f"unreadable {file}"
