"""What augmentation does to each image of a batch, drawn once on the CPU."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dann_search.config.trial import TrialConfig

COLUMNS = 24
"""Random numbers a sample: always as many, so that one amount never shifts another's draw."""

POLICY_OPERATIONS = 2
"""Operations of the policy on one image, RandAugment's usual number (Cubuk et al. 2020)."""


@dataclass
class Draws:
    """One row a sample.

    Attributes:
        angle, shear: in radians, and as a slope; shape (n,).
        shift: of the centre, in half sides, (n, 2).
        crop: width and height kept, as shares of the side, (n, 2).
        mirror: -1 where flipped, else 1; horizontally and vertically, (n, 2).
        brightness, contrast, saturation: factors, (n,).
        hue: rotation of the colours in radians, (n,).
        levels: grey levels a channel keeps, (n,); 256 for all of them.
        solarize: brightness above which a value is inverted, (n,); 1 for none.
        erased: rectangle as (left, top, right, bottom) in shares of the side, (n, 4).
    """

    angle: Tensor
    shear: Tensor
    shift: Tensor
    crop: Tensor
    mirror: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    levels: Tensor
    solarize: Tensor
    erased: Tensor

    @property
    def moves(self) -> bool:
        """Whether any image is moved or cropped, so that its pixels have to be interpolated."""
        still = (self.angle, self.shear, self.shift, self.crop - 1)
        return any(bool(amount.any()) for amount in still)


def draw(
    config: TrialConfig,
    n: int,
    generator: torch.Generator,
    rows: tuple[int, int] | None,
    strength: float,
) -> Draws | None:
    """Draw for ``n`` images; None where nothing is augmented. Arguments as ``augment``'s."""
    amounts = (
        config.rotation_degrees, config.translation, config.horizontal_flip, config.vertical_flip,
        1 - config.crop_scale, config.colour_jitter, config.grayscale, config.erasing,
        config.policy_strength,
    )  # fmt: skip
    if not any(amounts) or strength == 0:
        return None
    first, count = rows or (0, n)
    u = torch.rand(count, COLUMNS, generator=generator)[first : first + n]
    signed = u * 2 - 1  # in [-1, 1)
    jitter = config.colour_jitter * strength
    draws = Draws(
        angle=signed[:, 0] * math.radians(config.rotation_degrees) * strength,
        shear=torch.zeros(n),
        # A shift by half a side is 1.
        shift=signed[:, 1:3] * 2 * config.translation * strength,
        crop=torch.ones(n, 2),
        mirror=torch.stack(
            [
                torch.where(u[:, 3] < config.horizontal_flip * strength, -1.0, 1.0),
                torch.where(u[:, 4] < config.vertical_flip * strength, -1.0, 1.0),
            ],
            1,
        ),
        brightness=1 + signed[:, 5] * jitter,
        contrast=1 + signed[:, 6] * jitter,
        saturation=1 + signed[:, 7] * jitter,
        hue=signed[:, 8] * jitter / 4 * 2 * math.pi,
        levels=torch.full((n,), 256.0),
        solarize=torch.ones(n),
        erased=torch.zeros(n, 4),
    )
    draws.saturation[u[:, 9] < config.grayscale * strength] = 0.0
    if config.crop_scale < 1:
        _crop(draws, u[:, 10:14], 1 - (1 - config.crop_scale) * strength)
    if config.erasing:
        _erase(draws, u[:, 14:19], config.erasing * strength)
    if config.policy_strength:
        _policy(draws, u[:, 19:23], config.policy_strength * strength)
    return draws


def _crop(draws: Draws, u: Tensor, smallest: float) -> None:
    """A random resized crop: area in [smallest, 1], sides 3:4 to 4:3 (Szegedy et al. 2015).

    Nearer to a square where the area leaves no room, so that a crop is always of its area.
    """
    area = smallest + (1 - smallest) * u[:, 0]
    widest = torch.minimum(-area.log(), torch.tensor(math.log(4 / 3)))
    ratio = torch.exp((u[:, 1] * 2 - 1) * widest)
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    draws.crop = sides
    draws.shift = draws.shift + (u[:, 2:4] * 2 - 1) * (1 - sides)


def _erase(draws: Draws, u: Tensor, probability: float) -> None:
    """A rectangle of 2 to 33 % of the image, sides 3:10 to 10:3 (Zhong et al. 2020)."""
    area = 0.02 + (0.33 - 0.02) * u[:, 1]
    ratio = torch.exp((u[:, 2] * 2 - 1) * math.log(10 / 3))
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    corner = u[:, 3:5] * (1 - sides)
    rectangle = torch.cat([corner, corner + sides], 1)
    draws.erased = torch.where((u[:, 0] < probability)[:, None], rectangle, draws.erased)


def _policy(draws: Draws, u: Tensor, strength: float) -> None:
    """Two random operations an image, as RandAugment's, each by up to ``strength`` of its range."""
    for number in range(POLICY_OPERATIONS):
        kind = (u[:, 2 * number] * 9).long()
        amount = (u[:, 2 * number + 1] * 2 - 1) * strength
        size = amount.abs()

        def where(index: int, value: Tensor, kind: Tensor = kind) -> Tensor:
            return torch.where(kind == index, value, torch.zeros_like(value))

        draws.angle = draws.angle + where(0, amount * math.radians(30))
        draws.shear = draws.shear + where(1, amount * 0.3)
        shift = torch.stack([where(2, amount * 0.9), where(3, amount * 0.9)], 1)
        draws.shift = draws.shift + shift
        draws.brightness = draws.brightness * (1 + where(4, amount * 0.9))
        draws.contrast = draws.contrast * (1 + where(5, amount * 0.9))
        draws.saturation = draws.saturation * (1 + where(6, amount * 0.9))
        levels = (256 ** (1 - 0.5 * size)).round()  # down to 16
        draws.levels = torch.where(kind == 7, levels, draws.levels)
        draws.solarize = torch.where(kind == 8, 1 - size, draws.solarize)
