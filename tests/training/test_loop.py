"""Training: exact after an interruption, deaf to what it must not hear, honest when it fails."""

import errno
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dann_search.config.data import DataConfig, DomainConfig
from dann_search.data.store import pack
from dann_search.data.training_data import open_training_data
from dann_search.training import loop
from dann_search.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_last,
)
from dann_search.training.epoch_steps import input_side
from dann_search.training.hooks import Hooks
from dann_search.training.loop import train
from dann_search.training.result import DivergedError, best_epoch, score_of
from dann_search.training.seeding import dropout_seed, reset_torch
from dann_search.training.step import step_loss
from tests.data.images import write_domain
from tests.training.recipes import disturbed_torch, metrics, recipe, run, tiny_data


def assert_same_weights(one: Path, other: Path) -> None:
    """Of the last checkpoints, momentum included, and of the best ones."""
    for name in (LAST, BEST):
        a, b = load_checkpoint(one / name), load_checkpoint(other / name)
        for mine, theirs in (
            (a.model, b.model),
            (a.optimizer, b.optimizer),
            (a.average, b.average),
        ):
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[key], theirs[key]) for key in mine)


RECIPES = pytest.mark.parametrize(
    "changes",
    [{}, {"batch_norm": "joint", "unfrozen_depth": 1}, {"method": "source_only", "momentum": 0.0},
     {"batch_norm": "frozen", "lambda_schedule": "linear", "lr_schedule": "cosine"},
     {"method": "cdan", "optimizer": "adamw", "discriminator_dropout": 0.3, "lambda_delay": 0.4},
     {"method": "mcc", "ema_decay": 0.8, "label_smoothing": 0.1, "gradient_clipping": 0.5},
     {"method": "deep_coral", "gradual_unfreezing": 1, "stage_lr_decay": 0.5},
     {"method": "mcd", "ema_decay": 0.8}, {"method": "mdd", "optimizer": "adamw"},
     {"method": "pada"},
     {"discriminator_norm": "spectral", "discriminator_gradient_penalty": 1.0, "extra": "jan"},
     {"precision": "bf16"}, {"precision": "fp16"},
     {"batch_norm": "domain", "gradual_unfreezing": 1, "ema_decay": 0.8}, {"method": "adabn"},
     {"method": "mcc", "pseudo_labels": 0.6, "ema_decay": 0.8},
     {"fine_tuning": "lora", "lora_rank": 2, "unfrozen_depth": 2, "ema_decay": 0.8},
     {"linear_probe_epochs": 1, "head_init": "class_means", "batch_norm": "domain"}],
    ids=["dann", "joint", "source_only", "frozen", "cdan", "mcc", "deep_coral", "mcd", "mdd",
         "pada", "options", "bf16", "fp16", "domain", "adabn", "pseudo_labels", "lora", "probe"],
)  # fmt: skip


