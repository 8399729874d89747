"""A model written by ``best``, loaded from its weights and its record alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dann_search.config.trial import TrialConfig
from dann_search.data.augment import normalize, to_float
from dann_search.data.decode import decode_image
from dann_search.errors import InputError
from dann_search.models.build import build_network
from dann_search.results.model_files import WEIGHTS, read_record_of_model


@dataclass(frozen=True)
class Prediction:
    """One image's label, its probability, and the probability of every class by name."""

    label: str
    probability: float
    probabilities: dict[str, float]


class DannModel(nn.Module):
    """A trained network with its preprocessing and class names.

    Attributes:
        class_names: one an output, in order.
        record: the whole of model.json.
        image_size: side in pixels at which the network sees images.
        temperature: by which logits are divided before they become probabilities; 1 until
            ``evaluate --calibrated`` has found another.
    """

    def __init__(self, network: nn.Module, record: dict[str, Any]):
        super().__init__()
        preprocessing = record["preprocessing"]
        self.network, self.record = network, record
        self.class_names: list[str] = record["class_names"]
        self.image_size: int = preprocessing["image_size"]
        self.temperature: float = record.get("temperature", 1.0)
        self.mean, self.std = tuple(preprocessing["mean"]), tuple(preprocessing["std"])
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Uint8 images (n, 3, side, side) to class logits (n, classes)."""
        logits: Tensor = self.network(
            normalize(to_float(images, self.image_size), self.mean, self.std)
        )
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Uint8 images (n, 3, side, side) to class probabilities (n, classes)."""
        logits: Tensor = self(images)
        return (logits / self.temperature).softmax(1)

    @torch.no_grad()
    def predict(
        self, images: Tensor | Sequence[str | Path | Image.Image], batch_size: int = 64
    ) -> list[Prediction]:
        """Classify images.

        Args:
            images: paths, Pillow images, or a uint8 tensor of shape (n, 3, side, side).
            batch_size: images at a time.

        Raises:
            InputError: an image that cannot be read, or a tensor of another shape or type.
        """
        device = next(self.parameters()).device
        found: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            batch = self._batch(images[start : start + batch_size]).to(device)
            for row in self.probabilities(batch).cpu():
                values = dict(zip(self.class_names, row.tolist(), strict=True))
                label = max(values, key=values.__getitem__)
                found.append(Prediction(label, values[label], values))
        return found

    def _batch(self, images: Tensor | Sequence[str | Path | Image.Image]) -> Tensor:
        if isinstance(images, Tensor):
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
                raise InputError(
                    "expected a uint8 tensor of shape (n, 3, side, side), "
                    f"got {images.dtype} {tuple(images.shape)}"
                )
            return images
        decoded = np.stack([self._decode(image) for image in images])
        # Of one memory layout, whatever it came from: convolutions then agree to the last digit.
        return torch.from_numpy(np.ascontiguousarray(decoded))

    def _decode(self, image: str | Path | Image.Image) -> Any:
        if isinstance(image, Image.Image):
            size = (self.image_size, self.image_size)
            fitted = ImageOps.fit(image.convert("RGB"), size, Image.Resampling.BILINEAR)
            return np.asarray(fitted).transpose(2, 0, 1)
        return decode_image(Path(image), self.image_size)


def load_model(folder: str | Path) -> DannModel:
    """Load a model that ``best`` wrote, from model.safetensors and model.json alone.

    Raises:
        InputError: a file is missing or damaged, was written by a newer version, or is an export.
    """
    folder = Path(folder).expanduser()
    record = read_record_of_model(folder)
    config = TrialConfig(**record["config"]).model_copy(update={"method": "source_only"})
    network = build_network(config, len(record["class_names"]), bare=True)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as exc:
        raise InputError(f"{folder / WEIGHTS}: cannot be loaded: {exc}") from None
    return DannModel(network, record)
