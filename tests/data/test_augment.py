"""Augmentation against what it says it does."""

import math
from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment, change_colours, draw, normalize, prepare, to_float
from dann_search.data.draws import Draws
from dann_search.models import torchvision_models

EVERYTHING: dict[str, Any] = {
    "rotation_degrees": 20.0, "translation": 0.1, "horizontal_flip": 0.5, "vertical_flip": 0.5,
    "crop_scale": 0.3, "colour_jitter": 0.5, "grayscale": 0.3, "erasing": 0.5,
    "policy_strength": 1.0,
}  # fmt: skip


def images(count: int = 4, side: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def augmented(batch: Tensor, rows: tuple[int, int] | None = None, **recipe: Any) -> Tensor:
    return augment(batch, TrialConfig(**recipe), torch.Generator().manual_seed(5), rows)


def test_no_augmentation_is_the_identity() -> None:
    batch = images()
    assert augmented(batch) is batch


def test_a_flip_of_probability_one_mirrors_every_image() -> None:
    batch = images()
    torch.testing.assert_close(augmented(batch, horizontal_flip=1.0), batch.flip(3))
    torch.testing.assert_close(augmented(batch, vertical_flip=1.0), batch.flip(2))


def test_a_flip_of_probability_one_half_mirrors_some_images() -> None:
    batch = images(100)
    result = augmented(batch, horizontal_flip=0.5)
    mirrored = (result - batch.flip(3)).abs().amax((1, 2, 3)) < 1e-5
    kept = (result - batch).abs().amax((1, 2, 3)) < 1e-5
    assert (mirrored ^ kept).all()
    assert 30 <= int(mirrored.sum()) <= 70


def test_a_shift_moves_by_at_most_the_fraction_and_differs_between_images() -> None:
    side, fraction = 100, 0.2
    batch = torch.zeros(64, 3, side, side)
    batch[:, :, 49:51, 49:51] = 1.0
    result = augmented(batch, translation=fraction)[:, 0]
    weight = result.sum((1, 2))
    pixels = torch.arange(side) + 0.5
    row = (result.sum(2) * pixels).sum(1) / weight - side / 2
    column = (result.sum(1) * pixels).sum(1) / weight - side / 2
    for moved in (row, column):
        assert moved.abs().max() <= fraction * side + 0.01
        assert moved.abs().max() > 0.75 * fraction * side
        assert moved.std() > 0.3 * fraction * side
    assert (row - column).abs().max() > 1


def test_a_rotation_turns_by_at_most_the_angle_and_keeps_the_centre() -> None:
    side, degrees = 101, 30.0
    batch = torch.zeros(64, 3, side, side)
    batch[:, :, 50, 80:83] = 1.0  # right of the centre by 31 pixels
    batch[:, :, 50, 50] = 5.0
    result = augmented(batch, rotation_degrees=degrees)[:, 0]
    assert (result[:, 50, 50] > 4.9).all()
    result[:, 47:54, 47:54] = 0
    pixels = torch.arange(side) - 50.0
    weight = result.sum((1, 2))
    row = (result.sum(2) * pixels).sum(1) / weight
    column = (result.sum(1) * pixels).sum(1) / weight
    angle = torch.atan2(row, column).abs() * 180 / math.pi
    torch.testing.assert_close(torch.hypot(row, column), torch.full((64,), 31.0), atol=0.3, rtol=0)
    assert angle.max() <= degrees + 0.5 and angle.max() > 0.75 * degrees


def test_what_moves_in_repeats_the_border() -> None:
    batch = torch.full((8, 3, 16, 16), 0.7)
    result = augmented(batch, translation=0.5, rotation_degrees=45)
    torch.testing.assert_close(result, batch)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(count=st.integers(1, 9), cut=st.integers(0, 9), seed=st.integers(0, 50))
def test_rows_of_a_shared_batch_get_what_a_single_process_gives_them(
    count: int, cut: int, seed: int
) -> None:
    cut = min(cut, count)
    batch = images(count, seed=seed)
    recipe = EVERYTHING
    whole = augmented(batch, **recipe)
    parts = [
        augmented(batch[first:last], rows=(first, count), **recipe)
        for first, last in ((0, cut), (cut, count))
        if last > first
    ]
    # Kernels vectorize over a batch, so that its size may change the last bit.
    different = (torch.cat(parts) - whole).abs() > 1e-4
    # … and where grey levels or solarization jump, a last bit can turn a pixel.
    assert float(different.float().mean()) < 0.01


def test_uint8_becomes_zero_to_one_at_the_side_asked_for() -> None:
    batch = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 8, 8)
    assert to_float(batch, 8)[:, 0, 0, 0].tolist() == [0.0, 1.0]
    scaled = to_float(batch, 5)
    assert scaled.shape == (2, 3, 5, 5)
    torch.testing.assert_close(scaled[1], torch.ones(3, 5, 5))


def test_normalization_is_per_channel() -> None:
    batch = torch.ones(1, 3, 2, 2)
    result = normalize(batch, (0.0, 0.5, 1.0), (1.0, 0.5, 2.0))
    assert result[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.0, 0.0])


