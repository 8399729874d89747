"""Export weights beside a loader without dann-search: a folder of one's own, or for the Hub.

The Hugging Face Hub also gets the labels, and its data at the top of the card.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dann_search.data import image_pixels
from dann_search.data.image_pixels import ImageSource
from dann_search.errors import InputError
from dann_search.inference.export import standalone
from dann_search.inference.export.programs import Run, import_alone
from dann_search.inference.markup import one_line
from dann_search.inference.model import DannModel
from dann_search.inference.model_card import METRICS, is_current
from dann_search.inference.model_files import HASHES, RECORD, WEIGHTS
from dann_search.models.catalog import DANN_NETWORKS
from dann_search.models.registry import TIMM, registered

LOADER = "model.py"
FILES = (WEIGHTS, LOADER)
CONFIG = "config.json"
"""What the Hub reads."""
NAMES = {"f1_macro": "f1", "precision_macro": "precision", "recall_macro": "recall"}
"""How the Hub calls metrics, where it does so otherwise."""
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

HUB_LOADING = """\
Needs {packages} (no dann-search). From the Hub, with `USER/NAME` the place of this repository:

```python
import sys

from huggingface_hub import snapshot_download

sys.path.insert(0, snapshot_download("USER/NAME"))  # runs this repository's model.py: read it first
from model import load

for prediction in load().predict(["photo.jpg"]):
    print(prediction.label, prediction.probability)
```

To upload this folder: `hf upload USER/NAME . .`
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


def hub_loading(model: DannModel) -> str:
    """Return the card's text on how to load it from the Hub."""
    packages = "torch, torchvision, safetensors and huggingface_hub"
    timm = "timm, " if model.record["backbone"].startswith(TIMM) else ""
    return HUB_LOADING.format(packages=timm + packages)


def write_hub(model: DannModel, folder: Path) -> None:
    """Write the weights, the loader, its record, and config.json, which the Hub reads."""
    write(model, folder)
    labels = {str(number): name for number, name in enumerate(model.class_names)}
    config = {
        "model_type": "dann-search",
        "architectures": [model.record["backbone"]],
        "num_labels": len(labels),
        "id2label": labels,
        "label2id": {name: int(number) for number, name in labels.items()},
        "image_size": model.image_size,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def hub_metadata(record: Mapping[str, Any], evaluation: dict[str, Any] | None) -> str:
    """Return the block of YAML that the Hub reads at the top of a card.

    An evaluation is left out if the model was calibrated since.
    """
    name = str(record["experiment"])
    data: dict[str, Any] = {
        "license": "unknown",
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "domain-adaptation", "safetensors", "dann-search"],
    }
    if evaluation is not None and is_current(evaluation, dict(record)):
        metrics = [
            {"type": NAMES.get(metric, metric), "name": metric, "value": evaluation[metric]}
            for metric in METRICS
        ]
        target = one_line(str(record["domains"]["target"]))
        data["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": target, "type": "images", "split": "test"},
                        "metrics": metrics,
                    }
                ],
            }
        ]
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}---\n\n"
