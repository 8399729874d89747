"""Augmentation of whole batches on their device, with parameters drawn for each image."""

import zlib

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.config.extensions import AUGMENTATIONS, AugmentationSpec
from dann_search.config.trial import TrialConfig
from dann_search.data.augmentations import COLUMNS
from dann_search.data.colour import change_colours, erase
from dann_search.data.draws import Draws


def augment(
    images: Tensor,
    config: TrialConfig,
    generator: torch.Generator,
    rows: tuple[int, int] | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Augment each image by its own random amounts.

    Args:
        images: float in [0, 1], shape (n, 3, side, side).
        config: the recipe, with the amount of every augmentation.
        generator: a CPU generator; the same one gives the same augmentation on every device.
        rows: (first, count) if these images are rows of a batch of ``count`` that several workers
            share; each image is then augmented as in a single process.
        strength: factor in [0, 1] on every amount and probability.

    Returns:
        A tensor of the same shape; pixels from outside of the image repeat its border.
    """
    draws = draw(config, len(images), generator, rows, strength)
    return images if draws is None else _change(_flip(images, draws), draws)


def prepare(
    images: Tensor,
    side: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    config: TrialConfig,
    generator: torch.Generator,
    rows: tuple[int, int] | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Turn the store's uint8 images into what the network sees: augmented, scaled, normalized.

    Equal to ``to_float``, ``augment`` and ``normalize`` in turn, but flips are made on bytes, which
    takes a twentieth of the time, and normalization is in place.
    """
    draws = draw(config, len(images), generator, rows, strength)
    batch = to_float(images if draws is None else _flip(images, draws), side)
    if draws is not None:
        batch = _change(batch, draws)
    return batch.sub_(_by_channel(mean, batch)).div_(_by_channel(std, batch))


def draw(
    config: TrialConfig,
    n: int,
    generator: torch.Generator,
    rows: tuple[int, int] | None,
    strength: float,
) -> Draws | None:
    """Draw for ``n`` images; None where nothing is augmented. Arguments as ``augment``'s."""
    amounts = [(one, float(getattr(config, one.name))) for one in AUGMENTATIONS.values()]
    active = [(one, amount) for one, amount in amounts if amount != one.neutral]
    if not active or strength == 0:
        return None
    first, count = rows or (0, n)
    table = torch.rand(count, COLUMNS, generator=generator)
    draws = Draws.of_nothing(n)
    for one, amount in active:
        numbers = _numbers(one, table)[first : first + n]
        weaker = one.neutral + (amount - one.neutral) * strength
        AUGMENTATIONS.code(one.name)(draws, numbers, weaker)
    return draws


def _numbers(augmentation: AugmentationSpec, table: Tensor) -> Tensor:
    """Random numbers in [0, 1) of one augmentation, shape (images, numbers).

    One without columns in the table has a generator of its own, seeded by its name and the table's
    last column: whether it is installed or not changes no other augmentation.
    """
    width = augmentation.numbers
    if augmentation.column is not None:
        return table[:, augmentation.column : augmentation.column + width]
    seed = int(table[0, -1] * 2**24) << 32 | zlib.crc32(augmentation.name.encode())
    return torch.rand(len(table), width, generator=torch.Generator().manual_seed(seed))


def _change(images: Tensor, draws: Draws) -> Tensor:
    """Apply all that is drawn, except flips that need no interpolation."""
    if draws.moves:
        images = _move(images, draws)
    images = erase(change_colours(images, draws), draws)
    for change in draws.changes:
        images = change(images)
    return images


def _move(images: Tensor, draws: Draws) -> Tensor:
    """Crop, rotate, shear, shift and flip in one interpolation."""
    cos, sin = torch.cos(draws.angle), torch.sin(draws.angle)
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    shear = torch.stack([torch.stack([one, draws.shear], 1), torch.stack([zero, one], 1)], 1)
    # The matrix maps places in the result to places in the image: flip first, crop last.
    linear = draws.crop[:, :, None] * (rotation @ shear) * draws.mirror[:, None, :]
    theta = torch.cat([linear, draws.shift[:, :, None]], 2).to(images.device, images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _flip(images: Tensor, draws: Draws) -> Tensor:
    """Flip images without interpolation, unless ``_move`` flips them along with the rest."""
    if draws.moves:
        return images
    for number, dimension in ((0, 3), (1, 2)):
        mirrored = draws.mirror[:, number, None, None, None] < 0
        if mirrored.any():
            images = torch.where(mirrored.to(images.device), images.flip(dimension), images)
    return images


def to_float(images: Tensor, side: int) -> Tensor:
    """Scale uint8 images to [0, 1] and to ``side`` pixels where the store is of another size."""
    scaled = images.to(torch.float32, copy=True).div_(255)
    if images.shape[-1] != side:
        scaled = F.interpolate(
            scaled, size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )
    return scaled


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Compute (x - mean) / std per channel, in one pass."""
    scale = _by_channel(std, images)
    return torch.addcmul(-_by_channel(mean, images) / scale, images, 1 / scale)


def _by_channel(values: tuple[float, ...], images: Tensor) -> Tensor:
    return images.new_tensor(values)[:, None, None]
