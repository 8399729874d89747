"""Training of one trial, epoch by epoch.

It can be resumed after any of them, or paused within one, with the same result to the last digit.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dann_search.config.experiment import F1_MACRO, WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.training_data import TrainingData
from dann_search.errors import RunError
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork
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
from dann_search.training.epoch_steps import Batches, EpochSteps
from dann_search.training.frozen_stages import FrozenStages, are_kept
from dann_search.training.head_init import start_from_class_means
from dann_search.training.hooks import NO_HOOKS, Hooks
from dann_search.training.optimizer import Optimizer
from dann_search.training.precision import autocast
from dann_search.training.predict import predict_logits
from dann_search.training.ranks import ALONE, Ranks
from dann_search.training.result import (
    LOGITS,
    LOSS,
    EpochResult,
    History,
    best_epoch,
    require_finite,
)
from dann_search.training.saving import Saving
from dann_search.training.schedules import depth_at, lambda_at, pseudo_labels_at
from dann_search.training.seeding import dropout_seed, reset_torch, restore_torch, torch_state
from dann_search.training.self_training import pseudo_labels
from dann_search.training.step import Step, step_loss
from dann_search.training.validation import label_free_scores, target_metrics, validation_outputs

CPU = torch.device("cpu")
PSEUDO = "pseudo_labels"
"""Of the epoch in which a training was paused: they are of the network as it began."""


class Training:
    """Network, optimizer and history of one trial on one worker; arguments as of ``train``.

    Args:
        network: in place of one that is built for the recipe.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: TrainingData,
        folder: Path,
        device: torch.device = CPU,
        ranks: Ranks = ALONE,
        weights: Mapping[str, WeightsFile] | None = None,
        objective: str = F1_MACRO,
        hooks: Hooks = NO_HOOKS,
        network: DannNetwork | None = None,
    ):
        if objective == F1_MACRO and data.val_labels is None:
            raise RunError(f"the target has no labels, and {objective} needs them")
        reset_torch(config.seed)
        self.config, self.data, self.folder = config, data, folder
        self.device, self.ranks, self.objective, self.hooks = device, ranks, objective, hooks
        batches = self.batches = Batches(config, data, device, ranks, weights, hooks.beat)
        network = network or build_network(config, data.classes, weights, side=batches.side)
        # Convolutions run 1.1 to 1.7 times as fast so (docs/benchmarks.md); images follow suit.
        self.network = network.to(device).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )
        if kept := are_kept(config, batches.side, len(batches.spec.stages)):
            batches.frozen = FrozenStages(self.network, kept, config, data)
        self.optimizer = Optimizer(self.network, config)
        self.average = WeightAverage(self.network, config.ema_decay)
        self.frozen_hash, self.recipe = frozen_hash(self.network), recipe_hash(config)
        self.history: History = ()
        self._score: Callable[[], None] = lambda: None
        """Puts the label-free scores into the result of the epoch trained last."""
        self.within: dict[str, Tensor] = {}
        """Where in the next epoch an earlier run was paused."""
        if found := load_last(folder, self.recipe):
            checkpoint, path = found
            restore_network(self.network, checkpoint, path)
            self.optimizer.load_state(checkpoint.optimizer)
            self.average.load(checkpoint.average)
            self.history, self.within = checkpoint.history, checkpoint.within

    def prepare_heads(self) -> None:
        """Begin with class means where the recipe says so; not where an earlier run has begun."""
        class_means = self.config.head_init == "class_means" and self.config.fine_tunes
        if class_means and not (self.history or self.within):
            start_from_class_means(self.network, self.batches)

    def train_epoch(self, epoch: int) -> Iterator[bool]:
        """Train one epoch, validate, append to the history; yield after each step.

        What is yielded is whether a hook pauses it there: what was done of it is saved then.
        """
        start = time.perf_counter()
        steps, sums = self._begin(epoch)
        for step in steps:
            lam = lambda_at(step.progress, self.config)
            self.optimizer.set_progress(step.progress)
            loss, parts = self._loss(step, lam)
            self.optimizer.backward(loss)
            self.ranks.sum_gradients(self.optimizer.parameters)
            self.optimizer.step()
            self.average.update((epoch - 1) * self.batches.steps + steps.done)
            sums += parts
            self.hooks.beat()
            # After the last step comes the validation: the epoch is as good as done.
            paused = steps.done < self.batches.steps and self.hooks.pause()
            away = time.perf_counter()
            yield paused
            start += time.perf_counter() - away
            if paused:
                self._save_within(steps, sums)
                return
        trained_s = time.perf_counter() - start
        means = (self.ranks.sum_(sums) / self.batches.steps).tolist()
        require_finite(LOSS, means[0] + means[1] + means[3], epoch, self.config)
        self.ranks.average_statistics(self.network)
        self.average.average_statistics(self.ranks)
        self.history += (self._result(epoch, means, lam, trained_s, start),)

    def _begin(self, epoch: int) -> tuple[EpochSteps, Tensor]:
        """Return an epoch's steps and its sums of losses, from where it was paused if it was."""
        within, self.within = self.within, {}
        pseudo = within.get(PSEUDO)
        if pseudo is None:
            pseudo = self._pseudo_labels(epoch)
        seed = dropout_seed(self.config.seed, epoch, self.ranks.rank)
        reset_torch(seed)
        backbone = self.network.backbone
        backbone.hold_below(depth_at(epoch, self.config, len(backbone.stage_names)))
        self.network.train()
        steps, sums = EpochSteps(self.batches, epoch, pseudo), torch.zeros(4, device=self.device)
        if within:
            steps.load_state(with_prefix(within, "steps."))
            saved = within["sums"]  # of three sums where version 0.1.0 wrote it
            sums[: len(saved)] = saved.to(self.device)
            if self.ranks.is_chief:  # whose state it is
                restore_torch(with_prefix(within, "torch."))
            else:
                reset_torch(seed + steps.done)
        return steps, sums

    def _pseudo_labels(self, epoch: int) -> Tensor | None:
        """Return labels (n,) of all target training images by the network as the epoch begins."""
        if not pseudo_labels_at(epoch, self.config):
            return None
        seen, how = self.batches.seen("target", "train"), (self.config.precision, self.hooks.beat)
        with self.average.applied():
            return pseudo_labels(predict_logits(self.network, seen, self.ranks, *how))

    def _loss(self, step: Step, lam: float) -> tuple[Tensor, Tensor]:
        config, sizes = self.config, (self.config.batch_size, self.config.label_smoothing)
        adaptation = adaptation_of(config, step.labels, step.pseudo)
        with autocast(self.device, config.precision):
            return step_loss(self.network, step, adaptation, lam, *sizes)

    def _result(
        self, epoch: int, means: list[float], lam: float, trained_s: float, start: float
    ) -> EpochResult:
        """Validate, and put together what the epoch has to tell."""
        config = self.config
        with self.average.applied():
            source, target = validation_outputs(self.network, self.batches)
        # The last step's update may be the one that broke the weights, after a loss still finite.
        logit_sum = float(source.logits.sum() + target.logits.sum())
        require_finite(LOGITS, logit_sum, epoch, config)
        validators: dict[str, float] = {}
        seen = source, target, self.data, torch.get_num_threads()
        self._score = lambda: validators.update(label_free_scores(*seen))
        label_loss, method_loss, domain_accuracy, further = means
        adversarial = config.adversarial
        weighs = config.adapts and not config.by_statistics
        more = not adversarial or config.adds_further
        adds = (weighs and more) or pseudo_labels_at(epoch, config)
        return EpochResult(
            epoch=epoch,
            **target_metrics(target, self.data),
            label_loss=label_loss,
            # Nothing but the discriminator's own loss is shown as such.
            domain_loss=method_loss if adversarial else None,
            domain_accuracy=domain_accuracy if adversarial else None,
            adaptation_loss=further + (0.0 if adversarial else method_loss) if adds else None,
            lambda_=lam if weighs else None,
            learning_rate=self.optimizer.rates[0],
            head_learning_rate=self.optimizer.rates[1],
            images_per_s=self.batches.steps * self.batches.images / trained_s,
            seconds=time.perf_counter() - start,
            validators=validators,
        )

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
                best = replace(last, model=model, optimizer={}, average={})
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
            copied(self.average.average),
            within,
            recipe=self.recipe,
        )


