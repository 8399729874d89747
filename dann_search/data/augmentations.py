"""The augmentations: each one field of a recipe, and what it adds to the draws of a batch.

They share one table of random numbers, ``COLUMNS`` for each image whatever is switched on, so that
one amount never shifts the draws of another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dann_search.config.extensions import AugmentationSpec, register_augmentation

if TYPE_CHECKING:
    from torch import Tensor

    from dann_search.data.draws import Draws

COLUMNS = 24
"""Width of the shared table; the last column seeds the numbers of users' augmentations."""

POLICY_OPERATIONS = 2
"""Operations of the policy on one image, RandAugment's usual number (Cubuk et al. 2020)."""


@register_augmentation(
    AugmentationSpec(
        name="rotation_degrees",
        neutral=0.0,
        high=180,
        unit="degrees",
        description="largest rotation either way",
        words="rotations by up to {value}°",
        column=0,
    )
)
def rotate(draws: Draws, u: Tensor, amount: float) -> None:
    """Turn by an angle uniform in [-amount, amount]."""
    draws.angle += (u[:, 0] * 2 - 1) * math.radians(amount)


@register_augmentation(
    AugmentationSpec(
        name="translation",
        neutral=0.0,
        high=0.5,
        unit="share of the side",
        description="largest shift, as a fraction of the side",
        words="shifts by up to {share} of the side",
        numbers=2,
        column=1,
    )
)
def translate(draws: Draws, u: Tensor, amount: float) -> None:
    """Shift by at most ``amount`` of the side; half a side is 1."""
    draws.shift += (u * 2 - 1) * 2 * amount


@register_augmentation(
    AugmentationSpec(
        name="horizontal_flip",
        neutral=0.0,
        unit="probability",
        description="probability of a flip from left to right",
        words="a horizontal flip of {share} of the images",
        column=3,
    )
)
def flip_horizontally(draws: Draws, u: Tensor, amount: float) -> None:
    """Flip with probability ``amount``."""
    draws.mirror[u[:, 0] < amount, 0] = -1.0


@register_augmentation(
    AugmentationSpec(
        name="vertical_flip",
        neutral=0.0,
        unit="probability",
        description="probability of a flip upside down",
        words="a vertical flip of {share}",
        column=4,
    )
)
def flip_vertically(draws: Draws, u: Tensor, amount: float) -> None:
    """Flip with probability ``amount``."""
    draws.mirror[u[:, 0] < amount, 1] = -1.0


@register_augmentation(
    AugmentationSpec(
        name="crop_scale",
        neutral=1.0,
        above_low=True,
        unit="share of the area",
        description="smallest share of the area a random resized crop keeps",
        words="random crops of {share} of the area or more",
        numbers=4,
        column=10,
    )
)
def crop(draws: Draws, u: Tensor, amount: float) -> None:
    """Crop to an area in [amount, 1], sides 3:4 to 4:3 (Szegedy et al. 2015), and resize.

    A large area leaves less room for the ratio of the sides, so that the area is always kept.
    """
    import torch

    area = amount + (1 - amount) * u[:, 0]
    widest = torch.minimum(-area.log(), torch.tensor(math.log(4 / 3)))
    ratio = torch.exp((u[:, 1] * 2 - 1) * widest)
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    draws.crop = sides
    draws.shift += (u[:, 2:4] * 2 - 1) * (1 - sides)


@register_augmentation(
    AugmentationSpec(
        name="colour_jitter",
        neutral=0.0,
        description="largest change of brightness, contrast and saturation; of hue a quarter turn "
        "of it",
        words="colour changes of up to {share}",
        numbers=4,
        column=5,
    )
)
def jitter(draws: Draws, u: Tensor, amount: float) -> None:
    """Change brightness, contrast, saturation and hue, each by its own factor."""
    signed = u * 2 - 1
    draws.brightness *= 1 + signed[:, 0] * amount
    draws.contrast *= 1 + signed[:, 1] * amount
    draws.saturation *= 1 + signed[:, 2] * amount
    draws.hue += signed[:, 3] * amount / 4 * 2 * math.pi


@register_augmentation(
    AugmentationSpec(
        name="grayscale",
        neutral=0.0,
        unit="probability",
        description="probability that an image loses its colours",
        words="no colour in {share}",
        column=9,
    )
)
def grayscale(draws: Draws, u: Tensor, amount: float) -> None:
    """Take away all colour with probability ``amount``."""
    draws.saturation[u[:, 0] < amount] = 0.0


@register_augmentation(
    AugmentationSpec(
        name="erasing",
        neutral=0.0,
        unit="probability",
        description="probability that a rectangle is hidden",
        words="a hidden rectangle in {share}",
        numbers=5,
        column=14,
    )
)
def erase(draws: Draws, u: Tensor, amount: float) -> None:
    """Hide a rectangle of 2 to 33 % of the image, sides 3:10 to 10:3 (Zhong et al. 2020)."""
    import torch

    area = 0.02 + (0.33 - 0.02) * u[:, 1]
    ratio = torch.exp((u[:, 2] * 2 - 1) * math.log(10 / 3))
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    corner = u[:, 3:5] * (1 - sides)
    rectangle = torch.cat([corner, corner + sides], 1)
    draws.erased = torch.where((u[:, 0] < amount)[:, None], rectangle, draws.erased)


@register_augmentation(
    AugmentationSpec(
        name="policy_strength",
        neutral=0.0,
        description="strength of two random operations on each image, as in RandAugment",
        words="two random operations at {share} of their strength",
        numbers=4,
        column=19,
    )
)
def apply_policy(draws: Draws, u: Tensor, amount: float) -> None:
    """Apply two random operations of RandAugment, each by up to ``amount`` of its range."""
    import torch

    for number in range(POLICY_OPERATIONS):
        kind = (u[:, 2 * number] * 9).long()
        strength = (u[:, 2 * number + 1] * 2 - 1) * amount
        size = strength.abs()

        def where(index: int, value: Tensor, kind: Tensor = kind) -> Tensor:
            return torch.where(kind == index, value, torch.zeros_like(value))

        draws.angle = draws.angle + where(0, strength * math.radians(30))
        draws.shear = draws.shear + where(1, strength * 0.3)
        shift = torch.stack([where(2, strength * 0.9), where(3, strength * 0.9)], 1)
        draws.shift = draws.shift + shift
        draws.brightness = draws.brightness * (1 + where(4, strength * 0.9))
        draws.contrast = draws.contrast * (1 + where(5, strength * 0.9))
        draws.saturation = draws.saturation * (1 + where(6, strength * 0.9))
        levels = (256 ** (1 - 0.5 * size)).round()  # down to 16
        draws.levels = torch.where(kind == 7, levels, draws.levels)
        draws.solarize = torch.where(kind == 8, 1 - size, draws.solarize)
