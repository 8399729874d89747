"""Small folders of real image files, written by Pillow, and configs that name them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dann_search.config.data import DataConfig


def noise(seed: int, height: int = 12, width: int = 16) -> Image.Image:
    """An image of random pixels; distinct for distinct seeds."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_domain(root: Path, classes: dict[str, int], seed: int = 0) -> Path:
    """``root/class/NUMBER.jpg`` with so many images a class."""
    for label, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            noise(seed * 10_000 + label * 1_000 + number).save(root / name / f"{number:03}.jpg")
    return root


def config_of(source: Path, **target: Any) -> DataConfig:
    """A config of a source in a folder and a target of these keys."""
    return DataConfig.model_validate({"source": {"folder": source}, "target": target})