def train(
    config: TrialConfig,
    data: TrainingData,
    folder: Path,
    *,
    device: torch.device = CPU,
    ranks: Ranks = ALONE,
    weights: Mapping[str, WeightsFile] | None = None,
    objective: str = F1_MACRO,
    hooks: Hooks = NO_HOOKS,
) -> Iterator[History]:
    """Train a trial, yielding the history after each epoch, its checkpoint already written.

    A thread computes the label-free scores and writes it while the next epoch begins: the history
    is yielded after the step in which that ends, and by the end of that epoch. With several workers
    none continues before.

    Where ``folder`` holds a checkpoint of the recipe, training continues after it. The history up
    to it is yielded first, in case its last epoch was saved but never reported. A pause ends it.

    Args:
        config: the recipe.
        data: images and the labels training may see.
        folder: where checkpoints are written; must exist.
        device: of the network and the batches.
        ranks: this worker among those of the trial.
        weights: explicit files of pre-trained weights, by backbone.
        objective: what chooses the epoch that is kept as the best.
        hooks: functions to call between steps.

    Raises:
        DivergedError: the loss or the validation logits are no longer finite.
        RunError: a checkpoint that cannot be continued.
    """
    training = Training(config, data, folder, device, ranks, weights, objective, hooks)
    hooks.on_begin()
    training.prepare_heads()
    with ThreadPoolExecutor(1, "checkpoint") as writer:
        saving = Saving(training.history, lambda: None, writer)  # an earlier run wrote it
        yield from saving.told(hooks.keep)
        for epoch in range(len(training.history) + 1, config.epochs + 1):
            try:
                for paused in training.train_epoch(epoch):
                    if paused or saving.is_over:
                        yield from saving.told(hooks.keep)
            except Exception:  # of this epoch, to be told after the one before
                yield from saving.told(hooks.keep)
                raise
            yield from saving.told(hooks.keep)
            if len(training.history) < epoch:
                return
            hooks.settle()
            saving = Saving(training.history, training.snapshot(), writer)
            if ranks.size > 1:
                yield from saving.told(hooks.keep)
        yield from saving.told(hooks.keep)
