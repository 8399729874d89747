"""Training of one trial, epoch by epoch.

It can be resumed after any of them with the same result to the last digit.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment, normalize, to_float
from dann_search.data.batches import epoch_seed, paired_batches, steps_per_epoch
from dann_search.data.training_data import TrainingData
from dann_search.errors import RunError
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of
from dann_search.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    frozen_hash,
    load_checkpoint,
    restore_network,
    save_checkpoint,
    trained_state,
)
from dann_search.training.ema import WeightAverage
from dann_search.training.methods import ADAPTATIONS
from dann_search.training.metrics import Metrics, classification_metrics
from dann_search.training.optimizer import Optimizer
from dann_search.training.predict import Outputs, predict_outputs
from dann_search.training.ranks import ALONE, Ranks
from dann_search.training.result import F1_MACRO, EpochResult, History, best_epoch
from dann_search.training.schedules import depth_at, lambda_at
from dann_search.training.seeding import reset_torch
from dann_search.training.step import adapted_loss, source_loss
from dann_search.training.validators import validate
from dann_search.training.validators.view import ValidationView

AUGMENT_SOURCE, AUGMENT_TARGET, GLOBAL = 2, 3, 4
"""Streams of random numbers besides the two that shuffle the domains."""


class DivergedError(RunError):
    """The loss became infinite or not a number."""


class Training:
    """Network, optimizer and history of one trial on one worker."""

    def __init__(
        self,
        config: TrialConfig,
        data: TrainingData,
        folder: Path,
        device: torch.device,
        ranks: Ranks = ALONE,
        weights: Mapping[str, WeightsFile] | None = None,
        objective: str = F1_MACRO,
    ):
        reset_torch(config.seed)
        self.config, self.data, self.folder = config, data, folder
        self.device, self.ranks, self.objective = device, ranks, objective
        self.spec = spec_of(config.backbone, weights)
        self.side = input_side(config, data)
        self.network = build_network(config, data.classes, weights).to(device)
        self.optimizer = Optimizer(self.network, config)
        self.average = WeightAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.frozen_hash = frozen_hash(self.network)
        self.history: History = ()
        if (folder / LAST).exists():
            self._restore(folder / LAST)

    def _restore(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        restore_network(self.network, checkpoint, path)
        self.optimizer.load_state(checkpoint.optimizer)
        if self.average:
            self.average.load(checkpoint.average)
        self.history = checkpoint.history

    def train_epoch(self, epoch: int, beat: Callable[[], None]) -> None:
        """Train one epoch, validate, append to the history."""
        start = time.perf_counter()
        config, ranks = self.config, self.ranks
        reset_torch(epoch_seed(config.seed, epoch, GLOBAL))
        generators = [
            torch.Generator().manual_seed(epoch_seed(config.seed, epoch, stream))
            for stream in (AUGMENT_SOURCE, AUGMENT_TARGET)
        ]
        sizes = len(self.data.source_images), len(self.data.target_images)
        steps = steps_per_epoch(*sizes, config.batch_size)
        sums = torch.zeros(3, device=self.device)
        lam = 0.0
        backbone = self.network.backbone
        backbone.hold_below(depth_at(epoch, config, len(backbone.stage_names)))
        self.network.train()
        for step, (source_rows, target_rows) in enumerate(
            paired_batches(
                *sizes,
                config.batch_size,
                config.seed,
                epoch,
                self.data.source_labels if config.class_balanced else None,
            )
        ):
            p = ((epoch - 1) * steps + step) / (config.epochs * steps)
            lam = lambda_at(p, config)
            self.optimizer.set_progress(p)
            source = self._batch(self.data.source_images, source_rows, generators[0])
            labels = self.data.source_labels[source_rows][ranks.share(config.batch_size)].to(
                self.device
            )
            target = (
                self._batch(
                    self.data.target_images,
                    target_rows,
                    generators[1],
                    config.target_augmentation,
                )
                if config.adapts
                else None
            )
            loss, parts = self._loss(source, labels, target, lam)
            self.optimizer.backward(loss)
            ranks.sum_gradients(self.optimizer.parameters)
            self.optimizer.step()
            if self.average:
                self.average.update()
            sums += parts
            beat()
        trained = time.perf_counter() - start
        label_loss, adaptation_loss, domain_accuracy = (ranks.sum_(sums) / steps).tolist()
        self._require_finite("loss", label_loss + adaptation_loss, epoch)
        ranks.average_statistics(self.network)
        metrics, validators = self._validate(epoch)
        images = steps * config.batch_size * (2 if config.adapts else 1)
        rates = self.optimizer.rates
        self.history += (
            EpochResult(
                epoch=epoch,
                f1_macro_val=metrics.f1_macro,
                accuracy_val=metrics.accuracy,
                precision_macro_val=metrics.precision_macro,
                recall_macro_val=metrics.recall_macro,
                label_loss=label_loss,
                domain_loss=adaptation_loss if config.adversarial else None,
                domain_accuracy=domain_accuracy if config.adversarial else None,
                adaptation_loss=(
                    adaptation_loss if config.adapts and not config.adversarial else None
                ),
                lambda_=lam if config.adapts else None,
                learning_rate=rates[0],
                head_learning_rate=rates[1],
                images_per_s=images / trained,
                seconds=time.perf_counter() - start,
                validators=validators,
            ),
        )

    def _loss(
        self, source: Tensor, labels: Tensor, target: Tensor | None, lam: float
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        size, smoothing = config.batch_size, config.label_smoothing
        with autocast(self.device, config):
            if target is None:
                return source_loss(self.network, source, labels, size, smoothing)
            adaptation = ADAPTATIONS[config.method]
            return adapted_loss(
                self.network, adaptation, source, labels, target, lam, size, smoothing
            )

    def _batch(
        self, images: Tensor, rows: Tensor, generator: torch.Generator, strength: float = 1.0
    ) -> Tensor:
        """This worker's rows of a batch: gathered, augmented as in a single process, normalized."""
        mine = self.ranks.share(len(rows))
        batch = to_float(images[rows[mine]].to(self.device), self.side)
        batch = augment(batch, self.config, generator, (mine.start, len(rows)), strength)
        return normalize(batch, self.spec.mean, self.spec.std)

    def _require_finite(self, what: str, value: float, epoch: int) -> None:
        if not math.isfinite(value):
            rate, factor = self.config.learning_rate, self.config.head_lr_factor
            raise DivergedError(
                f"the {what} became {value} in epoch {epoch}; the learning rate "
                f"({rate:g}, heads {rate * factor:g}) "
                "is probably too high"
            )

    def _validate(self, epoch: int) -> tuple[Metrics, dict[str, float]]:
        with self._validated_weights():
            target = self._outputs(self.data.val_images)
            source = self._outputs(self.data.source_val_images)
        # The last step's update may be the one that broke the weights, after a loss still finite.
        for logits in (target.logits, source.logits):
            self._require_finite("sum of validation logits", float(logits.sum()), epoch)
        metrics = classification_metrics(
            self.data.val_labels.numpy(), target.logits.argmax(1).numpy(), self.data.classes
        )
        view = ValidationView(
            source_logits=source.logits.double().numpy(),
            source_features=source.features.double().numpy(),
            source_labels=self.data.source_val_labels.numpy(),
            target_logits=target.logits.double().numpy(),
            target_features=target.features.double().numpy(),
        )
        return metrics, validate(view, torch.get_num_threads())

    def _outputs(self, images: Tensor) -> Outputs:
        return predict_outputs(self.network, images, self.spec, self.side, self.device, self.ranks)

    def _validated_weights(self) -> AbstractContextManager[None]:
        return self.average.applied() if self.average else nullcontext()

    def save(self) -> None:
        """Write ``best`` if this epoch is the best so far, then ``last``. Only the chief writes."""
        if not self.ranks.is_chief:
            return
        if best_epoch(self.history, self.objective) is self.history[-1]:
            with self._validated_weights():
                best = Checkpoint(self.history, self.frozen_hash, trained_state(self.network))
                save_checkpoint(self.folder / BEST, best)
        last = Checkpoint(
            self.history,
            self.frozen_hash,
            trained_state(self.network),
            self.optimizer.state(),
            self.average.average if self.average else {},
        )
        save_checkpoint(self.folder / LAST, last)


