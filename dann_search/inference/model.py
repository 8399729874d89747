"""Load a model that ``best`` wrote, from its weights and its record alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dann_search.config.extension_files import extensions_in_use, read_copies, use_extensions
from dann_search.config.trial import NO_EXTRA, TrialConfig
from dann_search.data.augment import normalize, to_float
from dann_search.data.decode import Preparation, decode_image
from dann_search.data.domain import Image
from dann_search.data.image_pixels import ImageSource, centre_crop, is_one
from dann_search.errors import InputError
from dann_search.inference.model_files import WEIGHTS, check_whole, read_record_of_model
from dann_search.models.build import build_network
from dann_search.models.cosine_classifier import CosineClassifier
from dann_search.models.registry import is_backbone
from dann_search.storage.layout import EXTENSIONS


@dataclass(frozen=True)
class Prediction:
    """The label of one image, its probability, and the probability of every class by name."""

    label: str
    probability: float
    probabilities: dict[str, float]


class DannModel(nn.Module):
    """A trained network with its preprocessing and class names.

    Attributes:
        class_names: names of the classes, in the order of the outputs.
        record: the content of model.json.
        stored_size: side in pixels to which images are scaled first, as for training.
        crop_size: side in pixels of their centre that is left; None for all of them.
        how: what becomes of 16-bit values and of transparent pixels, as for training.
        image_size: side in pixels that the network sees: ``crop_size``, or another than
            ``stored_size`` if a search had backbones of several native sizes.
        temperature: divides logits before they become probabilities; 1 until
            ``evaluate --calibrated`` has fitted another.
    """

    def __init__(self, network: nn.Module, record: dict[str, Any]):
        super().__init__()
        preprocessing = record["preprocessing"]
        self.network, self.record = network, record
        self.class_names: list[str] = record["class_names"]
        self.image_size: int = preprocessing["image_size"]
        self.stored_size: int = preprocessing.get("stored_size", self.image_size)
        self.crop_size: int | None = preprocessing.get("crop_size")
        # Records of formats before 5 were prepared by version 1 of ``image_pixels``.
        self.how = Preparation(
            preprocessing.get("grey_bits", 16), preprocessing.get("transparency", "ignored")
        )
        self.temperature: float = record.get("temperature", 1.0)
        self.mean, self.std = tuple(preprocessing["mean"]), tuple(preprocessing["std"])
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (n, classes) of uint8 images (n, 3, side, side), cropped already.

        Those of another side than the network's are scaled to it.
        """
        logits: Tensor = self.network(
            normalize(to_float(images, self.image_size), self.mean, self.std)
        )
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Compute probabilities (n, classes) of uint8 images (n, 3, side, side)."""
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
            InputError: an image cannot be read, or the tensor has another shape or type.
        """
        device = next(self.parameters()).device
        found: list[Prediction] = []
        several: Any = [images] if is_one(images) else images
        for start in range(0, len(several), batch_size):
            batch = self.batch(several[start : start + batch_size]).to(device)
            for row in self.probabilities(batch).cpu():
                values = dict(zip(self.class_names, row.tolist(), strict=True))
                label = max(values, key=values.__getitem__)
                found.append(Prediction(label, values[label], values))
        return found

    def read(self, image: ImageSource) -> Image:
        """Return what ``forward`` takes of an image: uint8, (3, side, side).

        Raises:
            UnreadableImageError: it cannot be read.
        """
        return decode_image(image, self.stored_size, self.crop_size, self.how)

    @property
    def input_size(self) -> int:
        """Side in pixels of what ``read`` returns."""
        return self.crop_size or self.stored_size

    def batch(self, images: Tensor | Sequence[ImageSource]) -> Tensor:
        """Return the images as the store of the search would hold them."""
        side = self.stored_size
        if isinstance(images, Tensor):
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
                raise InputError(
                    "expected a uint8 tensor of shape (n, 3, height, width), "
                    f"got {images.dtype} {tuple(images.shape)}"
                )
            if images.shape[2:] == (side, side):
                return centre_crop(images, self.crop_size)
            images = [one.permute(1, 2, 0).cpu().numpy() for one in images]
        return torch.from_numpy(np.stack([self.read(image) for image in images]))


def load_model(folder: str | Path, trust_extensions: bool = False) -> DannModel:
    """Load a model that ``best`` wrote, from its folder alone.

    Args:
        folder: with model.safetensors and model.json.
        trust_extensions: execute the Python file that came with the model and builds its backbone.

    Raises:
        InputError: a file is missing or damaged, was written by a newer version, or is an export;
            or the backbone is defined by a file that is not trusted, or nowhere.
    """
    folder = Path(folder).expanduser()
    record = read_record_of_model(folder)
    _find_backbone(folder, record, trust_extensions)
    # Predicting takes neither the method nor the augmentations, nor the packages that brought them.
    known = {
        name: value for name, value in record["config"].items() if name in TrialConfig.model_fields
    }
    plain = {"method": "source_only", "extra": NO_EXTRA, "fine_tuning": "stages"}
    config = TrialConfig(**{**known, **plain})
    classes, side = len(record["class_names"]), record["preprocessing"]["image_size"]
    network = build_network(config, classes, side=side, bare=True)
    try:
        state = load_file(folder / WEIGHTS)
        check_whole(folder, record)
        if "classifier.bias" not in state:
            network.classifier = CosineClassifier(*reversed(state["classifier.weight"].shape))
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError) as exc:
        raise InputError(f"{folder / WEIGHTS}: cannot be loaded: {exc}") from None
    return DannModel(network, record)


def _find_backbone(folder: Path, record: dict[str, Any], trust_extensions: bool) -> None:
    """Execute the file that defines a model's backbone, unless it is in use already.

    Raises:
        InputError: it is not trusted or was changed, or nothing defines the backbone.
    """
    if hashes := record.get("extensions"):
        in_use = {file.name: file.sha256 for file in extensions_in_use()}
        if not trust_extensions and not hashes.items() <= in_use.items():
            raise InputError(
                f"{folder}: its backbone {record['backbone']} is defined by Python code, "
                f"{', '.join(hashes)}, which loading the model executes; if you trust where it "
                f"comes from, allow that with trust_extensions=True (--trust-extensions)"
            )
        if not hashes.items() <= in_use.items():
            use_extensions(read_copies(folder / EXTENSIONS, hashes))
    if not is_backbone(record["backbone"]):
        raise InputError(
            f"{folder}: the backbone {record['backbone']} is not registered here; install its "
            "package, or register it in this process first (register_backbone)"
        )
