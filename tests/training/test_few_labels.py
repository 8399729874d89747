"""Labelled target images in training: their label loss, their batches, and no label besides."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dann_search.config.data import DataConfig
from dann_search.config.trial import adapting
from dann_search.data.batches import few_batches
from dann_search.data.domain import NO_LABEL
from dann_search.data.store import FEW, pack
from dann_search.data.training_data import FewLabels, TrainingData, open_training_data
from dann_search.training.epoch_steps import Batches, EpochSteps
from dann_search.training.memory import peak_of
from dann_search.training.methods import dann
from dann_search.training.step import Step, step_loss
from tests.data.images import noise
from tests.training.recipes import SIDE, metrics, recipe, run, tiny_data
from tests.training.test_loop import assert_same_weights
from tests.training.test_step import BATCH, LABELS, STEP, batch, small_network

FEW_LABELS = torch.tensor([2, 1, 0, 1])


def few_data(**few: Any) -> TrainingData:
    """The tiny data with two labelled target images of each class."""
    rows = torch.arange(6)
    return replace(tiny_data(), few=FewLabels(**{"rows": rows, "labels": rows % 3, **few}))


def test_their_label_loss_is_added_with_weight_1() -> None:
    network, few = small_network(), (batch(3), FEW_LABELS)
    plain, plain_parts = step_loss(network, STEP, dann.loss, 0.4, BATCH)
    loss, parts = step_loss(network, replace(STEP, few=few), dann.loss, 0.4, BATCH)
    of_few = nn.functional.cross_entropy(network(batch(3)), FEW_LABELS)
    torch.testing.assert_close(loss, plain + of_few)
    # The method sees the same images as without.
    torch.testing.assert_close(parts - plain_parts, torch.stack([of_few, *[0 * of_few] * 3]))
    alone, _ = step_loss(network, replace(STEP, target=None, few=few), dann.loss, 0.4, BATCH)
    torch.testing.assert_close(
        alone, nn.functional.cross_entropy(network(batch(1)), LABELS) + of_few
    )


def test_shares_of_workers_add_up_to_the_whole_batch() -> None:
    network = small_network()

    def loss(rows: slice) -> Tensor:
        few = (batch(3)[rows], FEW_LABELS[rows])
        step = Step(source=batch(1)[rows], labels=LABELS[rows], target=batch(2)[rows], few=few)
        return step_loss(network, step, dann.loss, 0.4, BATCH)[0]

    torch.testing.assert_close(loss(slice(0, 1)) + loss(slice(1, 4)), loss(slice(0, 4)))


def test_they_pass_batch_norm_with_the_other_target_images() -> None:
    network = small_network()
    network.bottleneck = nn.BatchNorm1d(5, momentum=1.0).double()
    network.train()
    few = (batch(3) + 5, FEW_LABELS)
    step_loss(network, replace(STEP, few=few), dann.loss, 0.4, BATCH)
    target = network.backbone(torch.cat([batch(2), few[0]]))
    mean = network.bottleneck.running_mean
    torch.testing.assert_close(mean, target.mean(0).detach())


def test_every_class_is_drawn_equally_often_and_few_images_several_times() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2])
    drawn = list(few_batches(labels, 9, 5, seed=0, epoch=1))
    assert [len(rows) for rows in drawn] == [9] * 5
    assert set(Counter(labels[torch.cat(drawn)].tolist()).values()) == {15}
    again = list(few_batches(labels, 9, 5, seed=0, epoch=1))
    assert torch.equal(torch.cat(drawn), torch.cat(again))
    other = list(few_batches(labels, 9, 5, seed=0, epoch=2))
    assert not torch.equal(torch.cat(drawn), torch.cat(other))


def steps_of(method: str, data: TrainingData) -> EpochSteps:
    return EpochSteps(Batches(recipe(method=method), data, torch.device("cpu")), 1)


@pytest.mark.parametrize("method", ["dann", "source_only", "source_plus_few", "fixmatch"])
def test_a_step_has_them_where_the_method_takes_them(method: str) -> None:
    plain, labelled = list(steps_of(method, tiny_data())), list(steps_of(method, few_data()))
    assert len(plain) == len(labelled) == 3
    for one, other in zip(plain, labelled, strict=True):
        # All other images are the same, to the last bit.
        assert torch.equal(one.source, other.source) and torch.equal(one.labels, other.labels)
        for before, now in ((one.target, other.target), (one.strong, other.strong)):
            assert (before is None) == (now is None)
            assert before is None or now is None or torch.equal(before, now)
        assert one.few is None
        if method == "source_only":
            assert other.few is None
        else:
            assert other.few is not None and other.few[0].shape == (16, 3, SIDE, SIDE)
            assert set(Counter(other.few[1].tolist()).values()) <= {4, 5, 6}
    assert (plain[0].strong is not None) == (method == "fixmatch")


def test_source_only_is_the_same_with_and_without_them(tmp_path: Path) -> None:
    config = recipe(method="source_only", epochs=2)
    plain, labelled = (
        metrics(run(config, data, tmp_path / name))
        for name, data in (("plain", tiny_data()), ("few", few_data()))
    )
    assert plain == labelled


@pytest.mark.parametrize("method", ["source_plus_few", *adapting()])
def test_every_other_method_learns_from_them(tmp_path: Path, method: str) -> None:
    config = recipe(method=method, epochs=1)
    right = run(config, few_data(), tmp_path / "right")
    wrong = few_data(labels=(torch.arange(6) + 1) % 3)
    assert metrics(right) != metrics(run(config, wrong, tmp_path / "wrong"))


@pytest.mark.parametrize("method", ["dann", "fixmatch"])
def test_a_training_paused_within_an_epoch_ends_the_same(tmp_path: Path, method: str) -> None:
    config, data = recipe(method=method, epochs=2), few_data()
    whole = run(config, data, tmp_path / "whole")
    beats = iter([False, True])
    run(config, data, tmp_path / "parts", pause=lambda: next(beats, False))
    assert metrics(run(config, data, tmp_path / "parts")) == metrics(whole)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_they_take_memory() -> None:
    def of(method: str, few: bool) -> int:
        config = recipe(method=method, backbone="resnet18", batch_size=64)
        return peak_of(config, classes=3, side=64, few=few).machine

    assert of("source_only", True) == of("source_only", False) < of("source_plus_few", True)
    assert of("dann", False) < of("dann", True)
    assert of("dann", False) < of("fixmatch", False) < of("fixmatch", True)


NAMES = ("bike", "mug")


def write_target(root: Path, train: dict[int, str], swapped: bool = False) -> Path:
    """A table of 24 images with these labels of training images; the others' can be swapped."""
    (root / "images").mkdir(parents=True)
    rows = ["path,label,split"]
    for number in range(24):
        noise(90_000 + number).save(root / "images" / f"{number:02}.png")
        split = "train" if number < 12 else "val" if number < 18 else "test"
        label = NAMES[(number + swapped) % 2]
        if split == "train":
            label = train.get(number, "")
        rows.append(f"images/{number:02}.png,{label},{split}")
    (root / "target.csv").write_text("\n".join(rows) + "\n")
    return root / "target.csv"


