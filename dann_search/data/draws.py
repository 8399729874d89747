"""What augmentation does to each image of a batch, drawn once on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Draws:
    """One row for each image.

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
        window: left and top in pixels of what is kept of a larger image, (n, 2); None for all.
        changes: further changes of the pixels, in order, after all others.
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
    window: Tensor | None = None
    changes: list[Callable[[Tensor], Tensor]] = field(default_factory=list)

    @classmethod
    def of_nothing(cls, n: int) -> Draws:
        """Return the draws that leave ``n`` images as they are."""
        import torch

        return cls(
            angle=torch.zeros(n),
            shear=torch.zeros(n),
            shift=torch.zeros(n, 2),
            crop=torch.ones(n, 2),
            mirror=torch.ones(n, 2),
            brightness=torch.ones(n),
            contrast=torch.ones(n),
            saturation=torch.ones(n),
            hue=torch.zeros(n),
            levels=torch.full((n,), 256.0),
            solarize=torch.ones(n),
            erased=torch.zeros(n, 4),
        )

    def then(self, change: Callable[[Tensor], Tensor]) -> None:
        """Add a change of the whole batch: float images in [0, 1], (n, 3, side, side)."""
        self.changes.append(change)

    @property
    def moves(self) -> bool:
        """Whether any image is moved or cropped, so that its pixels have to be interpolated."""
        still = (self.angle, self.shear, self.shift, self.crop - 1)
        return any(bool(amount.any()) for amount in still)
