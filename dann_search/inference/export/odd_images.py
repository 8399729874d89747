"""Small image files of every odd kind, for an export to prepare as its model does."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dann_search.data.image_pixels import ORIENTATION


def write_odd_images(folder: Path) -> list[Path]:
    """Write them: turned by EXIF, of other colours and depths, tall, tiny, oddly named."""
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 60, 3), np.uint8))
    deep = Image.fromarray(np.linspace(0, 65535, 45 * 60).reshape(45, 60).astype(np.uint16))
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "16 bits.png": (deep, {}),
        "CMYK.JPG": (upright.convert("CMYK"), {"format": "JPEG"}),
        "alpha.webp.png": (upright.convert("RGBA"), {}),
        "grey.tif": (upright.convert("L"), {}),
        "grey and alpha.png": (upright.convert("LA"), {}),
        "palette.png": (upright.quantize(16), {"transparency": 3}),
        "tall.bmp": (upright.resize((9, 300)), {}),
        "tiny": (upright.resize((1, 2)), {"format": "PNG"}),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        kinds[f"turned {orientation}.jpeg"] = upright, {"exif": exif}
    for name, (image, options) in kinds.items():
        image.save(folder / name, **options)
    return [folder / name for name in kinds]
