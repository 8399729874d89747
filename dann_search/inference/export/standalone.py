"""Load and run the image classifier in this folder with torch, torchvision, safetensors and Pillow.

    from model import load

    for prediction in load().predict(["photo.jpg"]):
        print(prediction.label, prediction.probability)

or ``python model.py photo.jpg``. The weights are in model.safetensors, their description in
model.json. dann-search wrote these files and is not needed to use them. A backbone named
``timm/...`` needs timm, too.
"""

import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dann_search.data.image_pixels import (
    ImageSource,
    Transparency,
    centre_crop,
    is_one,
    read_pixels,
)

HERE = Path(__file__).resolve().parent
NEWEST_FORMAT = 5

DANN_NETWORKS = {
    "dann_cnn": (((32, 5), (48, 5), (96, 3)), (2, 2), True, 1),
    "dann_mnist": (((32, 5), (48, 5)), (2, 2), True, 7),
    "dann_svhn": (((64, 5), (64, 5), (128, 5)), (3, 2), False, 7),
}
"""Channels and kernel sizes, pooling, whether the last is pooled too, side of the grid kept."""


@dataclass(frozen=True)
class Prediction:
    """The label of one image, its probability, and the probability of every class by name."""

    label: str
    probability: float
    probabilities: dict[str, float]


class Classifier(nn.Module):
    """A network with its preprocessing and class names.

    Attributes:
        record: content of model.json.
        class_names: names of the classes, in the order of the outputs.
        stored_size: side in pixels to which images are scaled first, as for training.
        crop_size: side in pixels of their centre that is left; None for all of them.
        grey_bits: bits that the values of 16-bit grey images use; None: each its own.
        transparency: what is seen through transparent pixels.
        image_size: side in pixels that the network sees: ``crop_size``, or another than
            ``stored_size`` if a search had backbones of several native sizes.
        temperature: divides logits before they become probabilities; 1 if not calibrated.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, record: dict[str, Any]):
        super().__init__()
        self.network, self.record = network, record
        self.class_names: list[str] = record["class_names"]
        self.temperature: float = record.get("temperature", 1.0)
        preprocessing = record["preprocessing"]
        self.image_size: int = preprocessing["image_size"]
        self.stored_size: int = preprocessing.get("stored_size", self.image_size)
        self.crop_size: int | None = preprocessing.get("crop_size")
        # Formats before 5 were prepared by version 1 of ``read_pixels``.
        self.grey_bits: int | None = preprocessing.get("grey_bits", 16)
        self.transparency: Transparency = preprocessing.get("transparency", "ignored")
        std = torch.tensor(preprocessing["std"])[:, None, None]
        mean = torch.tensor(preprocessing["mean"])[:, None, None]
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (n, classes) of RGB images, uint8 of shape (n, 3, side, side).

        Images of another side than the network's are scaled to it.
        """
        side, scaled = self.image_size, images.to(torch.float32, copy=True).div_(255)
        if images.shape[-1] != side:
            scaled = F.interpolate(
                scaled, size=(side, side), mode="bilinear", antialias=True, align_corners=False
            )
        logits: Tensor = self.network(torch.addcmul(self.shift, scaled, self.scale))
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Compute probabilities (n, classes) of RGB images, uint8 of shape (n, 3, side, side)."""
        logits: Tensor = self(images)
        return (logits / self.temperature).softmax(1)

    @torch.no_grad()
    def predict(
        self, images: Tensor | ImageSource | Sequence[ImageSource], batch_size: int = 64
    ) -> list[Prediction]:
        """Classify images, prepared as those that the network was trained on.

        Args:
            images: one image or several: paths, binary files, Pillow images, arrays as Pillow has
                them (height, width, 3); or a uint8 tensor of shape (n, 3, height, width).
            batch_size: images per batch.

        Raises:
            ValueError: an image cannot be read. Within dann-search it is an ``InputError``.
        """
        device = next(self.network.parameters()).device
        found = []
        several: Any = [images] if is_one(images) else images
        for start in range(0, len(several), batch_size):
            batch = self.batch(several[start : start + batch_size])
            for row in self.probabilities(batch.to(device)).cpu():
                values = dict(zip(self.class_names, row.tolist(), strict=True))
                label = max(values, key=values.__getitem__)
                found.append(Prediction(label, values[label], values))
        return found

    def batch(self, images: Tensor | Sequence[ImageSource]) -> Tensor:
        """Return images as ``forward`` takes them, from files or from a tensor of any size."""
        side = self.stored_size
        if isinstance(images, Tensor):
            if images.shape[2:] == (side, side):
                return centre_crop(images, self.crop_size)
            images = [one.permute(1, 2, 0).cpu().numpy() for one in images]
        return torch.from_numpy(np.stack([self.read(image) for image in images]))

    def read(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return one image as ``forward`` takes it: uint8, shape (3, side, side)."""
        how = self.stored_size, self.crop_size, self.grey_bits, self.transparency
        return read_pixels(image, *how)


