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

import torch
import torch.nn.functional as F
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

try:
    import torchvision
except RuntimeError:
    # The ordinary torchvision beside a CPU-only torch: its compiled operators stay unloaded, and
    # its import misses two of them, which nothing here uses. Declaring them is enough.
    _operators: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

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
        class_names: names of the classes, in the order of the outputs.
        stored_size: side in pixels to which images are scaled first, as for training.
        crop_size: side in pixels of their centre that is left; None for all of them.
        grey_bits: bits that the values of 16-bit grey images use; None: each its own.
        transparency: what is seen through transparent pixels.
        image_size: side in pixels that the network sees.
        temperature: divides logits before they become probabilities.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, record: dict[str, Any]):
        super().__init__()
        self.network = network
        self.class_names: list[str] = record["class_names"]
        self.temperature: float = record.get("temperature", 1.0)
        preprocessing = record["preprocessing"]
        self.image_size: int = preprocessing["image_size"]
        self.stored_size: int = preprocessing.get("stored_size", self.image_size)
        self.crop_size: int | None = preprocessing.get("crop_size")
        self.grey_bits: int | None = preprocessing.get("grey_bits", 16)
        self.transparency: Transparency = preprocessing.get("transparency", "ignored")
        std = torch.tensor(preprocessing["std"])[:, None, None]
        mean = torch.tensor(preprocessing["mean"])[:, None, None]
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (n, classes) of RGB images, uint8 of shape (n, 3, side, side)."""
        side, scaled = self.image_size, images.to(torch.float32) / 255
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
        """Classify one or several files, Pillow images, arrays, or a uint8 tensor (n, 3, h, w)."""
        device = next(self.network.parameters()).device
        found = []
        several: Any = [images] if is_one(images) else images
        for start in range(0, len(several), batch_size):
            batch = self._decoded(several[start : start + batch_size])
            for row in self.probabilities(batch.to(device)).cpu():
                values = dict(zip(self.class_names, row.tolist(), strict=True))
                label = max(values, key=values.__getitem__)
                found.append(Prediction(label, values[label], values))
        return found

    def _decoded(self, images: Tensor | Sequence[ImageSource]) -> Tensor:
        side = self.stored_size
        if isinstance(images, Tensor):
            if images.shape[2:] == (side, side):
                return centre_crop(images, self.crop_size)
            images = [one.permute(1, 2, 0).cpu().numpy() for one in images]
        how = side, self.crop_size, self.grey_bits, self.transparency
        return torch.stack([decode(image, *how) for image in images])


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
    return Classifier(network, record).eval().to(device)


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
    network: Any = torchvision.models.get_model(name, weights=None, **options)
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


def decode(
    image: ImageSource,
    side: int,
    crop_size: int | None = None,
    grey_bits: int | None = None,
    transparency: Transparency = "white",
) -> Tensor:
    """Return an image as the network was trained to see it: uint8 RGB, shape (3, side, side).

    Raises:
        ValueError: the image cannot be read.
    """
    return torch.from_numpy(read_pixels(image, side, crop_size, grey_bits, transparency))


def main(files: Sequence[str]) -> None:
    """Print label and probability of each file named."""
    classifier = load()
    for file in files:
        (found,) = classifier.predict([file])
        print(f"{file}\t{found.label}\t{found.probability:.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
