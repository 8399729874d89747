"""Entries registered after everything is imported, as in a notebook: run by test_registries.py."""

from typing import Any

import torch

from dann_search import (
    AugmentationSpec,
    MethodSpec,
    Option,
    register_augmentation,
    register_method,
)
from dann_search.config.start_points import published_recipes
from dann_search.config.trial import TrialConfig, implied_conditions
from dann_search.data.augment import augment
from dann_search.data.draws import Draws

FOG = AugmentationSpec(name="fog", neutral=0.0, description="fog", words="fog of {share}")
TIMES = Option(name="times", neutral=2, low=1, high=9, description="times", words="{value} times")


def images_of(**recipe: Any) -> torch.Tensor:
    batch = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 2
    config = TrialConfig.model_validate(recipe)
    return augment(batch, config, torch.Generator().manual_seed(1))


def fog(draws: Draws, u: torch.Tensor, amount: float) -> None:
    """Make the upper left pixel of each image brighter than any other."""
    corner = 1 + amount * u[:, :1]

    def change(images: torch.Tensor) -> torch.Tensor:
        images = images.clone()
        images[:, :, 0, 0] = corner
        return images

    draws.then(change)


flipped = images_of(horizontal_flip=0.5)
register_augmentation(FOG)(fog)
register_augmentation(FOG)(fog)  # the cell is executed again
register_method(
    MethodSpec(name="own", words="x", term="x", source="x", options=(TIMES,)),
)(lambda **values: None)

config = TrialConfig.model_validate({"method": "own", "times": 3, "fog": 0.5})
assert config.method_options == {"times": 3}
assert implied_conditions()["times"] == {"method": ["own"]}
assert all(recipe["fog"] == 0 and recipe["times"] == 2 for recipe in published_recipes().values())
foggy = images_of(horizontal_flip=0.5, fog=0.5)
corners = foggy[:, 0, 0, 0]
assert corners.min() >= 1 and corners.max() < 1.5 and len(set(corners.tolist())) == 40
# Another augmentation keeps its draws.
foggy[:, :, 0, 0] = flipped[:, :, 0, 0]
assert torch.equal(foggy, flipped)
