"""Training of one trial, epoch by epoch.

It can be resumed after any of them, or paused within one, with the same result to the last digit.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.batches import epoch_seed
from dann_search.data.training_data import TrainingData
from dann_search.errors import RunError
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork
from dann_search.models.registry import spec_of
from dann_search.training.adaptation import adaptation_of
from dann_search.training.checkpoint import (
    BEST,
    Checkpoint,
    copied,
    frozen_hash,
    load_last,
    recipe_hash,
    restore_network,
    save_checkpoint,
    save_last,
    trained_state,
    with_prefix,
)
from dann_search.training.ema import WeightAverage
from dann_search.training.epoch_steps import Batches, EpochSteps, Step
from dann_search.training.frozen_stages import FrozenStages, are_kept
from dann_search.training.head_init import start_from_class_means
from dann_search.training.optimizer import Optimizer
from dann_search.training.precision import autocast
from dann_search.training.predict import predict_logits
from dann_search.training.ranks import ALONE, Ranks
from dann_search.training.result import (
    F1_MACRO,
    LOGITS,
    LOSS,
    EpochResult,
    History,
    best_epoch,
)
from dann_search.training.saving import Saving, once_kept
from dann_search.training.schedules import depth_at, lambda_at, pseudo_labels_at
from dann_search.training.seeding import reset_torch, restore_torch, torch_state
from dann_search.training.self_training import pseudo_labels
from dann_search.training.step import adapted_loss, source_loss
from dann_search.training.validation import (
    label_free_scores,
    target_metrics,
    validation_outputs,
)

GLOBAL = 4
"""Stream of random numbers for what draws from torch's own generator, as dropout does."""


