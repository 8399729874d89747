"""Export a model as a program of torch.export: with preprocessing, for batches of any size."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dann_search.data.augment import to_float
from dann_search.data.image_pixels import ImageSource
from dann_search.inference.export.carried import (
    READER,
    Run,
    reader_in,
    sizes_in_words,
    write_reader,
)
from dann_search.inference.model import DannModel

PROGRAM = "model.pt2"
FILES = (PROGRAM, READER)

LOADING = """\
Needs torch; `image_pixels.py` beside it needs NumPy and Pillow. From this folder:

```python
import numpy
import torch
from image_pixels import read_pixels

model = torch.export.load("model.pt2").module()
images = torch.from_numpy(numpy.stack([read_pixels("photo.jpg", {sizes})]))
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

    def __init__(self, model: DannModel):
        super().__init__()
        self.network, self.temperature = model.network, model.temperature
        self.side = model.image_size
        std = torch.tensor(model.std)[:, None, None]
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -torch.tensor(model.mean)[:, None, None] / std)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify RGB images, uint8 of shape (n, 3, side, side)."""
        scaled = to_float(images, self.side)
        logits = self.network(torch.addcmul(self.shift, scaled, self.scale))
        return (logits / self.temperature).softmax(1), logits


def export_program(model: DannModel) -> torch.export.ExportedProgram:
    """Trace the model for a batch of any size."""
    # More than one image: torch.export would treat a batch of one as a constant.
    images = torch.zeros(2, 3, model.input_size, model.input_size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    portable = ProbabilitiesAndLogits(model).eval().requires_grad_(False)
    return torch.export.export(portable, (images,), dynamic_shapes=({0: batch},))


def check(backbone: str) -> None:
    """Accept every backbone."""


def loading(model: DannModel) -> str:
    """Return the card's text on how to load it."""
    sizes = sizes_in_words(model)
    return LOADING.format(side=model.input_size, sizes=sizes, classes=len(model.class_names))


def write(model: DannModel, folder: Path) -> None:
    """Write the program and the module that prepares its images."""
    with _quiet():
        torch.export.save(export_program(model), folder / PROGRAM)
    write_reader(model, folder)


def open_written(folder: Path) -> Run:
    """Load the program; return a function from images to probabilities."""
    with _quiet():
        program = torch.export.load(folder / PROGRAM).module()
    read = reader_in(folder)

    def run(images: Sequence[ImageSource]) -> Tensor:
        with torch.no_grad():
            probabilities: Tensor = program(read(images))[0]
        return probabilities

    return run


def _quiet() -> "warnings.catch_warnings[None]":
    """Silence torch's warnings about its own code."""
    return warnings.catch_warnings(action="ignore")
