"""The steps of one epoch: which images, how they are augmented, from a given step on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from dann_search.config.extensions import AUGMENTATIONS
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import prepare
from dann_search.data.batches import epoch_seed, few_batches, paired_batches, steps_per_epoch
from dann_search.data.device import sent
from dann_search.data.training_data import FewLabels, TrainingData
from dann_search.data.views import Seen, View
from dann_search.models.catalog import BackboneSpec
from dann_search.training.frozen_stages import FrozenOutput, FrozenStages
from dann_search.training.ranks import Ranks

AUGMENT_SOURCE, AUGMENT_TARGET = 2, 3
"""Streams of random numbers besides the two that shuffle the domains."""
AUGMENT_FEW, AUGMENT_STRONG = 6, 7
"""The same for labelled target images, and for the strong views of others."""

STRONG = {"policy_strength": 1.0, "erasing": 1.0}
"""What strong views have besides the recipe's augmentation: RandAugment at its full strength and a
hidden rectangle (Sohn et al. 2020, section 2.3)."""


@dataclass(frozen=True)
class Step:
    """This worker's part of one step: images (n, 3, side, side), labels (n,) of the source.

    Where the network begins after its frozen stages, what these made of the images.

    Attributes:
        progress: of the training, from 0 to 1.
        source, labels: of the source.
        target: images of the target; None without adaptation.
        pseudo: labels (n,) that the network gave them, in epochs that train on them.
        strong: the same target images under strong augmentation, where the method asks for them.
        few: images of the target with their labels, where it has some to train on.
    """

    progress: float
    source: Tensor
    labels: Tensor
    target: Tensor | None
    pseudo: Tensor | None = None
    strong: Tensor | None = None
    few: tuple[Tensor, Tensor] | None = None


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
        frozen: the network's frozen stages, where it begins after them.
    """

    config: TrialConfig
    data: TrainingData
    spec: BackboneSpec
    side: int
    device: torch.device
    ranks: Ranks
    frozen: FrozenStages | None = None

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

    def fixed_view(self, domain: str, epoch: int, beat: Callable[[], None]) -> Seen | FrozenOutput:
        """Return the view of a training split that an epoch shows: ``training.views``.

        Labelled target images are seen as among all others of the target. With one view, images are
        as they are, and only strong views are augmented.
        """
        config, data = self.config, self.data
        number, strong = epoch % config.views, domain == "strong"
        strength = 1.0 if domain in ("source", "strong") else config.target_augmentation
        role = "source" if domain == "source" else "target"
        view = None
        if strong:
            amounts = {one.name: one.neutral for one in AUGMENTATIONS.values()}
            plain = config.model_copy(update=amounts) if config.views == 1 else config
            view = View(number, AUGMENT_STRONG, plain.model_copy(update=STRONG))
        elif config.views > 1:
            stream = AUGMENT_SOURCE if role == "source" else AUGMENT_TARGET
            view = View(number, stream, config, strength)
        if self.frozen:
            return self.frozen.of(role, "train", view, beat)
        norm = self.spec.mean, self.spec.std
        images, crop_size = data.images_of(role, "train"), data.info.crop_size
        return Seen(images, self.side, norm, crop_size, self.device, view)


class EpochSteps:
    """The steps of an epoch; it may be left after any of them and gone on with elsewhere.

    Args:
        batches: what makes them.
        epoch: counted from 1.
        pseudo: labels (n,) of all target images, in epochs that train on them.
        beat: called while features of frozen stages are computed.

    Attributes:
        done: steps handed out.
    """

    def __init__(
        self,
        batches: Batches,
        epoch: int,
        pseudo: Tensor | None = None,
        beat: Callable[[], None] = lambda: None,
    ):
        self.batches, self.epoch, self.pseudo, self.beat = batches, epoch, pseudo, beat
        self.done = 0
        self._views: dict[str, Seen | FrozenOutput] = {}
        seed = batches.config.seed
        streams = {"source": AUGMENT_SOURCE, "target": AUGMENT_TARGET}
        streams |= {"few": AUGMENT_FEW} if batches.few else {}
        streams |= {"strong": AUGMENT_STRONG} if batches.config.strong_views else {}
        self._augmentation = {
            name: torch.Generator().manual_seed(epoch_seed(seed, epoch, stream))
            for name, stream in streams.items()
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
        strength, few_rows = config.target_augmentation, self._few_rows()
        for number, (source, target) in enumerate(pairs):
            few = next(few_rows)
            if number < self.done:
                continue
            self.done = number + 1
            yield Step(
                progress=((self.epoch - 1) * steps + number) / (config.epochs * steps),
                source=self._batch(data.source_images, source, "source"),
                labels=sent(data.source_labels[source][mine], batches.device),
                target=(
                    self._batch(data.target_images, target, "target", strength)
                    if config.adapts
                    else None
                ),
                pseudo=(
                    None if self.pseudo is None else sent(self.pseudo[target][mine], batches.device)
                ),
                strong=(
                    self._batch(data.target_images, target, "strong")
                    if config.strong_views
                    else None
                ),
                few=None if few is None else self._labelled(few, strength),
            )

    def _few_rows(self) -> Iterator[Tensor | None]:
        """Yield which of the labelled target images make up each step; None without any."""
        batches, few = self.batches, self.batches.few
        if few is None:
            return repeat(None)
        config = batches.config
        return few_batches(few.labels, config.batch_size, batches.steps, config.seed, self.epoch)

    def _labelled(self, drawn: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """Return this worker's labelled target images of a step, and their labels."""
        few, mine = self.batches.few, self.batches.ranks.share(len(drawn))
        assert few is not None
        images = self._batch(self.batches.data.target_images, few.rows[drawn], "few", strength)
        return images, sent(few.labels[drawn][mine], self.batches.device)

    def _batch(self, images: Tensor, rows: Tensor, domain: str, strength: float = 1.0) -> Tensor:
        """Gather, augment and normalize this worker's rows, as a single process would."""
        batches, config = self.batches, self.batches.config
        mine = batches.ranks.share(len(rows))
        if config.views:
            if domain not in self._views:
                self._views[domain] = batches.fixed_view(domain, self.epoch, self.beat)
            return self._views[domain].rows(rows[mine])
        if domain == "strong":
            config = config.model_copy(update=STRONG)
        return prepare(
            sent(images.index_select(0, rows[mine]), batches.device),
            batches.side,
            batches.spec.mean,
            batches.spec.std,
            config,
            self._augmentation[domain],
            (mine.start, len(rows)),
            strength,
            batches.data.info.crop_size,
        )