@RECIPES
def test_a_training_cut_off_or_paused_ends_as_if_it_had_not_been(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    config, data = recipe(epochs=2, **changes), tiny_data()
    whole = run(config, data, tmp_path / "whole")
    assert len(run(config, data, tmp_path / "cut", stop_after=1)) == 1
    with disturbed_torch():
        resumed = run(config, data, tmp_path / "cut")
    assert metrics(resumed) == metrics(whole)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    # Three steps an epoch: paused after each but the last, which the validation belongs to.
    pieces = 0
    while len(paused := run(config, data, tmp_path / "paused", pause=lambda: True)) < config.epochs:
        pieces += 1
        assert load_checkpoint(tmp_path / "paused" / LAST).within
        torch.manual_seed(pieces)
    assert pieces == 2 * config.epochs
    assert metrics(paused) == metrics(whole)
    assert_same_weights(tmp_path / "whole", tmp_path / "paused")


def test_a_training_that_an_older_version_paused_with_three_sums_goes_on(tmp_path: Path) -> None:
    config, data = recipe(epochs=1), tiny_data()
    whole = run(config, data, tmp_path / "whole")
    run(config, data, tmp_path / "paused", pause=lambda: True)
    path = tmp_path / "paused" / LAST
    checkpoint = load_checkpoint(path)
    within = checkpoint.within | {"sums": checkpoint.within["sums"][:3]}
    save_checkpoint(path, replace(checkpoint, within=within))
    assert metrics(run(config, data, tmp_path / "paused")) == metrics(whole)


def test_training_is_the_same_whatever_was_trained_before_in_this_process(tmp_path: Path) -> None:
    config, data = recipe(), tiny_data()
    first = run(config, data, tmp_path / "first")
    others: list[dict[str, Any]] = [{"seed": 5}, {"method": "source_only"}, {"bottleneck": 0}]
    for number, other in enumerate(others):
        run(recipe(epochs=1, **other), tiny_data(seed=number), tmp_path / f"other-{number}")
    with disturbed_torch():
        again = run(config, data, tmp_path / "again")
    assert metrics(again) == metrics(first)
    assert_same_weights(tmp_path / "first", tmp_path / "again")
    assert metrics(run(recipe(seed=1), data, tmp_path / "seed")) != metrics(first)


def test_a_resumed_training_first_tells_what_it_had_saved(tmp_path: Path) -> None:
    config, data = recipe(), tiny_data()
    run(config, data, tmp_path, stop_after=2)
    told = [len(history) for history in train(config, data, tmp_path)]
    assert told == [2, 3]
    assert [len(history) for history in train(config, data, tmp_path)] == [3]


def test_an_epoch_is_told_when_it_is_on_disk_and_the_next_one_begins_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data, beats = recipe(ema_decay=0.8), tiny_data(), []
    whole = run(config, data, tmp_path / "whole", beat=lambda: beats.append(1))
    an_epoch, save = len(beats) // 3, save_last
    begun_before = []

    def save_slowly(folder: Path, checkpoint: Checkpoint, *, final: bool) -> None:
        until = time.monotonic() + 60
        while len(beats) <= len(checkpoint.history) * an_epoch and time.monotonic() < until:
            if final:
                break
            time.sleep(0.001)
        begun_before.append(len(beats) > len(checkpoint.history) * an_epoch)
        save(folder, checkpoint, final=final)

    beats.clear()
    monkeypatch.setattr(loop, "save_last", save_slowly)
    folder = tmp_path / "slow"
    folder.mkdir()
    with disturbed_torch():
        for history in train(config, data, folder, hooks=Hooks(beat=lambda: beats.append(1))):
            assert load_checkpoint(folder / LAST).history == history
            assert history[-1].validators
            torch.rand(7)  # as careless code in the middle of an epoch
            torch.set_default_dtype(torch.float64)
    assert begun_before == [True, True, False]
    assert metrics(history) == metrics(whole)
    assert_same_weights(folder, tmp_path / "whole")


def test_a_disk_that_is_full_for_a_while_is_told_to_who_keeps_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = recipe(), tiny_data()
    whole = run(config, data, tmp_path / "whole")
    save, refused, told = save_last, [True, False, True, False, False], []

    def save_where_there_is_room(folder: Path, checkpoint: Checkpoint, *, final: bool) -> None:
        if refused.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(folder, checkpoint, final=final)

    def keep(finish: Callable[[], None]) -> None:
        try:
            finish()
        except OSError as exc:
            told.append(exc.errno)
            finish()

    monkeypatch.setattr(loop, "save_last", save_where_there_is_room)
    assert metrics(run(config, data, tmp_path / "full", keep=keep)) == metrics(whole)
    assert told == [errno.ENOSPC] * 2 and not refused
    assert_same_weights(tmp_path / "full", tmp_path / "whole")


def test_an_epoch_that_fails_is_told_after_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = step_loss
    calls = iter(range(100))

    def until_the_second_epoch(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise RuntimeError("of the fourth step")
        return steps(*arguments)

    monkeypatch.setattr(loop, "step_loss", until_the_second_epoch)
    told = []
    with pytest.raises(RuntimeError, match="of the fourth step"):
        for history in train(recipe(), tiny_data(), tmp_path):
            told.append(len(history))
    assert told == [1]


def test_training_learns_what_there_is_to_learn(tmp_path: Path) -> None:
    data = tiny_data()
    same = replace(data, val_images=data.source_images, val_labels=data.source_labels)
    history = run(recipe(method="source_only", epochs=6, batch_size=8), same, tmp_path)
    assert (best_epoch(history).f1_macro_val or 0.0) > 0.9
    assert history[-1].label_loss < history[0].label_loss


def test_a_callback_is_called_at_the_start_each_step_and_while_validating(tmp_path: Path) -> None:
    calls: list[str] = []
    run(
        recipe(epochs=2),
        tiny_data(source=48, target=40),
        tmp_path,
        on_begin=lambda: calls.append("begin"),
        beat=lambda: calls.append("beat"),
    )
    steps, splits = 2 * 48 // 16, 2 * 2
    assert calls[0] == "begin" and calls.count("begin") == 1
    assert calls.count("beat") >= steps + splits


def test_results_hold_what_they_say(tmp_path: Path) -> None:
    config = recipe(epochs=2, lambda_schedule="constant", lambda_max=0.4, lr_schedule="constant")
    first, second = run(config, tiny_data(), tmp_path / "dann")
    assert (first.epoch, second.epoch) == (1, 2)
    assert first.lambda_ == 0.4
    assert second.head_learning_rate == pytest.approx(second.learning_rate * 10)
    assert first.domain_loss is not None and first.domain_accuracy is not None
    assert 0 <= first.domain_accuracy <= 1 and first.images_per_s > 0
    (alone,) = run(recipe(epochs=1, method="source_only"), tiny_data(), tmp_path / "alone")
    assert alone.domain_loss is alone.domain_accuracy is alone.lambda_ is None


def test_the_best_checkpoint_is_of_the_earliest_best_epoch(tmp_path: Path) -> None:
    # A rate too small to change a prediction: every epoch scores the same.
    history = run(recipe(learning_rate=1e-12, batch_norm="frozen", bottleneck=0), tiny_data(),
                  tmp_path)  # fmt: skip
    assert len({epoch.f1_macro_val for epoch in history}) == 1
    assert len(load_checkpoint(tmp_path / BEST).history) == 1
    assert len(load_checkpoint(tmp_path / LAST).history) == 3


@pytest.mark.parametrize("method", ["source_only", "from_scratch"])
@pytest.mark.parametrize("batch_norm", ["joint", "separate", "domain"])
def test_methods_without_an_adversary_never_look_at_a_target_image(
    tmp_path: Path, method: str, batch_norm: str
) -> None:
    """Neither other images nor images of another shape or type change a digit."""
    config, data = recipe(method=method, batch_norm=batch_norm, epochs=2), tiny_data()
    poison = torch.full((len(data.target_images), 1, 3, 5), float("nan"))
    clean = run(config, data, tmp_path / "clean")
    poisoned = run(config, replace(data, target_images=poison), tmp_path / "poisoned")
    assert metrics(poisoned) == metrics(clean)
    assert_same_weights(tmp_path / "clean", tmp_path / "poisoned")


def test_dann_does_look_at_target_images(tmp_path: Path) -> None:
    """The guard of the test above: poison is felt where it is looked at."""
    data = tiny_data()
    other = replace(data, target_images=255 - data.target_images)
    clean, changed = run(recipe(), data, tmp_path / "a"), run(recipe(), other, tmp_path / "b")
    assert metrics(clean) != metrics(changed)


def test_what_training_must_not_know_changes_nothing(tmp_path: Path) -> None:
    """From a packed store of real files: garbled, and then deleted."""
    for role, seed in (("amazon", 1), ("webcam", 2)):
        write_domain(tmp_path / role, {"bike": 30, "mug": 30}, seed)
    config = DataConfig(
        source=DomainConfig(folder=tmp_path / "amazon"),
        target=DomainConfig(folder=tmp_path / "webcam"),
        image_size=16,
    )
    store = tmp_path / "store"
    pack(config, 16, store)
    trial = recipe(epochs=2, pseudo_labels=0.5)
    clean = run(trial, open_training_data(store), tmp_path / "clean")
    for garbled in ("target.train.labels", "target.test.labels", "target.test.images"):
        file = store / f"{garbled}.npy"
        np.save(file, np.load(file) * 0 + 7 if file.exists() else np.full(36, 7))
        again = run(trial, open_training_data(store), tmp_path / garbled)
        assert metrics(again) == metrics(clean)
    for secret in (*store.glob("target.test.*"), *store.glob("target.train.labels.*")):
        secret.unlink()
    assert metrics(run(trial, open_training_data(store), tmp_path / "deleted")) == metrics(clean)


def test_a_loss_that_diverges_ends_the_trial_with_the_rate_that_did_it(tmp_path: Path) -> None:
    config = recipe(learning_rate=1e12, lr_schedule="constant", bottleneck=0, batch_norm="frozen")
    with pytest.raises(
        DivergedError, match=r"in epoch 1; the learning rate \(1e\+12, heads 1e\+13"
    ):
        run(config, tiny_data(), tmp_path)
    assert not (tmp_path / LAST).exists()


def test_weights_broken_by_the_very_last_step_end_the_trial_too(tmp_path: Path) -> None:
    """One step: its loss is finite, and what it leaves of the weights is not."""
    config = recipe(
        epochs=1, learning_rate=1e38, head_lr_factor=1, batch_norm="frozen", bottleneck=0
    )
    data = tiny_data(source=16, target=16)
    with pytest.raises(DivergedError, match="validation logits became"):
        run(config, data, tmp_path)


def test_images_are_scaled_to_the_backbones_side_unless_the_user_chose_one(tmp_path: Path) -> None:
    from dann_search.models.catalog import CATALOG

    data = tiny_data()
    assert input_side(recipe(), data) == data.info.image_size
    free = replace(data, info=replace(data.info, fixed_size=False))
    assert input_side(recipe(), free) == CATALOG["dann_cnn"].image_size
    assert len(run(recipe(epochs=1), free, tmp_path)) == 1


def test_validators_read_no_label_of_the_target(tmp_path: Path) -> None:
    data = tiny_data()
    assert data.val_labels is not None
    other = replace(data, val_labels=data.val_labels.flip(0))
    config = recipe(epochs=1)
    before, after = (run(config, d, tmp_path / str(i))[0] for i, d in enumerate((data, other)))
    assert before.f1_macro_val != after.f1_macro_val
    assert before.validators == after.validators != {}
    relabelled = replace(data, source_val_labels=data.source_val_labels.flip(0))
    source = run(config, relabelled, tmp_path / "source")[0]
    assert source.validators["source_accuracy"] != before.validators["source_accuracy"]


@pytest.mark.parametrize("objective", ["f1_macro", "entropy", "source_accuracy"])
def test_the_epoch_kept_is_the_best_by_the_objective(tmp_path: Path, objective: str) -> None:
    config = recipe(epochs=6, lr_schedule="constant", learning_rate=0.05)
    history = run(config, tiny_data(), tmp_path, objective=objective)
    scores = [score_of(vars(epoch), objective) for epoch in history]
    best = load_checkpoint(tmp_path / BEST).history[-1]
    assert best.epoch == scores.index(max(scores)) + 1
    assert best == history[best.epoch - 1]


def test_each_worker_drops_other_features_in_each_epoch() -> None:
    seeds = [dropout_seed(7, epoch, rank) for epoch in (1, 2) for rank in range(8)]
    masks = set()
    for seed in seeds:
        reset_torch(seed)
        masks.add(tuple((torch.rand(64) < 0.5).tolist()))
    assert len(masks) == len(seeds)
