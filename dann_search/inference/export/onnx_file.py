"""Export a model as one ONNX file: with preprocessing, for batches of any size."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from dann_search.errors import InputError
from dann_search.inference.export.carried import (
    READER,
    Run,
    reader_in,
    sizes_in_words,
    write_reader,
)
from dann_search.inference.export.program import export_program
from dann_search.inference.model import DannModel

MODEL = "model.onnx"
FILES = (MODEL, READER)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

LOADING = """\
Needs an ONNX runtime, no torch; `image_pixels.py` beside it needs NumPy and Pillow. From this
folder:

```python
import numpy
import onnxruntime
from image_pixels import read_pixels

session = onnxruntime.InferenceSession("model.onnx")
images = numpy.stack([read_pixels("photo.jpg", {sizes})])
probabilities, logits = session.run(None, {{"images": images}})
```

`read_pixels` prepares a file, or an image opened with Pillow, as the images of the training were:
turned as EXIF says, made square, RGB. The model takes its uint8 arrays, shape
(n, 3, {side}, {side}); further scaling and normalization are inside. Probabilities and logits have
the shape (n, {classes}); `class_names` of model.json names the columns.
"""


def check(backbone: str) -> None:
    """Check that the packages are installed.

    Raises:
        InputError: one is missing.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"--format onnx needs {', '.join(missing)}, which is not installed: "
            "pip install 'dann-search[onnx]'"
        )


def loading(model: DannModel) -> str:
    """Return the card's text on how to load it."""
    sizes = sizes_in_words(model)
    return LOADING.format(side=model.input_size, sizes=sizes, classes=len(model.class_names))


def write(model: DannModel, folder: Path) -> None:
    """Write the model and the module that prepares its images."""
    with _quiet():
        torch.onnx.export(
            export_program(model),
            (),
            folder / MODEL,
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities", "logits"],
            external_data=False,
        )
    write_reader(model, folder)


def open_written(folder: Path) -> Run:
    """Load the model in onnxruntime; return a function from images to probabilities."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
    read = reader_in(folder)
    return lambda images: torch.from_numpy(session.run(None, {"images": read(images).numpy()})[0])


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
