"""The steps of one epoch: which images, how they are augmented, from a given step on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.augment import prepare
from dann_search.data.batches import epoch_seed, paired_batches, steps_per_epoch
from dann_search.data.training_data import TrainingData
from dann_search.models.catalog import BackboneSpec
from dann_search.training.ranks import Ranks

AUGMENT_SOURCE, AUGMENT_TARGET = 2, 3
"""Streams of random numbers besides the two that shuffle the domains."""


@dataclass(frozen=True)
class Step:
    """This worker's part of one step: images (n, 3, side, side), labels (n,) of the source."""

    progress: float
    source: Tensor
    labels: Tensor
    target: Tensor | None
    pseudo: Tensor | None = None
    """Labels (n,) that the network gave the target's images, in epochs that train on them."""


@dataclass(frozen=True)
class Batches:
    """What makes the batches of a trial on one worker.

    Attributes:
        config: the recipe.
        data: images and labels.
        spec: of the backbone, for its normalization.
        side: pixels at which the network sees images.
        device: where batches are put.
        ranks: this worker among those of the trial.
    """

    config: TrialConfig
    data: TrainingData
    spec: BackboneSpec
    side: int
    device: torch.device
    ranks: Ranks

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        sizes = len(self.data.source_images), len(self.data.target_images)
        return steps_per_epoch(*sizes, self.config.batch_size)


class EpochSteps:
    """The steps of an epoch; it may be left after any of them and gone on with elsewhere.

    Args:
        batches: what makes them.
        epoch: counted from 1.
        pseudo: labels (n,) of all target images, in epochs that train on them.

    Attributes:
        done: steps handed out.
    """

    def __init__(self, batches: Batches, epoch: int, pseudo: Tensor | None = None):
        self.batches, self.epoch, self.pseudo = batches, epoch, pseudo
        self.done = 0
        seed = batches.config.seed
        self._augmentation = {
            name: torch.Generator().manual_seed(epoch_seed(seed, epoch, stream))
            for name, stream in (("source", AUGMENT_SOURCE), ("target", AUGMENT_TARGET))
        }

    def state(self) -> dict[str, Tensor]:
        """All it takes to go on after the steps handed out."""
        generators = {name: g.get_state() for name, g in self._augmentation.items()}
        return {"done": torch.tensor(self.done), **generators}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on where ``state`` was taken."""
        self.done = int(state["done"])
        for name, generator in self._augmentation.items():
            generator.set_state(state[name])

    def __iter__(self) -> Iterator[Step]:
        batches, config, data = self.batches, self.batches.config, self.batches.data
        steps = batches.steps
        mine = batches.ranks.share(config.batch_size)
        pairs = paired_batches(
            len(data.source_images),
            len(data.target_images),
            config.batch_size,
            config.seed,
            self.epoch,
            data.source_labels if config.class_balanced else None,
        )
        for number, (source, target) in enumerate(pairs):
            if number < self.done:
                continue
            self.done = number + 1
            yield Step(
                progress=((self.epoch - 1) * steps + number) / (config.epochs * steps),
                source=self._batch(data.source_images, source, "source"),
                labels=data.source_labels[source][mine].to(batches.device),
                target=(
                    self._batch(data.target_images, target, "target", config.target_augmentation)
                    if config.adapts
                    else None
                ),
                pseudo=(
                    None if self.pseudo is None else self.pseudo[target][mine].to(batches.device)
                ),
            )

    def _batch(self, images: Tensor, rows: Tensor, domain: str, strength: float = 1.0) -> Tensor:
        """Gather, augment and normalize this worker's rows, as a single process would."""
        batches = self.batches
        mine = batches.ranks.share(len(rows))
        return prepare(
            images.index_select(0, rows[mine]).to(batches.device),
            batches.side,
            batches.spec.mean,
            batches.spec.std,
            batches.config,
            self._augmentation[domain],
            (mine.start, len(rows)),
            strength,
            batches.data.info.crop_size,
        )
