"""Small pictures inside the page: mistakes, uncertain images, augmented images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment, to_float
from dann_search.data.image_pixels import centre_crop
from dann_search.inference.gallery import data_uri
from dann_search.training.validators.view import entropy

Floats = NDArray[np.float64]

SHOWN = 24
"""Images in each gallery."""
ORIGINALS, VARIANTS = 4, 5


@dataclass(frozen=True)
class Thumbnail:
    """An image as a data URI and its caption; ``true`` is None where the target has no labels."""

    uri: str
    true: str | None
    predicted: str
    probability: float


@dataclass(frozen=True)
class Augmented:
    """An image, and its augmented variants as training saw them, as data URIs."""

    original: str
    variants: list[str]


def confident_mistakes(
    images: Tensor, labels: NDArray[np.int64], probabilities: Floats, names: list[str]
) -> list[Thumbnail]:
    """Return images that are predicted wrongly, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    order = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")]
    return _thumbnails(images, labels, probabilities, names, order)


def uncertain_images(
    images: Tensor, labels: NDArray[np.int64] | None, probabilities: Floats, names: list[str]
) -> list[Thumbnail]:
    """Return the images of largest entropy over the classes, right or wrong."""
    order = np.argsort(-entropy(probabilities), kind="stable")
    return _thumbnails(images, labels, probabilities, names, order)


def _thumbnails(
    images: Tensor,
    labels: NDArray[np.int64] | None,
    probabilities: Floats,
    names: list[str],
    order: NDArray[np.int64],
) -> list[Thumbnail]:
    return [
        Thumbnail(
            data_uri(images[row].numpy()),
            None if labels is None else names[labels[row]],
            names[probabilities[row].argmax()],
            float(probabilities[row].max()),
        )
        for row in map(int, order[:SHOWN])
    ]


def augmented(
    images: Tensor, side: int, config: TrialConfig, strength: float, crop_size: int | None
) -> list[Augmented]:
    """Augment some images of a training split, evenly spaced, several times each.

    Args:
        images: the split, uint8 of shape (n, 3, any, any).
        side: side in pixels at which the network sees them.
        config: the recipe.
        strength: 1 for the source, ``config.target_augmentation`` for the target.
        crop_size: that side, where images are cropped to it rather than scaled.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, ORIGINALS).round().astype(np.int64))
    stored = images[torch.from_numpy(rows)]
    chosen = to_float(stored, stored.shape[-1] if crop_size else side)
    generator = torch.Generator().manual_seed(config.seed)
    drawn = [
        augment(chosen, config, generator, strength=strength, crop_size=crop_size)
        for _ in range(VARIANTS)
    ]
    originals = centre_crop(chosen, crop_size)
    return [
        Augmented(_of_floats(originals[row]), [_of_floats(batch[row]) for batch in drawn])
        for row in range(len(rows))
    ]


def _of_floats(image: Tensor) -> str:
    return data_uri((image.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
