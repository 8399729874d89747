"""A domain from a folder of class folders: ``root/class/*.jpg``, or ``root/split/class/*.jpg``."""

from collections.abc import Sequence
from pathlib import Path

from dann_search.data.class_names import changed_names, class_name
from dann_search.data.decode import AS_IT_IS, Preparation
from dann_search.data.domain import Domain
from dann_search.data.labelled_files import LabelledFile, domain_of_files
from dann_search.data.layers import check_no_layer_between
from dann_search.data.split_names import how_read, is_split_name, splits_by_name
from dann_search.data.walk import LeftOut, folders_in, images_below, images_in, no_image
from dann_search.errors import InputError


def load_folder_domain(root: Path, how: Preparation = AS_IT_IS) -> Domain:
    """List the images of a folder and hash their bytes; nothing is decoded yet.

    Where all its folders are named as splits (``split_names``), they are the splits; ``train`` may
    then hold images without class folders, which have no label.

    Raises:
        InputError: no class folders, none with an image, images beside them, or folders that are
            splits or domains under names that do not say so.
    """
    names, left_out = folder_names(root), LeftOut()
    if not _are_splits(root, names):
        files = _files_of_classes(root, left_out)
        return domain_of_files(root.name, files, _remarks(root, files, left_out), how=how)
    splits, read = _read_splits(root, names)
    _refuse_images_beside_folders(root, left_out)
    files = [
        item
        for folder in folders_in(root, left_out)
        for item in _files_of_split(folder, splits[folder.name], left_out)
    ]
    if not any(item.label for item in files):
        raise InputError(f"{root}: no image in a class folder {no_image(left_out)}")
    return domain_of_files(root.name, files, read + _remarks(root, files, left_out), how=how)


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
            measured = [name for name, meant in splits.items() if meant == "val"]
            remedy = ""
            if split == "test" and measured:
                remedy = f"rename {measured[0]} to test (a val is then drawn from train), "
            raise InputError(
                f"{root}: holds the splits {shown} but no {split}; add or rename a folder: "
                f"{remedy}or give one of them alone, which is then divided by ratio"
            )
    return splits, (f"{root}: read as splits: {how}",) if (how := how_read(splits)) else ()


def is_flat(root: Path) -> bool:
    """Whether a folder holds images and no folder: nothing that could be a class."""
    return root.is_dir() and not folders_in(root) and bool(images_in(root))


def load_bare_folder(root: Path, how: Preparation = AS_IT_IS) -> Domain:
    """List all images below a folder, without labels, whatever folders they lie in.

    Where all its folders are named as splits, they are the splits.

    Raises:
        InputError: there is no image, no such folder, or a split is missing.
    """
    names, left_out = folder_names(root), LeftOut()
    if not names or not all(map(is_split_name, names)):
        bare = [LabelledFile(item.file, None) for item in _all_below(root, left_out)]
        return domain_of_files(root.name, bare, left_out.remarks(root), how=how)
    splits, read = _read_splits(root, names)
    _refuse_images_beside_folders(root, left_out)
    bare = [
        LabelledFile(file, None, splits[folder.name])
        for folder in folders_in(root, left_out)
        for file in images_below(folder, left_out)
    ]
    return domain_of_files(root.name, bare, read + left_out.remarks(root), how=how)


def _are_splits(root: Path, names: set[str]) -> bool:
    """Whether all folders are named as splits, and hold what splits hold.

    Without class folders in any, ``Train`` and ``Test`` may as well be two classes.
    """
    if not names or not all(map(is_split_name, names)):
        return False
    return "train" in names or any(folders_in(root / name) for name in names)


def load_class_folders(root: Path, how: Preparation = AS_IT_IS) -> Domain:
    """Read a folder of class folders, whatever they are called: each image has a label.

    Raises:
        InputError: no class folders, none with an image, or images beside them.
    """
    folder_names(root)
    left_out = LeftOut()
    files = _files_of_classes(root, left_out, layers=False)
    return domain_of_files(root.name, files, _remarks(root, files, left_out), how=how)


