"""Augmentation of whole batches on their device, with parameters drawn for each image."""

import zlib

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.config.extensions import AUGMENTATIONS, AugmentationSpec
from dann_search.config.trial import TrialConfig
from dann_search.data.augmentations import COLUMNS
from dann_search.data.device import constant, inverse, sent
from dann_search.data.draws import Draws
from dann_search.data.image_pixels import centre_crop

CROP = AUGMENTATIONS["crop_scale"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

IN_PHASE, QUADRATURE = (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)
"""The two axes of colour in the YIQ space, in which hue is an angle."""
YIQ = (LUMA, IN_PHASE, QUADRATURE)


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
    images = _erase(change_colours(images, draws), draws)
    for change in draws.changes:
        images = change(images)
    return images


def _move(images: Tensor, draws: Draws, side: int) -> Tensor:
    """Crop, rotate, shear, shift and flip in one interpolation, to ``side`` pixels."""
    cos, sin = torch.cos(draws.angle), torch.sin(draws.angle)
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    rotation = _matrices([cos, -sin], [sin, cos])
    shear = _matrices([one, draws.shear], [zero, one])
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


def _matrices(*rows: list[Tensor]) -> Tensor:
    """Return a matrix for each image, (n, rows, columns), from entries of shape (n,)."""
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


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


def change_colours(images: Tensor, draws: Draws) -> Tensor:
    """Change brightness, contrast, saturation, hue, grey levels and solarization of each image.

    Args:
        images: in [0, 1], shape (n, 3, side, side).
        draws: on the CPU, so that checking for something to do does not wait for a GPU.
    """
    if bool((draws.brightness != 1).any() | (draws.contrast != 1).any()):
        images = images * _each(draws.brightness, images)
        mean = (images * _by_channel(LUMA, images)).sum(1, keepdim=True).mean((2, 3), keepdim=True)
        images = ((images - mean) * _each(draws.contrast, images) + mean).clamp(0, 1)
    if bool((draws.saturation != 1).any() | (draws.hue != 0).any()):
        images = _saturate_and_turn(images, draws).clamp(0, 1)
    if bool((draws.levels < 256).any()):
        levels = _each(draws.levels, images) - 1
        images = torch.where(levels < 255, (images * levels).round() / levels, images)
    if bool((draws.solarize < 1).any()):
        images = torch.where(images > _each(draws.solarize, images), 1 - images, images)
    return images


def _saturate_and_turn(images: Tensor, draws: Draws) -> Tensor:
    """Scale and rotate each pixel's colour about its brightness, in YIQ."""
    how = images.device, images.dtype
    cos, sin = (turn(draws.hue) * draws.saturation for turn in (torch.cos, torch.sin))
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turned = _matrices([one, zero, zero], [zero, cos, -sin], [zero, sin, cos])
    matrix = inverse(YIQ, *how) @ sent(turned.to(images.dtype), images.device) @ constant(YIQ, *how)
    return torch.einsum("nij,njhw->nihw", matrix, images)


def _each(values: Tensor, images: Tensor) -> Tensor:
    return sent(values.to(images.dtype), images.device)[:, None, None, None]


def _erase(images: Tensor, draws: Draws) -> Tensor:
    """Fill the rectangle of each image with its mean colour."""
    if not bool(draws.erased.any()):
        return images
    side = images.shape[-1]
    left, top, right, bottom = (sent(draws.erased, images.device) * side).round().unbind(1)
    places = torch.arange(side, device=images.device)
    columns = (places >= left[:, None]) & (places < right[:, None])
    lines = (places >= top[:, None]) & (places < bottom[:, None])
    hidden = (lines[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(hidden, images.mean((2, 3), keepdim=True), images)


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
