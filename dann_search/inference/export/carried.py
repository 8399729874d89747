"""The file that exports carry to prepare images: written beside them, and used from there."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dann_search.data import image_pixels
from dann_search.data.image_pixels import ImageSource
from dann_search.inference.model import DannModel
from dann_search.inference.model_files import RECORD

READER = Path(image_pixels.__file__).name
"""Module written beside a program, which makes its input of an image."""

Run = Callable[[Sequence[ImageSource]], Tensor]
"""From images, as files or as Pillow has them, to probabilities (n, classes)."""


def write_reader(model: DannModel, folder: Path) -> None:
    """Write the module, and the record that says to which sides it scales and crops."""
    shutil.copyfile(image_pixels.__file__, folder / READER)
    (folder / RECORD).write_text(json.dumps(model.record), encoding="utf-8")


def reader_in(folder: Path) -> Run:
    """Return what prepares images by the files of an export alone: uint8, (n, 3, side, side)."""
    read_pixels = import_alone(folder / READER).read_pixels
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    sides = record["preprocessing"]
    how = (
        sides.get("stored_size", sides["image_size"]),
        sides.get("crop_size"),
        sides.get("grey_bits", 16),
        sides.get("transparency", "ignored"),
    )
    return lambda images: torch.from_numpy(np.stack([read_pixels(one, *how) for one in images]))


def sizes_in_words(model: DannModel) -> str:
    """Return the arguments of ``read_pixels`` behind the image, for a card."""
    how = {"crop_size": model.crop_size, "grey_bits": model.how.grey_bits}
    words = [f"{model.stored_size}", *(f"{name}={value}" for name, value in how.items() if value)]
    if model.how.transparency != "white":
        words.append(f'transparency="{model.how.transparency}"')
    return ", ".join(words)


class _Uncached(SourceFileLoader):
    """Imports a file without writing a ``__pycache__`` beside it."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write no compiled code."""


def import_alone(path: Path) -> ModuleType:
    """Import a module from its file, as other modules may have its name."""
    name = f"exported_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look up their module in sys.modules.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module
