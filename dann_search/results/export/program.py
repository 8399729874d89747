"""A model as one program of torch.export: preprocessing inside, any number of images at a time."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dann_search.results.model import DannModel

PROGRAM = "model.pt2"
FILES = (PROGRAM,)

LOADING = """\
Needs torch alone. RGB images, uint8 of shape (n, 3, {side}, {side}), to probabilities and logits,
both of shape (n, {classes}); scaling and normalization are inside:

```python
import torch

model = torch.export.load("model.pt2").module()
probabilities, logits = model(images)
```

`class_names` of model.json names the columns. Images were made square as model.json says under
`preprocessing.resize`.
"""


class ProbabilitiesAndLogits(nn.Module):
    """From bytes to probabilities (n, classes), calibrated if the model is, and logits."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: DannModel):
        super().__init__()
        self.network, self.temperature = model.network, model.temperature
        std = torch.tensor(model.std)[:, None, None]
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -torch.tensor(model.mean)[:, None, None] / std)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB images, uint8 of shape (n, 3, side, side)."""
        scaled = images.to(torch.float32) / 255
        logits = self.network(torch.addcmul(self.shift, scaled, self.scale))
        return (logits / self.temperature).softmax(1), logits


def export_program(model: DannModel) -> torch.export.ExportedProgram:
    """Trace the model for a batch of any size."""
    # More than one image: torch.export takes a one for a constant.
    images = torch.zeros(2, 3, model.image_size, model.image_size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    portable = ProbabilitiesAndLogits(model).eval().requires_grad_(False)
    return torch.export.export(portable, (images,), dynamic_shapes=({0: batch},))


def check(backbone: str) -> None:
    """Every backbone can be exported so."""


def loading(model: DannModel) -> str:
    """How the card says to load it."""
    return LOADING.format(side=model.image_size, classes=len(model.class_names))


def write(model: DannModel, folder: Path) -> None:
    """Write the program."""
    with _quiet():
        torch.export.save(export_program(model), folder / PROGRAM)


def open_written(folder: Path) -> Callable[[Tensor], Tensor]:
    """Probabilities of uint8 images, by what lies in the folder."""
    with _quiet():
        program = torch.export.load(folder / PROGRAM).module()

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities: Tensor = program(images)[0]
        return probabilities

    return run


def _quiet() -> "warnings.catch_warnings[None]":
    """Without torch's warnings of what torch itself does."""
    return warnings.catch_warnings(action="ignore")
