"""Export a model as one program, by torch.export or as ONNX: with preprocessing, any batch size.

Beside it lies ``image_pixels.py``, which makes the program's input of an image.
"""

import contextlib
import importlib.util
import io
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dann_search.data import image_pixels
from dann_search.data.image_pixels import ImageSource
from dann_search.errors import InputError
from dann_search.inference.export.standalone import Classifier
from dann_search.inference.model import DannModel
from dann_search.inference.model_files import RECORD

PROGRAM, ONNX = "model.pt2", "model.onnx"
READER = Path(image_pixels.__file__).name
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[[Sequence[ImageSource]], Tensor]
"""From images, as files or as Pillow has them, to probabilities (n, classes)."""

LOADING = """\
Needs {needs}; `image_pixels.py` beside it needs NumPy and Pillow. From this
folder:

```python
{call}
```

`read_pixels` prepares a file, or an image opened with Pillow, as the images of the training were:
turned as EXIF says, made square, RGB. The {program} takes its uint8 arrays, shape
(n, 3, {side}, {side}); further scaling and normalization are inside. Probabilities and logits have
the shape (n, {classes}); `class_names` of model.json names the columns.
"""

TORCH_CALL = """\
import numpy
import torch
from image_pixels import read_pixels

model = torch.export.load("model.pt2").module()
images = torch.from_numpy(numpy.stack([read_pixels("photo.jpg", {how})]))
probabilities, logits = model(images)"""

ONNX_CALL = """\
import numpy
import onnxruntime
from image_pixels import read_pixels

session = onnxruntime.InferenceSession("model.onnx")
images = numpy.stack([read_pixels("photo.jpg", {how})])
probabilities, logits = session.run(None, {{"images": images}})"""


class ProbabilitiesAndLogits(nn.Module):
    """Computes probabilities (n, classes), calibrated if the model is, and logits."""

    def __init__(self, model: DannModel):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify RGB images, uint8 of shape (n, 3, side, side)."""
        logits = self.model(images)
        return (logits / self.model.temperature).softmax(1), logits


def export_program(model: DannModel) -> torch.export.ExportedProgram:
    """Trace the model for a batch of any size."""
    # More than one image: torch.export would treat a batch of one as a constant.
    images = torch.zeros(2, 3, model.input_size, model.input_size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1)
    portable = ProbabilitiesAndLogits(model).eval().requires_grad_(False)
    return torch.export.export(portable, (images,), dynamic_shapes=({0: batch},))


def write_torch(model: DannModel, folder: Path) -> None:
    """Write the program of torch.export, and the module that prepares its images."""
    with warnings.catch_warnings(action="ignore"):
        torch.export.save(export_program(model), folder / PROGRAM)
    _write_reader(model, folder)


def open_torch(folder: Path) -> Run:
    """Load the program; return a function from images to probabilities."""
    with warnings.catch_warnings(action="ignore"):
        program = torch.export.load(folder / PROGRAM).module()
    read = reader_in(folder)
    return torch.no_grad()(lambda images: program(read(images))[0])


def torch_loading(model: DannModel) -> str:
    """Return the card's text on how to load the program of torch.export."""
    return _loading(model, "torch", "program", TORCH_CALL)


def check_onnx(backbone: str) -> None:
    """Check that the packages are installed.

    Raises:
        InputError: one is missing.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"--format onnx needs {', '.join(missing)}, which is not installed: "
            "pip install 'dann-search[onnx]'"
        )


def write_onnx(model: DannModel, folder: Path) -> None:
    """Write the ONNX model, and the module that prepares its images."""
    with _quiet():
        torch.onnx.export(
            export_program(model),
            (),
            folder / ONNX,
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities", "logits"],
            external_data=False,
        )
    _write_reader(model, folder)


def open_onnx(folder: Path) -> Run:
    """Load the model in onnxruntime; return a function from images to probabilities."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    read = reader_in(folder)
    return lambda images: torch.from_numpy(session.run(None, {"images": read(images).numpy()})[0])


def onnx_loading(model: DannModel) -> str:
    """Return the card's text on how to load the ONNX model."""
    return _loading(model, "an ONNX runtime, no torch", "model", ONNX_CALL)


def _loading(model: DannModel, needs: str, program: str, call: str) -> str:
    how = {"crop_size": model.crop_size, "grey_bits": model.grey_bits}
    words = [f"{model.stored_size}", *(f"{name}={value}" for name, value in how.items() if value)]
    if model.transparency != "white":
        words.append(f'transparency="{model.transparency}"')
    return LOADING.format(
        needs=needs,
        program=program,
        call=call.format(how=", ".join(words)),
        side=model.input_size,
        classes=len(model.class_names),
    )


def _write_reader(model: DannModel, folder: Path) -> None:
    """Write the module, and the record that says to which sides it scales and crops."""
    shutil.copyfile(image_pixels.__file__, folder / READER)
    (folder / RECORD).write_text(json.dumps(model.record), encoding="utf-8")


def reader_in(folder: Path) -> Run:
    """Return what prepares images by the files of an export alone: uint8, (n, 3, side, side)."""
    read_pixels = import_alone(folder / READER).read_pixels
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    one = Classifier(nn.Identity(), record)
    how = one.stored_size, one.crop_size, one.grey_bits, one.transparency
    return lambda images: torch.from_numpy(np.stack([read_pixels(one, *how) for one in images]))


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, on standard output and in the log."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
