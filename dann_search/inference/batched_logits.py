"""Logits of many images, in batches that fit into memory; files are decoded a batch ahead."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dann_search.data.decode import UnreadableImageError
from dann_search.data.domain import Image
from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError
from dann_search.inference.model import DannModel
from dann_search.training.predict import batch_size_for

Item = TypeVar("Item")


def batch_size_of(model: DannModel) -> int:
    """Return the batch size for a model."""
    return batch_size_for(max(model.input_size, model.image_size))


def find_device(name: str) -> torch.device:
    """Return the device named ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.

    Raises:
        InputError: the name is another one, or there is no GPU for ``cuda``.
    """
    if name not in ("cpu", "cuda", "auto"):
        raise InputError(f"--device: expected cpu, cuda or auto, got '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; use --device cpu or auto")
    use = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    return torch.device(use)


@torch.no_grad()
def logits_of(model: DannModel, batches: Iterable[Tensor]) -> NDArray[np.float64]:
    """Compute logits (n, classes) of batches of uint8 images (m, 3, side, side)."""
    device = next(model.parameters()).device
    logits = torch.cat([model(batch.to(device)).cpu() for batch in batches])
    return logits.double().numpy()


def stored_batches(store: Path, role: str, split: str, side: int) -> Iterator[Tensor]:
    """Yield a split of a packed store, one batch in memory at a time."""
    images = as_tensor(store, role, split)
    # Stored images may be larger than those the network sees.
    yield from torch.split(images, batch_size_for(max(side, images.shape[-1])))


def decoded_batches(
    items: Iterable[Item], decode: Callable[[Item], Image], size: int
) -> Iterator[list[tuple[Item, Image | UnreadableImageError]]]:
    """Yield items in order with their images or errors; threads decode the next batch meanwhile."""

    def attempt(item: Item) -> Image | UnreadableImageError:
        try:
            return decode(item)
        except UnreadableImageError as exc:
            return exc

    def submitted() -> list[tuple[Item, Future[Image | UnreadableImageError]]]:
        return [(item, pool.submit(attempt, item)) for item in islice(rest, size)]

    rest = iter(items)
    with ThreadPoolExecutor() as pool:
        waiting = submitted()
        while waiting:
            current, waiting = waiting, submitted()
            yield [(item, future.result()) for item, future in current]


def stacked(images: Iterable[Image]) -> Tensor:
    """Stack decoded images into one tensor (n, 3, side, side)."""
    # One memory layout, whatever the source: convolutions then agree to the last digit.
    return torch.from_numpy(np.ascontiguousarray(np.stack(list(images))))
