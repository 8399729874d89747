"""Export a folder for the Hugging Face Hub: a safetensors export, its labels, and a card's data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dann_search.inference.export import safetensors_folder
from dann_search.inference.export.safetensors_folder import LOADER
from dann_search.inference.markup import one_line
from dann_search.inference.model import DannModel
from dann_search.inference.model_card import METRICS, is_current
from dann_search.inference.model_files import WEIGHTS

CONFIG = "config.json"
FILES = (WEIGHTS, LOADER, CONFIG)
NAMES = {"f1_macro": "f1", "precision_macro": "precision", "recall_macro": "recall"}
"""How the Hub calls metrics, where it does so otherwise."""

LOADING = """\
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


def loading(model: DannModel) -> str:
    """Return the card's text on how to load it."""
    packages = "torch, torchvision, safetensors and huggingface_hub"
    timm = "timm, " if model.record["backbone"].startswith("timm/") else ""
    return LOADING.format(packages=timm + packages)


def write(model: DannModel, folder: Path) -> None:
    """Write the weights, the loader, its record, and config.json, which the Hub reads."""
    safetensors_folder.write(model, folder)
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


def metadata(record: Mapping[str, Any], evaluation: dict[str, Any] | None) -> str:
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
