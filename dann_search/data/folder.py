"""A domain from a folder of class folders: ``root/class/*.jpg``."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps

from dann_search.data.domain import Domain, Image
from dann_search.errors import InputError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def load_folder_domain(root: Path) -> Domain:
    """List the images of a folder and hash their bytes; nothing is decoded yet.

    Raises:
        InputError: no class folders, or none with an image.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(label, file) for label, folder in enumerate(classes) for file in _images(folder)]
    if not files:
        found = f"{len(classes)} folders and no image" if classes else "no folders"
        raise InputError(
            f"{root}: expected one folder a class with images in it "
            f"({', '.join(sorted(EXTENSIONS))}), found {found}"
        )
    counts = np.bincount([label for label, _ in files], minlength=len(classes))
    if empty := [folder.name for folder, count in zip(classes, counts, strict=True) if count == 0]:
        raise InputError(f"{root}: no image in the class folder '{empty[0]}'; remove it or fill it")
    with ThreadPoolExecutor() as pool:
        keys = list(pool.map(lambda item: _hash(item[1]), files))
    return Domain(
        name=root.name,
        class_names=tuple(folder.name for folder in classes),
        labels=np.array([label for label, _ in files], dtype=np.int64),
        keys=keys,
        decode=lambda index, side: decode_image(files[index][1], side),
        places=[str(file) for _, file in files],
    )


def _images(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.rglob("[!.]*")  # macOS leaves files such as ._0001.jpg
        if p.suffix.lower() in EXTENSIONS and p.is_file()
    )


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as exc:
        raise InputError(f"{file}: cannot be read: {exc.strerror}") from None


def decode_image(file: Path, side: int) -> Image:
    """Decode to RGB, turn as EXIF says, scale the short side to ``side`` and crop the centre.

    Raises:
        InputError: the file is no image that Pillow can read.
    """
    try:
        with PILImage.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    # Pillow's decoders raise whatever a damaged file leads them to: struct.error, EOFError, …
    except Exception as exc:
        raise InputError(f"{file}: not a readable image: {exc}") from None
    square = ImageOps.fit(image, (side, side), PILImage.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1)
