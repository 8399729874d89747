"""A model as one ONNX file: preprocessing inside, any number of images at a time."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from dann_search.errors import InputError
from dann_search.results.export.program import export_program
from dann_search.results.model import DannModel

MODEL = "model.onnx"
FILES = (MODEL,)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

LOADING = """\
Needs an ONNX runtime, no torch. RGB images, uint8 of shape (n, 3, {side}, {side}), to probabilities
and logits, both of shape (n, {classes}); scaling and normalization are inside:

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
probabilities, logits = session.run(None, {{"images": images}})
```

`class_names` of model.json names the columns. Images were made square as model.json says under
`preprocessing.resize`.
"""


def check(backbone: str) -> None:
    """See that the packages are there.

    Raises:
        InputError: one is missing.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"--format onnx needs {', '.join(missing)}, which is not installed: "
            "pip install 'dann-search[onnx]'"
        )


def loading(model: DannModel) -> str:
    """How the card says to load it."""
    return LOADING.format(side=model.image_size, classes=len(model.class_names))


def write(model: DannModel, folder: Path) -> None:
    """Write the file."""
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


def open_written(folder: Path) -> Callable[[Tensor], Tensor]:
    """Probabilities of uint8 images, by onnxruntime on what lies in the folder."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's running commentary, on standard output and in the log."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
