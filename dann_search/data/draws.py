"""What augmentation does to each image of a batch, drawn once on the CPU."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Draws:
    """One row for each of ``n`` images. At first they leave the images as they are."""

    def __init__(self, n: int):
        import torch

        self.angle = torch.zeros(n)
        """In radians, (n,)."""
        self.shear = torch.zeros(n)
        """A slope, (n,)."""
        self.shift = torch.zeros(n, 2)
        """Of the centre, in half sides, (n, 2)."""
        self.crop = torch.ones(n, 2)
        """Width and height kept, as shares of the side, (n, 2)."""
        self.mirror = torch.ones(n, 2)
        """-1 where flipped, else 1; horizontally and vertically, (n, 2)."""
        self.brightness, self.contrast, self.saturation = (torch.ones(n) for _ in range(3))
        """Factors, (n,) each."""
        self.hue = torch.zeros(n)
        """Rotation of the colours in radians, (n,)."""
        self.levels = torch.full((n,), 256.0)
        """Grey levels a channel keeps, (n,); 256 for all of them."""
        self.solarize = torch.ones(n)
        """Brightness above which a value is inverted, (n,); 1 for none."""
        self.erased = torch.zeros(n, 4)
        """Rectangle as (left, top, right, bottom) in shares of the side, (n, 4)."""
        self.window: Tensor | None = None
        """Left and top in pixels of what is kept of a larger image, (n, 2); None for all."""
        self.changes: list[Callable[[Tensor], Tensor]] = []
        """Further changes of the pixels, in order, after all others."""

    def then(self, change: "Callable[[Tensor], Tensor]") -> None:
        """Add a change of the whole batch: float images in [0, 1], (n, 3, side, side)."""
        self.changes.append(change)

    @property
    def moves(self) -> bool:
        """Whether any image is moved or cropped, so that its pixels have to be interpolated."""
        still = (self.angle, self.shear, self.shift, self.crop - 1)
        return any(bool(amount.any()) for amount in still)
