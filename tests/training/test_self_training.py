"""Pseudo labels: which they are, when they are learnt, and what stays as it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dann_search.models.build import build_network
from dann_search.training.adaptation import adaptation_of
from dann_search.training.checkpoint import LAST, load_checkpoint
from dann_search.training.loop import PSEUDO
from dann_search.training.schedules import pseudo_labels_at
from dann_search.training.self_training import NOT_LEARNT, pseudo_label_loss, pseudo_labels
from tests.training.recipes import metrics, recipe, run, tiny_data


def test_of_each_class_the_surest_quarter_is_learnt() -> None:
    """However unsure a class is as a whole."""
    sure = torch.tensor([9.0, 3.0, 5.0, 1.0, 0.5, 0.2, 0.4])
    logits = torch.zeros(7, 3)
    logits[:4, 0], logits[4:, 2] = sure[:4], sure[4:]
    none = NOT_LEARNT
    assert pseudo_labels(logits).tolist() == [0, none, none, none, 2, none, none]


def test_a_class_of_one_image_is_learnt_and_equally_sure_images_in_order() -> None:
    assert pseudo_labels(torch.tensor([[1.0, 0.0]])).tolist() == [0]
    alike = torch.tensor([[1.0, 0.0]] * 40)
    assert pseudo_labels(alike).tolist() == [0] * 10 + [NOT_LEARNT] * 30


def test_images_that_are_not_learnt_have_no_gradient() -> None:
    logits = torch.rand(4, 3, requires_grad=True)
    labels = torch.tensor([1, NOT_LEARNT, 2, NOT_LEARNT])
    loss = pseudo_label_loss(logits, labels, 4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.any(1).tolist() == [True, False, True, False]
    own = torch.nn.functional.cross_entropy(logits[[0, 2]], labels[[0, 2]], reduction="sum")
    torch.testing.assert_close(loss, own / 4)


def test_they_are_learnt_in_the_last_share_of_the_epochs_but_never_in_the_first() -> None:
    def when(**changes: Any) -> list[int]:
        config = recipe(**changes)
        return [e for e in range(1, config.epochs + 1) if pseudo_labels_at(e, config)]

    assert when(epochs=6) == []
    assert when(epochs=6, pseudo_labels=0.34) == [5, 6]
    assert when(epochs=6, pseudo_labels=0.01) == [6]
    assert when(epochs=4, pseudo_labels=0.99) == [2, 3, 4]
    assert when(epochs=1, pseudo_labels=0.5) == []
    assert when(epochs=6, pseudo_labels=0.5, method="source_only") == []


@pytest.mark.parametrize("method", ["dann", "adabn", "mcc", "mdd"])
def test_the_epochs_before_are_as_without(tmp_path: Path, method: str) -> None:
    data, shared = tiny_data(), {"method": method, "epochs": 3}
    plain = run(recipe(**shared), data, tmp_path / "plain")
    mine = run(recipe(**shared, pseudo_labels=0.4), data, tmp_path / "mine")
    assert metrics(mine)[:2] == metrics(plain)[:2]
    assert metrics(mine)[2] != metrics(plain)[2]
    assert mine[2].adaptation_loss is not None and mine[2].adaptation_loss > 0


def test_the_loss_on_them_is_a_weighted_cross_entropy_of_target_images_alone() -> None:
    config = recipe(method="dann", pseudo_label_weight=0.7)
    network = build_network(config, 3)
    x, domains = torch.rand(12, 8), torch.tensor([0.0] * 6 + [1.0] * 6)
    logits, labels = network.classifier(x), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = adaptation_of(config, labels)(network, x, logits, domains, 0.5, 6)
    both = adaptation_of(config, labels, labels)(network, x, logits, domains, 0.5, 6)
    assert torch.equal(both.loss, plain.loss) and plain.further is None
    own = torch.nn.functional.cross_entropy(logits[6:], labels)
    assert both.further is not None
    torch.testing.assert_close(both.further, 0.7 * own)


def test_no_label_of_the_target_reaches_them(tmp_path: Path) -> None:
    """Validation labels choose the epoch that is kept, and change no weight."""
    data, config = tiny_data(), recipe(pseudo_labels=0.5)
    assert data.val_labels is not None
    other = replace(data, val_labels=data.val_labels.flip(0))
    run(config, data, tmp_path / "one")
    run(config, other, tmp_path / "other")
    one, two = (load_checkpoint(tmp_path / name / LAST).model for name in ("one", "other"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_paused_in_such_an_epoch_keeps_its_labels(tmp_path: Path) -> None:
    config, data = recipe(epochs=2, pseudo_labels=0.5), tiny_data()
    run(config, data, tmp_path, stop_after=1)
    run(config, data, tmp_path, pause=lambda: True)
    kept = load_checkpoint(tmp_path / LAST).within[PSEUDO]
    run(config, data, tmp_path, pause=lambda: True)
    assert torch.equal(load_checkpoint(tmp_path / LAST).within[PSEUDO], kept)
    assert kept.shape == (len(data.target_images),)
