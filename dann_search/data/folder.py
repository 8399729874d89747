"""A domain from a folder of class folders: ``root/class/*.jpg``, or ``root/split/class/*.jpg``."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dann_search.config.paths import absent
from dann_search.data.class_names import changed_names, class_name
from dann_search.data.decode import AS_IT_IS, Preparation
from dann_search.data.domain import Domain
from dann_search.data.labelled_files import LabelledFile, domain_of_files
from dann_search.data.split_names import how_read, is_split_name, splits_by_name
from dann_search.data.walk import LeftOut, folders_in, images_below, images_in, no_image
from dann_search.errors import InputError, counted, some

SAVED = ({"dataset_dict.json"}, {"dataset_info.json", "state.json"})
"""What ``save_to_disk`` of Hugging Face's ``datasets`` writes, with splits and without."""
COMMON = 2
"""So many folders of the same names in all folders are no chance: one may be ``class/images``."""


def load_folder_domain(root: Path, how: Preparation = AS_IT_IS) -> Domain:
    """List the images of a folder and hash their bytes; nothing is decoded yet.

    Where all its folders are named as splits (``split_names``), they are the splits; ``train`` may
    then hold images without class folders, which have no label.

    Raises:
        InputError: no class folders, none with an image, images beside them, or folders that are
            splits or domains under names that do not say so.
    """
    names, left_out = folder_names(root), LeftOut()
    # Without class folders in any, ``Train`` and ``Test`` may as well be two classes.
    if not _named_as_splits(names) or not (
        "train" in names or any(folders_in(root / name) for name in names)
    ):
        return _domain(root, _files_of_classes(root, left_out), left_out, how)
    files, said = _files_of_splits(root, names, left_out, labelled=True)
    if not any(item.label for item in files):
        raise InputError(f"{root}: no image in a class folder {no_image(left_out)}")
    return _domain(root, files, left_out, how, said)


def load_bare_folder(root: Path, how: Preparation = AS_IT_IS) -> Domain:
    """List all images below a folder, without labels, whatever folders they lie in.

    Where all its folders are named as splits, they are the splits.

    Raises:
        InputError: there is no image, no such folder, or a split is missing.
    """
    names, left_out = folder_names(root), LeftOut()
    if not _named_as_splits(names):
        return _domain(root, _all_below(root, left_out), left_out, how)
    files, said = _files_of_splits(root, names, left_out, labelled=False)
    return _domain(root, files, left_out, how, said)


def load_class_folders(root: Path, how: Preparation = AS_IT_IS) -> Domain:
    """Read a folder of class folders, whatever they are called: each image has a label.

    Raises:
        InputError: no class folders, none with an image, or images beside them.
    """
    folder_names(root)
    left_out = LeftOut()
    return _domain(root, _files_of_classes(root, left_out, layers=False), left_out, how)


def load_unlabelled(root: Path, class_names: Sequence[str], how: Preparation = AS_IT_IS) -> Domain:
    """List all images below a folder, without labels, whatever folders they lie in.

    Raises:
        InputError: there is none.
    """
    left_out = LeftOut()
    files = _all_below(root, left_out)
    return domain_of_files("unlabelled", files, left_out.remarks(root), class_names, how)


def folder_names(root: Path) -> set[str]:
    """Names of the folders in a folder, but of hidden ones.

    Raises:
        InputError: there is no such folder, it is a saved data set, or one in it is a link that
            leads nowhere.
    """
    _check_is_folder(root)
    if any(all((root / name).is_file() for name in names) for names in SAVED):
        raise InputError(
            f"{root}: written by save_to_disk of Hugging Face's datasets; name it in an experiment "
            "file under huggingface: {folder: …}"
        )
    return {folder.name for folder in folders_in(root)}


def _check_is_folder(root: Path) -> None:
    if not root.is_dir():
        raise InputError(absent(root, "folder"))


def is_flat(root: Path) -> bool:
    """Whether a folder holds images and no folder: nothing that could be a class."""
    return root.is_dir() and not folders_in(root) and bool(images_in(root))


def _named_as_splits(names: set[str]) -> bool:
    return bool(names) and all(map(is_split_name, names))


def _domain(
    root: Path,
    files: Sequence[LabelledFile],
    left_out: LeftOut,
    how: Preparation,
    said: tuple[str, ...] = (),
) -> Domain:
    """Make the domain of these files, with remarks on changed names and on what is left out."""
    folders = {
        name
        for parts, label in {(i.file.relative_to(root).parts[:-1], i.label) for i in files}
        for name in parts
        if class_name(name) == label
    }
    named = tuple(f"{root}: {remark}" for remark in changed_names(folders))
    return domain_of_files(root.name, files, said + named + left_out.remarks(root), how=how)


def _all_below(root: Path, left_out: LeftOut) -> list[LabelledFile]:
    _check_is_folder(root)
    if not (files := list(images_below(root, left_out))):
        raise InputError(f"{root}: no image in it {no_image(left_out)}")
    return [LabelledFile(file, None) for file in files]


