"""A label classifier that begins with class means."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dann_search.models.build import build_network
from dann_search.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from dann_search.training.epoch_steps import Batches
from dann_search.training.head_init import nearest_mean, start_from_class_means
from tests.training.recipes import recipe, run, tiny_data


def test_the_classifier_chooses_the_nearest_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 3
    features = torch.randn(30, 5, generator=generator).double() + labels[:, None] * 2
    weight, bias = nearest_mean(features, labels, 3)
    means = torch.stack([features[labels == c].mean(0) for c in range(3)])
    distances = torch.cdist(features, means)
    logits = features @ weight.T + bias
    assert torch.equal(logits.argmax(1), distances.argmin(1))
    spread = distances.gather(1, labels[:, None]).square().mean()
    ours = logits - logits[:, :1]
    theirs = -(distances.square() - distances[:, :1].square()) / (2 * spread)
    assert torch.allclose(ours, theirs)


def test_a_class_without_an_image_gets_the_mean_of_all() -> None:
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0]]).double()
    weight, bias = nearest_mean(features, torch.tensor([0, 1]), 3)
    assert torch.equal(weight[2], torch.zeros(2).double()) and bias[2] == 0
    assert torch.isfinite(weight).all() and torch.isfinite(bias).all()


@pytest.mark.parametrize("changes", [{}, {"bottleneck": 0}, {"batch_norm": "domain"}])
def test_before_training_it_knows_the_classes_of_the_source(changes: dict[str, Any]) -> None:
    config, data = recipe(head_init="class_means", **changes), tiny_data()
    network = build_network(config, data.classes)
    beats: list[int] = []
    batches = Batches(config, data, torch.device("cpu"), beat=lambda: beats.append(1))
    start_from_class_means(network, batches)
    assert beats == [1]  # 48 images are one batch
    images = (data.source_images.float() / 255 - 0.5) / 0.5
    network.train()  # statistics are those of the batch, as in training
    with torch.no_grad():
        found = network.classifier(network.bottleneck(network.backbone.eval()(images))).argmax(1)
    assert (found == data.source_labels).float().mean() > 0.9


def test_it_is_trained_on_from_there_and_not_set_again_by_a_resume(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "unfrozen_depth": 0, "epochs": 2, "bottleneck": 0}
    config, data = recipe(head_init="class_means", method="source_only", **still), tiny_data()
    network = build_network(config, data.classes)
    start_from_class_means(network, Batches(config, data, torch.device("cpu")))
    run(config, data, tmp_path, stop_after=1)
    weight = load_checkpoint(tmp_path / BEST).model["classifier.weight"]
    assert torch.allclose(weight, network.classifier.weight, rtol=1e-3, atol=0.01)
    with torch.no_grad():  # what a resume begins with is what was saved
        checkpoint = load_checkpoint(tmp_path / LAST)
        checkpoint.model["classifier.weight"].fill_(1.0)
        save_checkpoint(tmp_path / LAST, checkpoint)
    run(config, data, tmp_path)
    weight = load_checkpoint(tmp_path / LAST).model["classifier.weight"]
    assert torch.allclose(weight, torch.ones_like(weight), atol=1e-3)