PSEUDO = "pseudo_labels"
"""Of the epoch in which a training was paused: they are of the network as it began."""


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
        network: DannNetwork | None = None,
    ):
        if objective == F1_MACRO and data.val_labels is None:
            raise RunError(f"the target has no labels, and {objective} needs them")
        reset_torch(config.seed)
        self.config, self.data, self.folder = config, data, folder
        self.device, self.ranks, self.objective = device, ranks, objective
        spec = spec_of(config.backbone, weights)
        side = input_side(config, data)
        self.batches = Batches(config, data, spec, side, device, ranks)
        network = network or build_network(config, data.classes, weights, side=side)
        # Convolutions run 1.1 to 1.7 times as fast so (docs/benchmarks.md); images follow suit.
        self.network = network.to(device).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )
        if kept := are_kept(config, side, len(spec.stages)):
            parts = (self.network, kept, config, data, spec, side, device)
            self.batches = dataclasses.replace(self.batches, frozen=FrozenStages(*parts))
        self.optimizer = Optimizer(self.network, config)
        self.average = WeightAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.frozen_hash = frozen_hash(self.network)
        self.history: History = ()
        self._score: Callable[[], None] = lambda: None
        """Puts the label-free scores into the result of the epoch trained last."""
        self.within: dict[str, Tensor] = {}
        """Where in the next epoch an earlier run was paused."""
        self.recipe = recipe_hash(config)
        if found := load_last(folder, self.recipe):
            self._restore(*found)

    def _restore(self, checkpoint: Checkpoint, path: Path) -> None:
        restore_network(self.network, checkpoint, path)
        self.optimizer.load_state(checkpoint.optimizer)
        if self.average:
            self.average.load(checkpoint.average)
        self.history, self.within = checkpoint.history, checkpoint.within

    def prepare_heads(self, beat: Callable[[], None]) -> None:
        """Begin with class means where the recipe says so; not where an earlier run has begun."""
        class_means = self.config.head_init == "class_means" and self.config.fine_tunes
        if class_means and not (self.history or self.within):
            start_from_class_means(self.network, self.batches, beat)

    def train_epoch(
        self, epoch: int, beat: Callable[[], None], pause: Callable[[], bool] = lambda: False
    ) -> Iterator[bool]:
        """Train one epoch, validate, append to the history; yield after each step.

        What is yielded is whether ``pause`` ends it there: what was done of it is saved then.
        """
        start = time.perf_counter()
        pseudo = self._pseudo_labels(epoch, beat)
        reset_torch(dropout_seed(self.config.seed, epoch, self.ranks.rank))
        backbone = self.network.backbone
        backbone.hold_below(depth_at(epoch, self.config, len(backbone.stage_names)))
        self.network.train()
        steps = EpochSteps(self.batches, epoch, pseudo, beat)
        sums, lam = torch.zeros(4, device=self.device), 0.0
        if self.within:
            steps.load_state(with_prefix(self.within, "steps."))
            saved = self.within["sums"]  # of three sums where an older version wrote it
            sums[: len(saved)] = saved.to(self.device)
            if self.ranks.is_chief:  # whose state it is
                restore_torch(with_prefix(self.within, "torch."))
            else:
                reset_torch(dropout_seed(self.config.seed, epoch, self.ranks.rank) + steps.done)
            self.within = {}
        for step in steps:
            lam = lambda_at(step.progress, self.config)
            self.optimizer.set_progress(step.progress)
            loss, parts = self._loss(step, lam)
            self.optimizer.backward(loss)
            self.ranks.sum_gradients(self.optimizer.parameters)
            self.optimizer.step()
            if self.average:
                self.average.update((epoch - 1) * self.batches.steps + steps.done)
            sums += parts
            beat()
            # After the last step comes the validation: the epoch is as good as done.
            paused = steps.done < self.batches.steps and pause()
            away = time.perf_counter()
            yield paused
            start += time.perf_counter() - away
            if paused:
                self._save_within(steps, sums)
                return
        trained = time.perf_counter() - start
        means = (self.ranks.sum_(sums) / self.batches.steps).tolist()
        self._require_finite(LOSS, means[0] + means[1] + means[3], epoch)
        self.ranks.average_statistics(self.network)
        if self.average:
            self.average.average_statistics(self.ranks)
        self.history += (self._result(epoch, means, lam, trained, start, beat),)

    def _pseudo_labels(self, epoch: int, beat: Callable[[], None]) -> Tensor | None:
        """Return labels (n,) of all target training images by the network as the epoch begins."""
        if not pseudo_labels_at(epoch, self.config):
            return None
        if self.within:
            return self.within[PSEUDO]
        frozen = self.batches.frozen
        with self._validated_weights():
            logits = predict_logits(
                self.network,
                frozen.of("target", "train", None, beat) if frozen else self.data.target_as_seen,
                self.batches.spec,
                self.batches.side,
                self.device,
                self.ranks,
                self.config.precision,
                beat,
            )
        return pseudo_labels(logits)

    def _result(
        self,
        epoch: int,
        means: list[float],
        lam: float,
        trained_s: float,
        start: float,
        beat: Callable[[], None],
    ) -> EpochResult:
        """Validate, and put together what the epoch has to tell."""
        config = self.config
        with self._validated_weights():
            outputs = validation_outputs(
                self.network,
                self.data,
                self.batches.spec,
                self.batches.side,
                self.device,
                self.ranks,
                config.precision,
                beat,
                self.batches.frozen,
            )
        # The last step's update may be the one that broke the weights, after a loss still finite.
        self._require_finite(LOGITS, outputs.logit_sum, epoch)
        metrics = target_metrics(outputs, self.data)
        validators: dict[str, float] = {}
        threads = torch.get_num_threads()
        self._score = lambda: validators.update(label_free_scores(outputs, self.data, threads))
        label_loss, method_loss, domain_accuracy, further = means
        adversarial = config.adversarial
        # Nothing but the discriminator's own loss is shown as such.
        adaptation_loss = further + (0.0 if adversarial else method_loss)
        weighs = config.adapts and not config.by_statistics
        adds = weighs and (not adversarial or config.adds_further)
        adds = adds or pseudo_labels_at(epoch, config)
        images = self.batches.steps * self.batches.images
        backbone_rate, head_rate = self.optimizer.rates
        return EpochResult(
            epoch=epoch,
            f1_macro_val=metrics.f1_macro if metrics else None,
            accuracy_val=metrics.accuracy if metrics else None,
            precision_macro_val=metrics.precision_macro if metrics else None,
            recall_macro_val=metrics.recall_macro if metrics else None,
            label_loss=label_loss,
            domain_loss=method_loss if adversarial else None,
            domain_accuracy=domain_accuracy if adversarial else None,
            adaptation_loss=adaptation_loss if adds else None,
            lambda_=lam if weighs else None,
            learning_rate=backbone_rate,
            head_learning_rate=head_rate,
            images_per_s=images / trained_s,
            seconds=time.perf_counter() - start,
            validators=validators,
        )

    def _loss(self, step: Step, lam: float) -> tuple[Tensor, Tensor]:
        config = self.config
        shared = (config.batch_size, config.label_smoothing)
        with autocast(self.device, config.precision):
            images = (step.source, step.labels)
            if step.target is None:
                return source_loss(self.network, *images, *shared, step.few)
            adaptation = adaptation_of(config, step.labels, step.pseudo)
            return adapted_loss(
                self.network, adaptation, *images, step.target, lam, *shared, step.strong, step.few
            )

    def _require_finite(self, what: str, value: float, epoch: int) -> None:
        if not math.isfinite(value):
            rate, factor = self.config.learning_rate, self.config.head_lr_factor
            raise DivergedError(
                f"the {what} became {value} in epoch {epoch}; the learning rate "
                f"({rate:g}, heads {rate * factor:g}) "
                "is probably too high"
            )

    def _validated_weights(self) -> AbstractContextManager[None]:
        return self.average.applied() if self.average else nullcontext()

    def snapshot(self) -> Callable[[], None]:
        """Copy the network as it is; return what scores and writes it, again if that fails.

        The label-free scores are put into the epoch's result, which is not to be told before. Then
        it writes ``best`` if this epoch is the best so far, and ``last``. Only the chief writes.
        """
        score = self._score
        if not self.ranks.is_chief:
            return score
        last, final = self._last({}), len(self.history) == self.config.epochs

        def write() -> None:
            score()
            if best_epoch(last.history, self.objective) is last.history[-1]:
                # The average is of all weights but counters.
                model = last.model | last.average
                best = Checkpoint(last.history, self.frozen_hash, model, recipe=self.recipe)
                save_checkpoint(self.folder / BEST, best)
            save_last(self.folder, last, final=final)

        return write

    def _save_within(self, steps: EpochSteps, sums: Tensor) -> None:
        """Write ``last`` in the middle of an epoch.

        With several workers it is of the chief: sums are made whole, moving batch-norm statistics
        are the chief's own until the end of the epoch averages them.
        """
        whole = self.ranks.sum_(sums.clone()) / self.ranks.size
        if self.ranks.is_chief:
            state = {f"steps.{name}": value for name, value in steps.state().items()}
            state |= {f"torch.{name}": value for name, value in torch_state().items()}
            if steps.pseudo is not None:
                state[PSEUDO] = steps.pseudo
            save_last(self.folder, self._last({"sums": whole, **state}), final=False)

    def _last(self, within: dict[str, Tensor]) -> Checkpoint:
        return Checkpoint(
            self.history,
            self.frozen_hash,
            copied(trained_state(self.network)),
            copied(self.optimizer.state()),
            copied(self.average.average) if self.average else {},
            within,
            recipe=self.recipe,
        )


