"""Outputs of a whole split: the same whatever memory there is, in the recipe's precision."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dann_search.data.views import Seen
from dann_search.models.catalog import CATALOG
from dann_search.training.predict import (
    NO_MEMORY,
    batch_size_for,
    is_out_of_memory,
    predict_logits,
)

ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(f"[enforce fail] {NO_MEMORY}")]


class Small(nn.Module):
    """A network for which at most ``most`` images fit into memory."""

    def __init__(self, most: int, error: Exception):
        super().__init__()
        self.most, self.error, self.sizes = most, error, list[int]()
        self.linear = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise self.error
        out: Tensor = self.linear(images.mean((2, 3)))
        return out


def predicted(network: nn.Module, count: int = 300, **options: Any) -> Tensor:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    seen = Seen(images, 8, CATALOG["dann_cnn"].normalization, None, torch.device("cpu"))
    return predict_logits(network, seen, **options)


@pytest.mark.parametrize("error", ERRORS, ids=["gpu", "cpu"])
def test_a_batch_for_which_memory_does_not_suffice_is_halved_and_repeated(error: Exception) -> None:
    network = Small(40, error)
    logits = predicted(network)
    assert network.sizes == [256, 128, 64, *[32] * 9, 12]
    network.most = 1000
    torch.testing.assert_close(logits, predicted(network))


def test_an_image_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="CUDA"):
        predicted(Small(0, ERRORS[0]), 3)
    assert not is_out_of_memory(RuntimeError("sizes differ"))


def test_an_empty_split_has_no_logits() -> None:
    assert predicted(Small(9, ERRORS[0]), 0).shape == (0, 2)


def test_large_images_are_taken_fewer_at_once() -> None:
    assert [batch_size_for(side) for side in (28, 112, 224, 448, 10_000)] == [256, 256, 64, 16, 1]


def test_outputs_are_computed_in_the_precision_that_is_asked_for_and_given_in_fp32() -> None:
    network = Small(1000, ERRORS[0])
    exact, rounded = predicted(network), predicted(network, precision="bf16")
    assert exact.dtype == rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=0.05, rtol=0.05)
    assert torch.equal(rounded, rounded.bfloat16().float())


def test_every_batch_is_a_sign_of_life() -> None:
    network, beats = Small(128, ERRORS[0]), list[int]()
    predicted(network, 700, beat=lambda: beats.append(len(network.sizes)))
    assert network.sizes == [256, *[128] * 5, 60]
    assert beats == [2, 3, 4, 5, 6, 7]
