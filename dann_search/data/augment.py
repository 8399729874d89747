"""Augmentation of whole batches on their device, with parameters drawn for each image."""

import zlib

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.config.extensions import AUGMENTATIONS, AugmentationSpec
from dann_search.config.trial import TrialConfig
from dann_search.data.augmentations import COLUMNS
from dann_search.data.colour import change_colours, erase
from dann_search.data.device import constant, sent
from dann_search.data.draws import Draws
from dann_search.data.image_pixels import centre_crop

CROP = AUGMENTATIONS["crop_scale"]


def augment(
    images: Tensor,
    config: TrialConfig,
    generator: torch.Generator,
    rows: tuple[int, int] | None = None,
    strength: float = 1.0,
    crop_size: int | None = None,
) -> Tensor:
    """Augment each image by its own random amounts.

    Args:
        images: float in [0, 1], shape (n, 3, side, side).
        config: the recipe, with the amount of every augmentation.
        generator: a CPU generator; the same one gives the same augmentation on every device.
        rows: (first, count) if these images are rows of a batch of ``count`` that several workers
            share; each image is then augmented as in a single process.
        strength: factor in [0, 1] on every amount and probability.
        crop_size: side of the result, where images are larger: each is cropped to it at a place of
            its own. With ``crop_scale`` the crop is a share of the whole image, scaled to it.

    Returns:
        A tensor (n, 3, side, side); pixels from outside of the image repeat its border.
    """
    margin = images.shape[-1] - (crop_size or images.shape[-1])
    draws = draw(config, len(images), generator, rows, strength, margin)
    return _change(_cut(images, draws, crop_size), draws, crop_size)


def prepare(
    images: Tensor,
    side: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    config: TrialConfig,
    generator: torch.Generator,
    rows: tuple[int, int] | None = None,
    strength: float = 1.0,
    crop_size: int | None = None,
) -> Tensor:
    """Turn the store's uint8 images into what the network sees: augmented, scaled, normalized.

    Equal to ``to_float``, ``augment`` and ``normalize`` in turn, but flips and crops are made on
    bytes, which takes a twentieth of the time, and normalization is in place.
    """
    margin = images.shape[-1] - (crop_size or images.shape[-1])
    draws = draw(config, len(images), generator, rows, strength, margin)
    cut = _cut(images, draws, crop_size)
    batch = _change(to_float(cut, cut.shape[-1] if crop_size else side), draws, crop_size)
    return batch.sub_(_by_channel(mean, batch)).div_(_by_channel(std, batch))


def draw(
    config: TrialConfig,
    n: int,
    generator: torch.Generator,
    rows: tuple[int, int] | None,
    strength: float,
    margin: int = 0,
) -> Draws | None:
    """Draw for ``n`` images; None where nothing is augmented. Arguments as ``augment``'s.

    ``margin`` is the number of pixels by which the images are larger than what is kept of them.
    """
    amounts = [(one, float(getattr(config, one.name))) for one in AUGMENTATIONS.values()]
    active = [(one, amount) for one, amount in amounts if amount != one.neutral]
    if not (active or margin) or strength == 0:
        return None
    first, count = rows or (0, n)
    table = torch.rand(count, COLUMNS, generator=generator)
    draws = Draws(n)
    for one, amount in active:
        numbers = _numbers(one, table)[first : first + n]
        weaker = one.neutral + (amount - one.neutral) * strength
        AUGMENTATIONS.code(one.name)(draws, numbers, weaker)
    if margin and bool((draws.crop == 1).all()):
        places = _numbers(CROP, table)[first : first + n, 2:4]
        draws.window = _windows(places, margin, strength)
    return draws


def _windows(u: Tensor, margin: int, strength: float) -> Tensor:
    """Return left and top of each window, (n, 2): uniform, and nearer to the centre by strength."""
    centre = margin // 2
    anywhere = (u * (margin + 1)).floor().clamp(max=margin)
    return (centre + (anywhere - centre) * strength).round().long()


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


def _change(images: Tensor, draws: Draws | None, crop_size: int | None) -> Tensor:
    """Apply all that is drawn, except what ``_cut`` does."""
    if draws is None:
        return images
    if draws.moves:
        images = _move(images, draws, crop_size or images.shape[-1])
    images = erase(change_colours(images, draws), draws)
    for change in draws.changes:
        images = change(images)
    return images


def _move(images: Tensor, draws: Draws, side: int) -> Tensor:
    """Crop, rotate, shear, shift and flip in one interpolation, to ``side`` pixels."""
    cos, sin = torch.cos(draws.angle), torch.sin(draws.angle)
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    shear = torch.stack([torch.stack([one, draws.shear], 1), torch.stack([zero, one], 1)], 1)
    # The matrix maps places in the result to places in the image: flip first, crop last.
    linear = draws.crop[:, :, None] * (rotation @ shear) * draws.mirror[:, None, :]
    shift = draws.shift
    if draws.window is not None:
        stored = images.shape[-1]
        linear, shift = linear * (side / stored), shift * (side / stored)
        shift = shift + (2 * draws.window + side - stored) / stored
    theta = sent(torch.cat([linear, shift[:, :, None]], 2).to(images.dtype), images.device)
    grid = F.affine_grid(theta, [*images.shape[:2], side, side], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _cut(images: Tensor, draws: Draws | None, crop_size: int | None) -> Tensor:
    """Crop and flip without interpolation, unless ``_move`` does so along with the rest."""
    if draws is None:
        return centre_crop(images, crop_size)
    if draws.moves:
        return images
    if draws.window is not None and crop_size is not None:
        images = torch.stack(
            [
                image[:, top : top + crop_size, left : left + crop_size]
                for image, (left, top) in zip(images, draws.window.tolist(), strict=True)
            ]
        )
    for number, dimension in ((0, 3), (1, 2)):
        mirrored = draws.mirror[:, number, None, None, None] < 0
        if mirrored.any():
            images = torch.where(sent(mirrored, images.device), images.flip(dimension), images)
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
    return constant(tuple(values), images.device, images.dtype)[:, None, None]
