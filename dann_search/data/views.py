"""What a network sees of an image where each has a fixed number of views: ``training.views``.

A view is drawn by its own number, the image's, and what it is for. The training's seed does not
matter: like a split, views are part of the data, and trainings with other seeds share them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dann_search.config.extensions import AUGMENTATIONS
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import normalize, prepare, to_float
from dann_search.data.batches import epoch_seed
from dann_search.data.image_pixels import centre_crop

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel."""


@dataclass(frozen=True)
class View:
    """An augmented view of each image of a split.

    Attributes:
        number: of the view, from 0.
        stream: what it is for: distinct numbers draw distinct views.
        config: the recipe, with the amount of every augmentation.
        strength: factor in [0, 1] on every amount and probability.
    """

    number: int
    stream: int
    config: TrialConfig
    strength: float = 1.0

    @property
    def record(self) -> dict[str, float]:
        """All that makes one view another one."""
        amounts = {name: float(getattr(self.config, name)) for name in AUGMENTATIONS}
        return {"number": self.number, "stream": self.stream, "strength": self.strength, **amounts}


@dataclass(frozen=True)
class Seen:
    """A split as the network sees it, in one view.

    Attributes:
        images: as stored, uint8, (n, 3, h, w).
        side: pixels at which the network sees them.
        normalization: of the backbone.
        crop_size: side in pixels that is seen of them; None for all.
        device: where batches are put.
        view: None for images as they are.
    """

    images: Tensor
    side: int
    normalization: Normalization
    crop_size: int | None
    device: torch.device
    view: View | None = None

    def rows(self, rows: Tensor) -> Tensor:
        """Return images (m, 3, side, side), normalized, by their numbers (m,)."""
        images = self.images.index_select(0, rows).to(self.device)
        if (view := self.view) is None:
            seen = to_float(centre_crop(images, self.crop_size), self.side)
            return normalize(seen, *self.normalization)
        generator, changed = torch.Generator(), list[Tensor]()
        # One by one: whether others of its batch are moved decides how an image is interpolated,
        # and its view must not depend on them.
        for image, row in zip(torch.split(images, 1), rows.tolist(), strict=True):
            generator.manual_seed(epoch_seed(row, view.number, view.stream))
            how = (*self.normalization, view.config, generator, None, view.strength)
            changed.append(prepare(image, self.side, *how, crop_size=self.crop_size))
        return torch.cat(changed)