def autocast(device: torch.device, config: TrialConfig) -> torch.autocast:
    """The forward pass in the precision of the recipe."""
    dtype = torch.float16 if config.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=config.precision != "fp32")


def input_side(config: TrialConfig, data: TrainingData) -> int:
    """Side in pixels at which a trial sees images: the user's, or its backbone's own."""
    return data.info.image_size if data.info.fixed_size else spec_of(config.backbone).image_size


def train(
    config: TrialConfig,
    data: TrainingData,
    folder: Path,
    *,
    device: torch.device | None = None,
    ranks: Ranks = ALONE,
    weights: Mapping[str, WeightsFile] | None = None,
    objective: str = F1_MACRO,
    on_begin: Callable[[], None] = lambda: None,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[History]:
    """Train a trial, yielding the history after each epoch, its checkpoint already written.

    Where ``folder`` holds a checkpoint, training goes on after it and the history up to it is
    yielded first, in case its last epoch was saved but never reported.

    Args:
        config: the recipe.
        data: images and the labels training may see.
        folder: where checkpoints are written; must exist.
        device: of the network and the batches; the CPU by default.
        ranks: this worker among those of the trial.
        weights: explicit files of pre-trained weights, by backbone.
        objective: what chooses the epoch that is kept as the best.
        on_begin: called once, when network and data are ready.
        beat: called after every step, a sign of life.

    Raises:
        DivergedError: the loss or the validation logits are no longer finite.
        RunError: a checkpoint that cannot be continued.
    """
    training = Training(
        config, data, folder, device or torch.device("cpu"), ranks, weights, objective
    )
    on_begin()
    if training.history:
        yield training.history
    for epoch in range(len(training.history) + 1, config.epochs + 1):
        training.train_epoch(epoch, beat)
        training.save()
        yield training.history