def folder_names(root: Path) -> set[str]:
    """Names of the folders in a folder, but of hidden ones.

    Raises:
        InputError: there is no such folder, or one in it is a link that leads nowhere.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    return {folder.name for folder in folders_in(root)}


def load_unlabelled(root: Path, class_names: Sequence[str], how: Preparation = AS_IT_IS) -> Domain:
    """List all images below a folder, for the training split, whatever folders they lie in.

    Raises:
        InputError: there is none.
    """
    left_out = LeftOut()
    files = _all_below(root, left_out)
    return domain_of_files("unlabelled", files, left_out.remarks(root), class_names, how)


def _all_below(root: Path, left_out: LeftOut) -> list[LabelledFile]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if not (files := list(images_below(root, left_out))):
        raise InputError(f"{root}: no image in it {no_image(left_out)}")
    return [LabelledFile(file, None, "train") for file in files]


def _files_of_split(folder: Path, split: str, left_out: LeftOut) -> list[LabelledFile]:
    loose = images_in(folder)
    if loose and split != "train":
        raise InputError(
            f"{loose[0]}: an image without a class folder; {folder.name} is for measuring, so each "
            "of its images needs a label"
        )
    if loose and not folders_in(folder):
        return [LabelledFile(file, None, split) for file in loose]
    files = _files_of_classes(folder, left_out)
    return [LabelledFile(item.file, item.label, split) for item in files]


def _refuse_images_beside_folders(root: Path, left_out: LeftOut) -> None:
    """Their owner may believe that they count."""
    if loose := images_in(root, left_out):
        raise InputError(
            f"{root}: holds both folders and images beside them ({len(loose)}, such as "
            f"{loose[0].name}); move the images into its folders or elsewhere"
        )


def _files_of_classes(root: Path, left_out: LeftOut, layers: bool = True) -> list[LabelledFile]:
    """List the images of each class folder.

    Args:
        root: the folder of class folders.
        left_out: gets what is no image.
        layers: whether to see that the folders look like classes.
    """
    classes = folders_in(root, left_out)
    by_class = {folder: list(images_below(folder, left_out)) for folder in classes}
    if not any(by_class.values()):
        found = f"{len(classes)} folders and no image" if classes else "no folders"
        raise InputError(
            f"{root}: expected one folder a class with images in it, found {found} "
            f"{no_image(left_out)}"
        )
    _refuse_images_beside_folders(root, left_out)
    if layers:
        check_no_layer_between(root, [file for files in by_class.values() for file in files])
    for folder, files in by_class.items():
        if not files:
            own = LeftOut()
            list(images_below(folder, own))
            raise InputError(
                f"{root}: no image in the class folder '{folder.name}'; remove it or fill it "
                f"{no_image(own)}"
            )
    labels = _labels(root, classes)
    return [
        LabelledFile(file, labels[folder]) for folder, files in by_class.items() for file in files
    ]


def _labels(root: Path, classes: Sequence[Path]) -> dict[Path, str]:
    """Return the class of each folder.

    Raises:
        InputError: two have the same.
    """
    by_name: dict[str, Path] = {}
    for folder in classes:
        other = by_name.setdefault(class_name(folder.name), folder)
        if other != folder:
            raise InputError(
                f"{root}: the folders {other.name!a} and {folder.name!a} are one class "
                f"by name, '{class_name(folder.name)}'; merge them, or rename one"
            )
    return {folder: name for name, folder in by_name.items()}


def _remarks(root: Path, files: Sequence[LabelledFile], left_out: LeftOut) -> tuple[str, ...]:
    folders = {
        name
        for parts, label in {(i.file.relative_to(root).parts[:-1], i.label) for i in files}
        for name in parts
        if class_name(name) == label
    }
    named = tuple(f"{root}: {remark}" for remark in changed_names(folders))
    return named + left_out.remarks(root)
