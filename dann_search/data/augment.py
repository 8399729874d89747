"""Augmentation of whole batches on their device, with parameters drawn for each sample."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.config.trial import TrialConfig


def augment(
    images: Tensor,
    config: TrialConfig,
    generator: torch.Generator,
    rows: tuple[int, int] | None = None,
) -> Tensor:
    """Rotate, shift and flip each image by its own random amount.

    Args:
        images: float, shape (n, 3, side, side).
        config: ``rotation_degrees``, ``translation`` (fraction of the side) and
            ``horizontal_flip`` (probability).
        generator: a CPU generator; the same one gives the same augmentation on every device.
        rows: (first, count) where these images are rows of a batch of ``count`` shared by several
            workers: each then gets what it would get in a single process.

    Returns:
        A tensor of the same shape; what moves in from outside repeats the border.
    """
    if not (config.rotation_degrees or config.translation or config.horizontal_flip):
        return images
    n = len(images)
    first, count = rows or (0, n)
    draws = torch.rand(count, 4, generator=generator)[first : first + n]
    angle = (draws[:, 0] * 2 - 1) * math.radians(config.rotation_degrees)
    # affine_grid's unit is half a side.
    shift = (draws[:, 1:3] * 2 - 1) * 2 * config.translation
    mirror = torch.where(draws[:, 3] < config.horizontal_flip, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack(
        [
            torch.stack([cos * mirror, -sin, shift[:, 0]], 1),
            torch.stack([sin * mirror, cos, shift[:, 1]], 1),
        ],
        1,
    ).to(images.device, images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def to_float(images: Tensor, side: int) -> Tensor:
    """Scale uint8 images to [0, 1] and to ``side`` pixels where the store is of another size."""
    scaled = images.float() / 255
    if images.shape[-1] != side:
        scaled = F.interpolate(
            scaled, size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )
    return scaled


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std per channel."""
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]
