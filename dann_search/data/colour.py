"""Changes of colours, and hidden rectangles."""

import torch
from torch import Tensor

from dann_search.data.device import constant, inverse, sent
from dann_search.data.draws import Draws

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

IN_PHASE, QUADRATURE = (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)
"""The two axes of colour in the YIQ space, in which hue is an angle."""
YIQ = (LUMA, IN_PHASE, QUADRATURE)


def change_colours(images: Tensor, draws: Draws) -> Tensor:
    """Change brightness, contrast, saturation, hue, grey levels and solarization of each image.

    Args:
        images: in [0, 1], shape (n, 3, side, side).
        draws: on the CPU, so that checking for something to do does not wait for a GPU.
    """
    if bool((draws.brightness != 1).any() | (draws.contrast != 1).any()):
        images = images * _each(draws.brightness, images)
        mean = _luma(images).mean((2, 3), keepdim=True)
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
    rows = [one, zero, zero], [zero, cos, -sin], [zero, sin, cos]
    turned = torch.stack([torch.stack(row, 1) for row in rows], 1)
    matrix = inverse(YIQ, *how) @ sent(turned.to(images.dtype), images.device) @ constant(YIQ, *how)
    return torch.einsum("nij,njhw->nihw", matrix, images)


def _luma(images: Tensor) -> Tensor:
    weights = constant(LUMA, images.device, images.dtype)[:, None, None]
    return (images * weights).sum(1, keepdim=True)


def _each(values: Tensor, images: Tensor) -> Tensor:
    return sent(values.to(images.dtype), images.device)[:, None, None, None]


def erase(images: Tensor, draws: Draws) -> Tensor:
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