@pytest.mark.parametrize("smallest", [0.1, 0.5])
def test_a_random_resized_crop_keeps_its_share_inside_the_image(smallest: float) -> None:
    side = 100
    ramp = (torch.arange(side) + 0.5) / side
    batch = torch.stack(
        [ramp.expand(side, side), ramp[:, None].expand(side, side), ramp * ramp[:, None]]
    )
    result = augmented(batch.expand(150, 3, side, side), crop_scale=smallest)
    # Red and green say where each pixel came from.
    width = result[:, 0, 0, -1] - result[:, 0, 0, 0]
    height = result[:, 1, -1, 0] - result[:, 1, 0, 0]
    area, ratio = width * height, width / height
    assert area.min() > 0.95 * smallest and area.max() < 1.01
    assert area.min() < smallest + 0.1 and area.std() > 0.1
    assert ratio.max() < 1.36 and ratio.min() > 0.73


def drawn(count: int, **changes: Any) -> Draws:
    """Draws that do nothing but what is named."""
    generator = torch.Generator().manual_seed(0)
    still = draw(TrialConfig.model_validate({"horizontal_flip": 1e-9}), count, generator, None, 1.0)
    assert still is not None
    for name, value in changes.items():
        setattr(still, name, torch.full_like(getattr(still, name), value))
    return still


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.3])
@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_colours_change_as_torchvisions_do(kind: str, factor: float) -> None:
    assert torchvision_models.tv
    # Not imported above: torchvision comes in only after the project made it importable.
    functional = import_module("torchvision.transforms.v2.functional")

    batch = images()
    expected = getattr(functional, f"adjust_{kind}")(batch, factor)
    found = change_colours(batch, drawn(4, **{kind: factor}))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)  # YIQ's rounded constants


def test_a_full_turn_of_hue_is_none_and_grey_has_no_hue() -> None:
    batch = images() * 0.5 + 0.25
    torch.testing.assert_close(
        change_colours(batch, drawn(4, hue=2 * math.pi)), batch, atol=1e-5, rtol=0
    )
    half = change_colours(batch, drawn(4, hue=math.pi))
    assert (half - batch).abs().max() > 0.05
    grey = batch[:, :1].expand(4, 3, 12, 12)
    torch.testing.assert_close(change_colours(grey, drawn(4, hue=1.0)), grey, atol=2e-3, rtol=0)


def test_grey_levels_and_solarization_are_what_they_say() -> None:
    batch = images()
    found = change_colours(batch, drawn(4, levels=4.0))
    assert set((found * 3).round(decimals=4).flatten().tolist()) == {0.0, 1.0, 2.0, 3.0}
    found = change_colours(batch, drawn(4, solarize=0.6))
    torch.testing.assert_close(found, torch.where(batch > 0.6, 1 - batch, batch))


def test_grayscale_of_probability_one_leaves_no_colour() -> None:
    result = augmented(images(), grayscale=1.0)
    assert (result.amax(1) - result.amin(1)).max() < 2e-3


def test_erasing_hides_one_rectangle_of_at_most_a_third() -> None:
    batch = images(200, side=60)
    result = augmented(batch, erasing=0.5)
    hidden = (result != batch).any(1)
    share = hidden.float().mean((1, 2))
    assert 60 <= int((share > 0).sum()) <= 140
    assert share.max() <= 0.36 and share[share > 0].min() > 0.005
    for mask in hidden[share > 0]:
        lines, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = (lines.max() - lines.min() + 1) * (columns.max() - columns.min() + 1)
        assert int(mask.sum()) == int(box)


def test_the_policy_grows_with_its_strength_and_differs_between_images() -> None:
    batch = images(100)
    changes = [
        (augmented(batch, policy_strength=strength) - batch).abs().mean((1, 2, 3))
        for strength in (0.1, 1.0)
    ]
    assert changes[1].mean() > 2 * changes[0].mean() > 0
    assert changes[1].std() > 0.02


def test_everything_together_stays_in_range_and_comes_from_the_generator_alone() -> None:
    batch = images(64, side=32)
    result = augmented(batch, **EVERYTHING)
    assert result.min() >= 0 and result.max() <= 1 and result.shape == batch.shape
    torch.rand(5)
    assert torch.equal(result, augmented(batch, **EVERYTHING))


def test_strength_scales_everything_down_to_nothing() -> None:
    batch, config = images(), TrialConfig(**EVERYTHING)
    generator = torch.Generator().manual_seed(5)
    assert augment(batch, config, generator, strength=0.0) is batch
    little = augment(batch, config, generator, strength=1e-4)
    # Solarization still inverts what is all but white.
    assert float(((little - batch).abs() > 0.02).float().mean()) < 0.01