def test_no_other_label_of_the_target_reaches_training(tmp_path: Path) -> None:
    """Weights are the same whether all other labels are there, are wrong, or are missing."""
    for number in range(20):
        folder = tmp_path / "source" / NAMES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        noise(number).save(folder / f"{number}.png")

    def trained(name: str, table: Path, wanted: int | str) -> np.ndarray[Any, Any]:
        target = {"manifest": table, "labels": {"train": wanted}}
        data = DataConfig.model_validate(
            {"source": {"folder": tmp_path / "source"}, "target": target}
        )
        pack(data, 16, tmp_path / f"{name}-store")
        config = recipe(epochs=2, batch_size=4, method="mme")
        # An objective without labels: those of val may choose the epoch, by the user's will.
        store = open_training_data(tmp_path / f"{name}-store")
        run(config, store, tmp_path / name, objective="bnm")
        few: np.ndarray[Any, Any] = np.load(tmp_path / f"{name}-store" / FEW)
        return few

    everything = {number: NAMES[number % 2] for number in range(12)}
    few = trained("full", write_target(tmp_path / "a", everything), 2)
    drawn = {int(row): NAMES[few[row]] for row in np.flatnonzero(few != NO_LABEL)}
    assert Counter(drawn.values()) == {"bike": 2, "mug": 2}
    assert all(everything[number] == name for number, name in drawn.items())
    again = trained("bare", write_target(tmp_path / "b", drawn, swapped=True), "all")
    assert (again == few).all()
    assert_same_weights(tmp_path / "full", tmp_path / "bare")
    # The guard of the test: one of their own labels is felt.
    changed = dict.fromkeys(drawn, "bike")
    trained("other", write_target(tmp_path / "c", {**drawn, **changed}), "all")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "full", tmp_path / "other")
