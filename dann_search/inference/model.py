"""Load a model that ``best`` wrote, from its weights and its record alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dann_search.config.extension_files import extensions_in_use, read_copies, use_extensions
from dann_search.config.trial import NO_EXTRA, TrialConfig
from dann_search.data.decode import Preparation, decode_image
from dann_search.data.domain import Image
from dann_search.data.image_pixels import ImageSource
from dann_search.errors import InputError
from dann_search.inference.export.standalone import Classifier, Prediction
from dann_search.inference.model_files import WEIGHTS, check_whole, read_record_of_model
from dann_search.models.build import build_network
from dann_search.models.cosine_classifier import CosineClassifier
from dann_search.models.registry import is_backbone
from dann_search.storage.layout import EXTENSIONS

__all__ = ["DannModel", "Prediction", "load_model"]


class DannModel(Classifier):
    """A trained network with its preprocessing and class names.

    It is the classifier that exports carry, with the errors of dann-search.
    """

    @property
    def input_size(self) -> int:
        """Side in pixels of the images that ``read`` and ``batch`` return."""
        return self.crop_size or self.stored_size

    def batch(self, images: Tensor | Sequence[ImageSource]) -> Tensor:
        """Return images as ``forward`` takes them, from files or from a tensor of any size.

        Raises:
            InputError: an image cannot be read, or a tensor is not uint8 (n, 3, height, width).
        """
        if isinstance(images, Tensor) and (
            images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3
        ):
            raise InputError(
                "expected a uint8 tensor of shape (n, 3, height, width), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        return super().batch(images)

    def read(self, image: ImageSource) -> Image:
        """Return one image as ``forward`` takes it: uint8, shape (3, side, side).

        Raises:
            UnreadableImageError: it cannot be read.
        """
        how = Preparation(self.grey_bits, self.transparency)
        return decode_image(image, self.stored_size, self.crop_size, how)


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