@pytest.mark.parametrize(
    "changes",
    [{}, {"horizontal_flip": 0.5, "vertical_flip": 0.5}, {"horizontal_flip": 0.5, "erasing": 0.5},
     {"crop_scale": 0.5, "horizontal_flip": 0.5, "colour_jitter": 0.3}],
)  # fmt: skip
@pytest.mark.parametrize("side", [12, 8])
def test_preparing_is_scaling_augmenting_and_normalizing(
    changes: dict[str, float], side: int
) -> None:
    pixels = torch.randint(0, 256, (6, 3, 12, 12), generator=torch.Generator().manual_seed(1))
    images, config = pixels.to(torch.uint8), TrialConfig.model_validate(changes)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    before = images.clone()
    prepared = prepare(images, side, mean, std, config, torch.Generator().manual_seed(2), (1, 8))
    one_by_one = augment(to_float(images, side), config, torch.Generator().manual_seed(2), (1, 8))
    torch.testing.assert_close(prepared, normalize(one_by_one, mean, std), atol=1e-5, rtol=1e-5)
    assert torch.equal(images, before)


CROPPED = 8
"""Side of the crops of images of 12 pixels: five places each way."""


def cropped(batch: Tensor, strength: float = 1.0, **recipe: Any) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return augment(batch, TrialConfig(**recipe), generator, None, strength, CROPPED)


def places(result: Tensor, batch: Tensor) -> list[tuple[int, int]]:
    """Where in its image each crop lies, (top, left)."""
    found = []
    for image, crop in zip(batch, result, strict=True):
        windows = image.unfold(1, CROPPED, 1).unfold(2, CROPPED, 1).permute(1, 2, 0, 3, 4)
        (place,) = (windows - crop).abs().amax((2, 3, 4)).lt(1e-5).nonzero().tolist()
        found.append((place[0], place[1]))
    return found


def test_crops_are_whole_pixels_at_places_that_are_all_alike() -> None:
    batch = images(400)
    found = places(cropped(batch), batch)
    assert set(found) == {(top, left) for top in range(5) for left in range(5)}
    for one in range(2):
        counts = [sum(place[one] == where for place in found) for where in range(5)]
        assert all(50 <= count <= 110 for count in counts), counts
    # With a weaker augmentation, as of the target, they come nearer to the centre.
    assert set(places(cropped(batch, 0.5), batch)) == {
        (top, left) for top in (1, 2, 3) for left in (1, 2, 3)
    }
    assert set(places(cropped(batch, 0.0), batch)) == {(2, 2)}


def test_a_crop_comes_before_all_other_augmentations() -> None:
    batch = images(60)
    crops = torch.stack(
        [
            image[:, top : top + CROPPED, left : left + CROPPED]
            for image, (top, left) in zip(batch, places(cropped(batch), batch), strict=True)
        ]
    )
    torch.testing.assert_close(cropped(batch, horizontal_flip=1.0), crops.flip(3))
    # Of an interpolation that moves nothing by much: the same places, found by sampling.
    moved = cropped(batch, rotation_degrees=1e-4)
    torch.testing.assert_close(moved, crops, atol=1e-3, rtol=0)


def test_a_rotated_crop_takes_its_corners_from_the_image_around_it() -> None:
    row = torch.arange(12.0)[None, :, None].expand(3, 12, 12) / 12
    turned = cropped(row[None].repeat(50, 1, 1, 1), rotation_degrees=40.0)
    # A linear ramp stays one, except where places outside of the whole image repeat its border.
    steps = turned[:, 0].diff(dim=1)
    inside = (turned[:, 0, 1:] > 0.1) & (turned[:, 0, 1:] < 0.8)
    assert steps.shape == (50, 7, 8) and inside.any()
    assert float(steps[inside].min()) > 0.05


def test_a_random_resized_crop_is_taken_of_the_whole_image() -> None:
    batch = images(200)
    whole = torch.zeros(200, 3, 12, 12)
    whole[:, :, 0, 0] = 1.0  # a corner that no plain crop but the first can hold
    near = cropped(whole, crop_scale=0.95)[:, 0, 0, 0]
    assert float((near > 0.1).float().mean()) > 0.9
    assert cropped(batch, crop_scale=0.3).shape == (200, 3, CROPPED, CROPPED)


@pytest.mark.parametrize(
    "changes", [{}, {"horizontal_flip": 0.5}, {"crop_scale": 0.5}, {"rotation_degrees": 9.0}]
)
def test_preparing_crops_bytes_as_augmenting_crops_numbers(changes: dict[str, float]) -> None:
    pixels = torch.randint(0, 256, (6, 3, 12, 12), generator=torch.Generator().manual_seed(1))
    stored, config = pixels.to(torch.uint8), TrialConfig.model_validate(changes)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    for rows, start in (((0, 6), 0), ((2, 6), 2)):
        seeds = [torch.Generator().manual_seed(2) for _ in range(2)]
        part = stored[start:]
        prepared = prepare(part, CROPPED, mean, std, config, seeds[0], rows, 1.0, CROPPED)
        floats = augment(to_float(stored, 12), config, seeds[1], (0, 6), 1.0, CROPPED)[start:]
        torch.testing.assert_close(prepared, normalize(floats, mean, std), atol=1e-4, rtol=1e-4)