def load(folder: str | Path = HERE, device: str = "cpu") -> Classifier:
    """Load the classifier from a folder with model.safetensors and model.json.

    Raises:
        ValueError: the files are of a newer version, or damaged.
    """
    folder = Path(folder)
    record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if record["format"] > NEWEST_FORMAT:
        raise ValueError(f"{folder}: format {record['format']}; use the model.py that came with it")
    weights = folder / "model.safetensors"
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as exc:
        raise ValueError(f"{weights}: cannot be read: {exc}") from None
    expected = record.get("sha256", {}).get(weights.name)
    if expected and hashlib.sha256(weights.read_bytes()).hexdigest() != expected:
        raise ValueError(f"{weights}: damaged or replaced: model.json has another SHA-256 of it")
    # timm's networks hold tensors that are not part of their state; torchvision's hold none, so
    # that they need not be filled with random numbers first.
    where = "cpu" if record["backbone"].startswith("timm/") else "meta"
    with torch.device(where):
        network = build_network(record["backbone"], state, record["preprocessing"]["image_size"])
    network.load_state_dict(state, assign=True)
    return Classifier(network, record).to(device)


class Cosine(nn.Linear):
    """A classifier by the direction of features, at a temperature of 0.05."""

    def __init__(self, features: int, classes: int):
        super().__init__(features, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits (n, classes) of features (n, size)."""
        return F.linear(F.normalize(features), self.weight) / 0.05


def build_network(backbone: str, state: dict[str, Tensor], side: int) -> nn.Module:
    """Build the backbone without its head, the bottleneck if there is one, and the classifier."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(trunk=build_trunk(backbone, side))
    if "bottleneck.0.weight" in state:
        width, features = state["bottleneck.0.weight"].shape
        parts["bottleneck"] = nn.Sequential(
            nn.Linear(features, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)
        )
    classes, features = state["classifier.weight"].shape
    kind = nn.Linear if "classifier.bias" in state else Cosine
    parts["classifier"] = kind(features, classes)
    return nn.Sequential(parts)


def build_trunk(name: str, image_size: int) -> nn.Module:
    """Build the backbone: from images (n, 3, image_size, image_size) to features (n, size)."""
    if name in DANN_NETWORKS:
        return _dann_network(name)
    if name.startswith("timm/"):
        return _timm(name, image_size)
    options = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    network: Any = _torchvision().models.get_model(name, weights=None, **options)
    if name.startswith(("resnet", "shufflenet", "inception")):
        network.fc = nn.Identity()
    elif name.startswith("vgg"):
        network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Identity()
    elif name.startswith("squeezenet"):
        network.classifier = nn.AdaptiveAvgPool2d(1)
    elif name.startswith("convnext"):
        network.classifier = nn.Sequential(network.classifier[0], nn.Flatten())
    elif name.startswith("swin"):
        network.head = nn.Identity()
    elif name.startswith("vit"):
        network.heads = nn.Identity()
    else:  # mobilenet, efficientnet
        network.classifier = nn.Identity()
    trunk: nn.Module = network
    return trunk


def _torchvision() -> Any:
    """Import torchvision, the ordinary one beside a CPU-only torch too.

    Its compiled operators stay unloaded there, and its import misses two of them, which nothing
    here uses. Declaring them is enough.
    """
    try:
        import torchvision
    except RuntimeError:
        operators: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


def _dann_network(name: str) -> nn.Module:
    """Build one of dann-search's own small networks for digits."""
    convolutions, pooling, last_pooled, positions = DANN_NETWORKS[name]
    stages = OrderedDict[str, nn.Module]()
    inputs = 3
    for number, (outputs, kernel) in enumerate(convolutions, 1):
        stage = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )
        if number < len(convolutions) or last_pooled:
            stage.append(nn.MaxPool2d(*pooling))
        stages[f"conv{number}"] = stage
        inputs = outputs
    end = [("pool", nn.AdaptiveAvgPool2d(positions)), ("flat", nn.Flatten())]
    return nn.Sequential(OrderedDict([*stages.items(), *end]))


def _timm(name: str, image_size: int) -> nn.Module:
    try:
        import timm
    except ModuleNotFoundError:
        raise ImportError(f"the backbone {name} is timm's: pip install timm") from None
    model = name.removeprefix("timm/")
    # Networks of patches are built for one side. Others take any, and know no such option.
    patches = timm.models.is_model_in_modules(model.split(".")[0], {"vision_transformer", "eva"})
    options: dict[str, Any] = {"img_size": image_size} if patches else {}
    network: nn.Module = timm.create_model(model, pretrained=False, num_classes=0, **options)
    return network


def main(files: Sequence[str]) -> None:
    """Print label and probability of each file named."""
    classifier = load()
    for file in files:
        (found,) = classifier.predict([file])
        print(f"{file}\t{found.label}\t{found.probability:.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
