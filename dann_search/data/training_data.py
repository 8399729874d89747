"""What training may see: labelled source, target, the labelled val splits of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dann_search.data.domain import NO_LABEL
from dann_search.data.feature_folder import FEATURES, FeatureFolder, mapped_tensor
from dann_search.data.image_pixels import centre_crop
from dann_search.data.store import (
    StoreInfo,
    few_if_any,
    labels_if_any,
    open_images,
    open_labels,
    read_info,
)


@dataclass(frozen=True)
class FewLabels:
    """The target's training images with labels that training may see.

    Attributes:
        rows: numbers among the target's training images, (m,).
        labels: of each, (m,).
    """

    rows: Tensor
    labels: Tensor


@dataclass(frozen=True)
class TrainingData:
    """Images as uint8 tensors of shape (n, 3, side, side), labels as int64 of shape (n,).

    Training images are as stored, to be cropped at random; the others are as networks see them.
    There is no field for labels of the target's test images, and none for those of its training
    images but ``few``, which the user gave to training. ``val_labels`` is None where the target has
    no others.
    """

    info: StoreInfo
    source_images: Tensor
    source_labels: Tensor
    target_images: Tensor
    val_images: Tensor
    val_labels: Tensor | None
    source_val_images: Tensor
    source_val_labels: Tensor
    few: FewLabels | None = None
    features: FeatureFolder | None = None
    """Where outputs of frozen stages are kept; None where they are not."""

    def images_of(self, role: str, split: str) -> Tensor:
        """Return the images of a split that training may see, as stored or as networks see them."""
        target = {"train": self.target_images, "val": self.val_images}
        source = {"train": self.source_images, "val": self.source_val_images}
        return (source if role == "source" else target)[split]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.info.class_names)


def open_training_data(folder: Path, feature_limit_gib: float = 0.0) -> TrainingData:
    """Open the training view of a packed store; never touches the test split.

    Features of frozen stages are kept beside it, up to so many GiB; none by default.
    """
    features = FeatureFolder(folder / FEATURES, int(feature_limit_gib * 2**30))
    val_labels = labels_if_any(folder, "target", "val")
    few: FewLabels | None = None
    if (known := few_if_any(folder)) is not None:
        rows = np.flatnonzero(known != NO_LABEL)
        few = FewLabels(torch.from_numpy(rows), torch.from_numpy(known[rows]))
    return TrainingData(
        info=read_info(folder),
        source_images=stored_tensor(folder, "source", "train"),
        source_labels=torch.from_numpy(open_labels(folder, "source", "train")),
        target_images=stored_tensor(folder, "target", "train"),
        val_images=as_tensor(folder, "target", "val"),
        val_labels=None if val_labels is None else torch.from_numpy(val_labels),
        source_val_images=as_tensor(folder, "source", "val"),
        source_val_labels=torch.from_numpy(open_labels(folder, "source", "val")),
        few=few,
        features=features if feature_limit_gib else None,
    )


def as_tensor(folder: Path, role: str, split: str) -> Tensor:
    """Open a split's images as networks see them: the centre of each where images are cropped."""
    return centre_crop(stored_tensor(folder, role, split), read_info(folder).crop_size)


def stored_tensor(folder: Path, role: str, split: str) -> Tensor:
    """Open a split's images as a tensor over the memory map, shared by a node's processes."""
    return mapped_tensor(open_images(folder, role, split))