def _files_of_splits(
    root: Path, names: set[str], left_out: LeftOut, labelled: bool
) -> tuple[list[LabelledFile], tuple[str, ...]]:
    """List the images of each split; say how the names were read, where they are not plain."""
    try:
        splits = splits_by_name(names)
    except InputError as exc:
        raise InputError(f"{root}: {exc}") from None
    for split in ("train", "test"):
        if split not in splits.values():
            measured = [name for name, meant in splits.items() if meant == "val"]
            remedy = ""
            if split == "test" and measured:
                remedy = f"rename {measured[0]} to test (a val is then drawn from train), "
            raise InputError(
                f"{root}: holds the splits {', '.join(sorted(names))} but no {split}; add or "
                f"rename a folder: {remedy}or give one of them alone, which is then divided by "
                "ratio"
            )
    _refuse_images_beside_folders(root, left_out)
    files = list[LabelledFile]()
    for folder in folders_in(root, left_out):
        split = splits[folder.name]
        if labelled:
            files += _files_of_split(folder, split, left_out)
        else:
            files += [LabelledFile(file, None, split) for file in images_below(folder, left_out)]
    return files, (f"{root}: read as splits: {how}",) if (how := how_read(splits)) else ()


def _files_of_split(folder: Path, split: str, left_out: LeftOut) -> list[LabelledFile]:
    loose = images_in(folder)
    if loose and split != "train":
        raise InputError(
            f"{loose[0]}: an image without a class folder; {folder.name} is for measuring, so each "
            "of its images needs a label"
        )
    if loose and not folders_in(folder):
        return [LabelledFile(file, None, split) for file in loose]
    return [replace(item, split=split) for item in _files_of_classes(folder, left_out)]


def _refuse_images_beside_folders(root: Path, left_out: LeftOut) -> None:
    """Their owner may believe that they count."""
    if loose := images_in(root, left_out):
        raise InputError(
            f"{root}: holds both folders and images beside them ({len(loose)}, such as "
            f"{loose[0].name}); move the images into its folders or elsewhere"
        )


def _files_of_classes(root: Path, left_out: LeftOut, layers: bool = True) -> list[LabelledFile]:
    """List the images of each class folder; with ``layers``, see that they look like classes."""
    classes = folders_in(root, left_out)
    by_class = {folder: list(images_below(folder, left_out)) for folder in classes}
    if not any(by_class.values()):
        found = f"{counted(len(classes), 'folder')} and no image" if classes else "no folders"
        raise InputError(
            f"{root}: expected one folder a class with images in it, found {found} "
            f"{no_image(left_out)}"
        )
    _refuse_images_beside_folders(root, left_out)
    if layers:
        _check_no_layer_between(root, [file for files in by_class.values() for file in files])
    by_name: dict[str, Path] = {}
    for folder, files in by_class.items():
        if not files:
            own = LeftOut()
            list(images_below(folder, own))
            raise InputError(
                f"{root}: no image in the class folder '{folder.name}'; remove it or fill it "
                f"{no_image(own)}"
            )
        other = by_name.setdefault(class_name(folder.name), folder)
        if other != folder:
            raise InputError(
                f"{root}: the folders {other.name!a} and {folder.name!a} are one class "
                f"by name, '{class_name(folder.name)}'; merge them, or rename one"
            )
    return [LabelledFile(file, name) for name, at in by_name.items() for file in by_class[at]]


def _check_no_layer_between(root: Path, files: Iterable[Path]) -> None:
    """Refuse a single folder with folders in it, and folders that hold folders of the same names.

    The first is one too many; the others are splits or domains.
    """
    folders: defaultdict[str, set[Path]] = defaultdict(set)
    for folder in {file.parent for file in files}:
        folders[folder.relative_to(root).parts[0]].add(folder)
    layers = {name: _layer(inside) for name, inside in sorted(folders.items())}
    for name, (place, within) in layers.items():
        if len(layers) == 1 and within:
            raise InputError(
                f"{root}: holds one folder, {name}, with folders in it ({some(sorted(within))}); "
                f"if these are the classes, name {place} instead of {root}; if {name} is the only "
                "class, move its images out of them"
            )
    for group in (list(layers), list(filter(is_split_name, layers))):
        inner = [layers[name][1] for name in group]
        common = set.intersection(*inner) if len(group) > 1 else set()
        # Classes may share some folders, by year say; splits and domains share most of theirs.
        if len(common) >= COMMON and 2 * len(common) > len(set.union(*inner)):
            raise InputError(
                f"{root}: its folders {some(group)} hold folders of the same names "
                f"({some(sorted(common))}), as splits and domains do, not classes. Splits have to "
                "be named train, val and test, with no other folder beside them; of several "
                f"domains, name one, such as {layers[group[0]][0]}; if they are classes, list "
                "their images in a manifest, or move them out of the folders within"
            )


def _layer(folders: set[Path]) -> tuple[Path, set[str]]:
    """Return where folders that hold images part, and the names there; none if images lie there."""
    place = Path(os.path.commonpath(folders))
    if place in folders:
        return place, set()
    return place, {folder.relative_to(place).parts[0] for folder in folders}