def dropout_seed(seed: int, epoch: int, rank: int) -> int:
    """Return the seed of torch's own generator for an epoch; each worker drops other features."""
    # Spread over 32 bits: torch's generator of the CPU looks at no more.
    return epoch_seed(seed, epoch, GLOBAL) + rank * 0x9E3779B9


def input_side(config: TrialConfig, data: TrainingData) -> int:
    """Side in pixels at which a trial sees images: the user's, or its backbone's own."""
    return data.info.side_seen(spec_of(config.backbone).image_size)


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
    pause: Callable[[], bool] = lambda: False,
    settle: Callable[[], None] = lambda: None,
    keep: Callable[[Callable[[], None]], None] = lambda save: save(),
) -> Iterator[History]:
    """Train a trial, yielding the history after each epoch, its checkpoint already written.

    A thread computes the label-free scores and writes it while the next epoch begins: the history
    is yielded after the step in which that ends, and by the end of that epoch. With several workers
    none goes on before.

    Where ``folder`` holds a checkpoint of the recipe, training goes on after it and the history up
    to it is yielded first, in case its last epoch was saved but never reported. Paused, it ends
    there.

    Args:
        config: the recipe.
        data: images and the labels training may see.
        folder: where checkpoints are written; must exist.
        device: of the network and the batches; the CPU by default.
        ranks: this worker among those of the trial.
        weights: explicit files of pre-trained weights, by backbone.
        objective: what chooses the epoch that is kept as the best.
        on_begin: called once, when network and data are ready.
        beat: called after every step and every batch of the validation, a sign of life.
        pause: called after every step; where it says so, the same on all workers, a checkpoint is
            written in the middle of the epoch, from which another call goes on as if there had been
            no pause (to the last digit with one worker).
        settle: called after every epoch, before its checkpoint is begun. It waits until training
            may go past the epochs yielded before, and raises if it may not.
        keep: called with what waits until an epoch's checkpoint is written; may call it again where
            that fails, which then writes it.

    Raises:
        DivergedError: the loss or the validation logits are no longer finite.
        RunError: a checkpoint that cannot be continued.
    """
    training = Training(
        config, data, folder, device or torch.device("cpu"), ranks, weights, objective
    )
    on_begin()
    training.prepare_heads(beat)
    if training.history:
        yield training.history
    with ThreadPoolExecutor(1, "checkpoint") as writer:
        saving: Saving | None = None
        for epoch in range(len(training.history) + 1, config.epochs + 1):
            error = None
            try:
                for paused in training.train_epoch(epoch, beat, pause):
                    if saving and (paused or saving.is_over):
                        written, saving = saving, None
                        yield from once_kept(written, keep)
            except Exception as exc:  # of this epoch, to be told after the one before
                error = exc
            if saving:
                yield from once_kept(saving, keep)
            if error:
                raise error
            if len(training.history) < epoch:
                return
            settle()
            saving = Saving(training.history, training.snapshot(), writer)
            if epoch == config.epochs or ranks.size > 1:
                yield from once_kept(saving, keep)
                saving = None
