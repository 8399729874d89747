"""Export weights under torchvision's names, beside a loader without dann-search."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dann_search.data import image_pixels
from dann_search.data.image_pixels import ImageSource
from dann_search.errors import InputError
from dann_search.inference.export import standalone
from dann_search.inference.export.programs import Run, import_alone
from dann_search.inference.model import DannModel
from dann_search.inference.model_files import HASHES, RECORD, WEIGHTS
from dann_search.models.catalog import DANN_NETWORKS
from dann_search.models.registry import TIMM, registered

LOADER = "model.py"
FILES = (WEIGHTS, LOADER)
READER_IMPORT = """\
from dann_search.data.image_pixels import (
    ImageSource,
    Transparency,
    centre_crop,
    is_one,
    read_pixels,
)
"""
"""The one statement of ``standalone`` that needs dann-search; exports hold that file's text."""

LOADING = """\
Needs torch, torchvision and safetensors ({needs}no dann-search). From this folder:

```python
from model import load

for prediction in load().predict(["photo.jpg"]):
    print(prediction.label, prediction.probability)
```

or `python model.py photo.jpg`. `model.safetensors` holds the weights: the backbone's under
{whose} names behind `trunk.`.
"""


def check(backbone: str) -> None:
    """Check that the loader can rebuild a backbone.

    Raises:
        InputError: the backbone is a user's own.
    """
    if registered(backbone) is not None:
        raise InputError(
            "--format safetensors, hf: their loader rebuilds networks of torchvision and timm, and "
            f"{backbone} is a backbone of your own; --format torch and --format onnx can hold it"
        )


def loading(model: DannModel) -> str:
    """Return the card's text on how to load it."""
    backbone = model.record["backbone"]
    if backbone.startswith(TIMM):
        return LOADING.format(needs="and timm; ", whose="timm's")
    return LOADING.format(
        needs="", whose="its own" if backbone in DANN_NETWORKS else "torchvision's"
    )


def write(model: DannModel, folder: Path) -> None:
    """Write the weights, the loader, and the record that the loader reads."""
    from safetensors.torch import save

    weights = save(_native_state(model))
    record = model.record | {HASHES: {WEIGHTS: hashlib.sha256(weights).hexdigest()}}
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    (folder / WEIGHTS).write_bytes(weights)
    (folder / LOADER).write_text(loader(), encoding="utf-8")


def loader() -> str:
    """Return the text of model.py: ``standalone`` with ``image_pixels`` in place of its import."""
    program, reader = inspect.getsource(standalone), inspect.getsource(image_pixels)
    before, statement, after = program.partition(READER_IMPORT)
    assert statement, "standalone.py no longer imports image_pixels by this statement"
    return f"{before}{reader}{after}"


def open_written(folder: Path) -> Run:
    """Run the loader; return a function from images to probabilities."""
    classifier = import_alone(folder / LOADER).load()

    def run(images: Sequence[ImageSource]) -> Tensor:
        found = classifier.predict(images)
        return torch.tensor(
            [[one.probabilities[n] for n in classifier.class_names] for one in found]
        )

    return run


def _native_state(model: DannModel) -> dict[str, Tensor]:
    """Return the weights, the backbone's under the names of its own library behind ``trunk.``."""
    backbone: str = model.record["backbone"]
    names: dict[str, str] = {}
    if backbone not in DANN_NETWORKS and not backbone.startswith(TIMM):
        from dann_search.models.torchvision_models import native_names

        names = native_names(backbone)
    state = {}
    for name, value in model.network.state_dict().items():
        if (own := name.removeprefix("backbone.")) != name:
            # Ours and timm's are those of the stages or of the whole network.
            name = f"trunk.{names[own] if names else own.partition('.')[2]}"
        state[name] = value.cpu().contiguous()
    return state
