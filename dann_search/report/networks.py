"""Build the networks that a report compares, and compute their features and logits.

No image of the target's test split is opened here, and labels of its training split do not exist.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.domain import NO_LABEL
from dann_search.data.store import labels_if_any
from dann_search.data.training_data import TrainingData, as_tensor
from dann_search.data.views import Seen
from dann_search.models.build import build_network
from dann_search.models.domain_batch_norm import of_source
from dann_search.models.network import DannNetwork
from dann_search.models.registry import spec_of
from dann_search.training.checkpoint import load_checkpoint, restore_network
from dann_search.training.epoch_steps import input_side
from dann_search.training.predict import Outputs, predict_outputs
from dann_search.training.threads import with_threads

Floats = NDArray[np.float64]

PER_DOMAIN = 600
"""Images per domain whose features are compared and drawn."""
MOST_THREADS = 8
BATCH = 32
"""Images per batch: on a CPU larger batches are slower, because of their activations."""


@dataclass(frozen=True)
class Sample:
    """Images of one domain from its val and train splits, with their labels.

    ``images`` are uint8 of shape (n, 3, side, side); ``labels`` have shape (n,) and are
    ``NO_LABEL`` for the target's training images, and all of its images where none has a label.
    """

    images: Tensor
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """Features that one network computes for both samples, shapes (m, size) and (n, size)."""

    name: str
    source: Floats
    target: Floats


def take_sample(store: Path, role: str, most: int = PER_DOMAIN) -> Sample:
    """Take up to ``most`` images, half of them from val if possible; always the same ones."""
    rng = np.random.default_rng(0)
    val, train = as_tensor(store, role, "val"), as_tensor(store, role, "train")
    of_val = min(len(val), max(most // 2, most - len(train)))
    rows_val = np.sort(rng.permutation(len(val))[:of_val])
    rows_train = np.sort(rng.permutation(len(train))[: most - of_val])
    labels = []
    for split, rows in (("val", rows_val), ("train", rows_train)):
        known = labels_if_any(store, role, split)
        labels.append(np.full(len(rows), NO_LABEL) if known is None else known[rows])
    images = torch.cat([val[torch.from_numpy(rows_val)], train[torch.from_numpy(rows_train)]])
    return Sample(images, np.concatenate(labels))


@dataclass(frozen=True)
class Recipe:
    """Everything needed to build a trial's network and to run it on images."""

    config: TrialConfig
    weights: Mapping[str, WeightsFile]
    data: TrainingData

    def network(self, checkpoint: Path | None) -> DannNetwork:
        """Build the network as before training, or with the weights of a checkpoint.

        Raises:
            InputError: pre-trained weights are not available.
            RunError: the checkpoint is damaged or of another network.
        """
        side = input_side(self.config, self.data)
        network = build_network(self.config, self.data.classes, self.weights, side=side)
        if checkpoint is not None:
            restore_network(network, load_checkpoint(checkpoint), checkpoint)
        # The memory format of training, in which convolutions are faster.
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def outputs(self, network: DannNetwork, images: Tensor) -> Outputs:
        """Compute logits and features of images (n, 3, side, side)."""
        spec = spec_of(self.config.backbone, self.weights)
        side, device = input_side(self.config, self.data), torch.device("cpu")
        pieces = [
            predict_outputs(network, Seen(batch, side, spec.normalization, None, device))
            for batch in torch.split(images, BATCH)
        ]
        return Outputs(
            torch.cat([one.logits for one in pieces]), torch.cat([one.features for one in pieces])
        )

    def features(self, name: str, network: DannNetwork, source: Sample, target: Sample) -> Features:
        """Compute the features of both samples, each by its statistics if there are two."""
        with of_source(network):
            of_source_images = self.outputs(network, source.images).features.double().numpy()
        of_target_images = self.outputs(network, target.images).features.double().numpy()
        return Features(name, of_source_images, of_target_images)


@contextmanager
def few_threads() -> Iterator[None]:
    """Limit torch and numpy to eight threads within this context."""
    count = min(MOST_THREADS, torch.get_num_threads())
    with with_threads(count), threadpool_limits(count):
        yield
