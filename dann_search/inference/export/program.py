"""Export a model as a program of torch.export: with preprocessing, for batches of any size."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dann_search.data import image_pixels
from dann_search.inference.model import DannModel

PROGRAM = "model.pt2"
READER = Path(image_pixels.__file__).name
"""Module written beside a program, which makes its input of an image."""
FILES = (PROGRAM, READER)

LOADING = """\
Needs torch; `image_pixels.py` beside it needs NumPy and Pillow. From this folder:

```python
import numpy
import torch
from image_pixels import read_pixels

model = torch.export.load("model.pt2").module()
images = torch.from_numpy(numpy.stack([read_pixels("photo.jpg", {side})]))
probabilities, logits = model(images)
```

`read_pixels` prepares a file, or an image opened with Pillow, as the images of the training were:
turned as EXIF says, made square, RGB. The program takes its uint8 arrays, shape
(n, 3, {side}, {side}); further scaling and normalization are inside. Probabilities and logits have
the shape (n, {classes}); `class_names` of model.json names the columns.
"""


class ProbabilitiesAndLogits(nn.Module):
    """Computes probabilities (n, classes), calibrated if the model is, and logits."""

    scale: Tensor
    shift: Tensor
    resize: Tensor | None

    def __init__(self, model: DannModel):
        super().__init__()
        self.network, self.temperature = model.network, model.temperature
        std = torch.tensor(model.std)[:, None, None]
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -torch.tensor(model.mean)[:, None, None] / std)
        self.register_buffer("resize", resize_matrix(model.stored_size, model.image_size))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify RGB images, uint8 of shape (n, 3, side, side)."""
        scaled = images.to(torch.float32) / 255
        if self.resize is not None:
            scaled = self.resize @ scaled @ self.resize.T
        logits = self.network(torch.addcmul(self.shift, scaled, self.scale))
        return (logits / self.temperature).softmax(1), logits


def resize_matrix(stored: int, side: int) -> Tensor | None:
    """Return R of shape (side, stored) such that R X Rᵀ is ``to_float``'s scaling of an image X.

    Bilinear scaling with antialiasing is linear and separable; products of matrices exist in every
    runtime. None if there is nothing to scale.
    """
    if stored == side:
        return None
    columns = torch.eye(stored)[None, None]
    return F.interpolate(
        columns, size=(side, stored), mode="bilinear", antialias=True, align_corners=False
    )[0, 0]


def export_program(model: DannModel) -> torch.export.ExportedProgram:
    """Trace the model for a batch of any size."""
    # More than one image: torch.export would treat a batch of one as a constant.
    images = torch.zeros(2, 3, model.stored_size, model.stored_size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    portable = ProbabilitiesAndLogits(model).eval().requires_grad_(False)
    return torch.export.export(portable, (images,), dynamic_shapes=({0: batch},))


def check(backbone: str) -> None:
    """Accept every backbone."""


def loading(model: DannModel) -> str:
    """Return the card's text on how to load it."""
    return LOADING.format(side=model.stored_size, classes=len(model.class_names))


def write(model: DannModel, folder: Path) -> None:
    """Write the program and the module that prepares its images."""
    with _quiet():
        torch.export.save(export_program(model), folder / PROGRAM)
    shutil.copyfile(image_pixels.__file__, folder / READER)


def open_written(folder: Path) -> Callable[[Tensor], Tensor]:
    """Load the program; return a function from uint8 images to probabilities."""
    with _quiet():
        program = torch.export.load(folder / PROGRAM).module()

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities: Tensor = program(images)[0]
        return probabilities

    return run


def _quiet() -> "warnings.catch_warnings[None]":
    """Silence torch's warnings about its own code."""
    return warnings.catch_warnings(action="ignore")
