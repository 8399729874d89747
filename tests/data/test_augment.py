"""Augmentation against what it says it does."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment, normalize, to_float


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


@settings(max_examples=40, deadline=None, derandomize=True)
@given(count=st.integers(1, 9), cut=st.integers(0, 9), seed=st.integers(0, 50))
def test_rows_of_a_shared_batch_get_what_a_single_process_gives_them(
    count: int, cut: int, seed: int
) -> None:
    cut = min(cut, count)
    batch = images(count, seed=seed)
    recipe: dict[str, Any] = {"rotation_degrees": 20.0, "translation": 0.1, "horizontal_flip": 0.5}
    whole = augmented(batch, **recipe)
    parts = [
        augmented(batch[first:last], rows=(first, count), **recipe)
        for first, last in ((0, cut), (cut, count))
        if last > first
    ]
    # Kernels vectorize over a batch, so that its size may change the last bit.
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-6, rtol=0)


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
