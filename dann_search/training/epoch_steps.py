"""The steps of one epoch: which images, how they are augmented, from a given step on."""

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat

import torch
from torch import Tensor

from dann_search.config.experiment import WeightsFile
from dann_search.config.extensions import AUGMENTATIONS
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import prepare
from dann_search.data.batches import epoch_seed, few_batches, paired_batches, steps_per_epoch
from dann_search.data.device import sent
from dann_search.data.training_data import FewLabels, TrainingData
from dann_search.data.views import Seen, View
from dann_search.models.registry import spec_of
from dann_search.training.frozen_stages import FrozenStages
from dann_search.training.ranks import ALONE, Ranks
from dann_search.training.step import Step

AUGMENT_SOURCE, AUGMENT_TARGET = 2, 3
"""Streams of random numbers besides the two that shuffle the domains."""
STREAMS = {"source": AUGMENT_SOURCE, "target": AUGMENT_TARGET, "few": 6, "strong": 7}
"""The same for each set of images: labelled target images and strong views of others, too."""

STRONG = {"policy_strength": 1.0, "erasing": 1.0}
"""What strong views have besides the recipe's augmentation: RandAugment at its full strength and a
hidden rectangle (Sohn et al. 2020, section 2.3)."""


def input_side(config: TrialConfig, data: TrainingData) -> int:
    """Return the side in pixels at which a trial sees images: the user's, or its backbone's own."""
    return data.info.side_seen(spec_of(config.backbone).image_size)


class Batches:
    """What a trial's network sees on one worker.

    Args:
        config: the recipe.
        data: images and labels.
        device: where batches are put.
        ranks: this worker among those of the trial.
        weights: explicit files of pre-trained weights, which state their normalization.
        beat: called while something takes long, a sign of life.

    Attributes:
        side: pixels at which the network sees images.
        frozen: the network's frozen stages, where it begins after them.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: TrainingData,
        device: torch.device,
        ranks: Ranks = ALONE,
        weights: Mapping[str, WeightsFile] | None = None,
        beat: Callable[[], None] = lambda: None,
    ):
        self.config, self.data, self.device = config, data, device
        self.ranks, self.beat = ranks, beat
        self.side, self.spec = input_side(config, data), spec_of(config.backbone, weights)
        self.frozen: FrozenStages | None = None

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        sizes = len(self.data.source_images), len(self.data.target_images)
        return steps_per_epoch(*sizes, self.config.batch_size)

    @property
    def few(self) -> FewLabels | None:
        """Labelled target images that the recipe trains on."""
        return self.data.few if self.config.uses_target_labels else None

    @property
    def images(self) -> int:
        """Images that pass the network in a step, over all workers."""
        config = self.config
        sets = 1 + config.adapts + config.strong_views + (self.few is not None)
        return sets * config.batch_size

    def seen(self, role: str, split: str, view: View | None = None) -> Seen:
        """Return a split as the network sees it: in a view, or as it is where that is None."""
        images, crop_size = self.data.images_of(role, split), self.data.info.crop_size
        seen = Seen(images, self.side, self.spec.normalization, crop_size, self.device, view)
        return self.frozen.of(seen, role, split, self.beat) if self.frozen else seen

    def fixed_view(self, name: str, epoch: int) -> Seen:
        """Return the view of a set of training images that an epoch shows: ``training.views``.

        Labelled target images are seen as among all others of the target. With one view, images are
        as they are, and only strong views are augmented.
        """
        config, number = self.config, epoch % self.config.views
        if name == "strong":
            plain = {one.name: one.neutral for one in AUGMENTATIONS.values()}
            update = plain | STRONG if config.views == 1 else STRONG
            view = View(number, STREAMS[name], config.model_copy(update=update))
            return self.seen("target", "train", view)
        role = "source" if name == "source" else "target"
        shown = View(number, STREAMS[role], config, self.strength(name))
        return self.seen(role, "train", shown if config.views > 1 else None)

    def strength(self, name: str) -> float:
        """Return the factor on every augmentation of a set of images."""
        return 1.0 if name in ("source", "strong") else self.config.target_augmentation


class EpochSteps:
    """The steps of an epoch, which may be left after any of them and continued elsewhere.

    Args:
        batches: what the network sees.
        epoch: counted from 1.
        pseudo: labels (n,) of all target images, in epochs that train on them.

    Attributes:
        done: steps handed out.
    """

    def __init__(self, batches: Batches, epoch: int, pseudo: Tensor | None = None):
        self.batches, self.epoch, self.pseudo = batches, epoch, pseudo
        self.done = 0
        self._views: dict[str, Seen] = {}
        absent = {"few": batches.few is None, "strong": not batches.config.strong_views}
        self._augmentation = {
            name: torch.Generator().manual_seed(epoch_seed(batches.config.seed, epoch, stream))
            for name, stream in STREAMS.items()
            if not absent.get(name)
        }

    def state(self) -> dict[str, Tensor]:
        """Return all it takes to continue after the steps handed out."""
        generators = {name: g.get_state() for name, g in self._augmentation.items()}
        return {"done": torch.tensor(self.done), **generators}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state`` was taken."""
        self.done = int(state["done"])
        for name, generator in self._augmentation.items():
            generator.set_state(state[name])

    def __iter__(self) -> Iterator[Step]:
        config, data, few = self.batches.config, self.batches.data, self.batches.few
        steps = self.batches.steps
        pairs = paired_batches(
            len(data.source_images),
            len(data.target_images),
            config.batch_size,
            config.seed,
            self.epoch,
            data.source_labels if config.class_balanced else None,
        )
        drawn: Iterator[Tensor | None] = repeat(None)
        if few:
            drawn = few_batches(few.labels, config.batch_size, steps, config.seed, self.epoch)
        for number, ((source, target), labelled) in enumerate(zip(pairs, drawn, strict=False)):
            if number < self.done:
                continue
            self.done = number + 1
            own = None
            if few and labelled is not None:
                own = self._batch("few", few.rows[labelled]), self._sent(few.labels, labelled)
            yield Step(
                source=self._batch("source", source),
                labels=self._sent(data.source_labels, source),
                target=self._batch("target", target) if config.adapts else None,
                pseudo=None if self.pseudo is None else self._sent(self.pseudo, target),
                strong=self._batch("strong", target) if config.strong_views else None,
                few=own,
                progress=((self.epoch - 1) * steps + number) / (config.epochs * steps),
            )

    def _sent(self, labels: Tensor, rows: Tensor) -> Tensor:
        """Return the labels of this worker's rows, on the device."""
        return sent(labels[rows[self.batches.ranks.share(len(rows))]], self.batches.device)

    def _batch(self, name: str, rows: Tensor) -> Tensor:
        """Gather, augment and normalize this worker's rows, as a single process would."""
        batches, config = self.batches, self.batches.config
        mine = batches.ranks.share(len(rows))
        if config.views:
            if name not in self._views:
                self._views[name] = batches.fixed_view(name, self.epoch)
            return self._views[name].rows(rows[mine])
        images = batches.data.images_of("source" if name == "source" else "target", "train")
        return prepare(
            sent(images.index_select(0, rows[mine]), batches.device),
            batches.side,
            *batches.spec.normalization,
            config.model_copy(update=STRONG) if name == "strong" else config,
            self._augmentation[name],
            (mine.start, len(rows)),
            batches.strength(name),
            batches.data.info.crop_size,
        )
