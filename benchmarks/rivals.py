"""DANN as skada and pytorch-adapt have it, at our backbone, batches, epochs and learning rates.

What is the library's own stays so: the adversarial loss and its weight, the gradient reversal, how
source and target are paired. All else is that of ``benchmarks/accuracy.py``'s recipe.

    pip install -e '.[timm,benchmarks]'
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment, normalize, to_float
from dann_search.data.batches import paired_batches, steps_per_epoch
from dann_search.data.training_data import TrainingData, open_training_data
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of
from dann_search.training.epoch_steps import input_side
from dann_search.training.schedules import lr_factor_at
from dann_search.training.seeding import reset_torch

# First: pytorch-adapt imports torchvision.
from dann_search.data.torchvision_shim import torchvision  # noqa: F401  isort: skip

Weights = Mapping[str, WeightsFile]


class Trainee(nn.Module):
    """Our backbone, bottleneck and classifier behind the augmentation of training.

    Takes images of values 0 to 255, (n, 3, side, side); gives class logits (n, classes).
    """

    def __init__(self, config: TrialConfig, weights: Weights, data: TrainingData):
        super().__init__()
        self.config = config
        self.spec = spec_of(config.backbone, weights)
        # Without a discriminator: the rival brings its own.
        plain = config.model_copy(update={"method": "source_only"})
        self.network = build_network(plain, data.classes, weights, side=input_side(config, data))
        self.generator = torch.Generator().manual_seed(config.seed)

    def features(self, images: Tensor) -> Tensor:
        """Augmented and normalized images to features (n, bottleneck)."""
        batch = to_float(images, images.shape[-1])
        batch = augment(batch, self.config, self.generator, (0, len(batch)))
        return self.network.features(normalize(batch, self.spec.mean, self.spec.std))

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Class logits; skada passes ``sample_weight``, which DANN does not use."""
        logits: Tensor = self.network.classifier(self.features(images))
        return logits


def train_skada_dann(config: TrialConfig, weights: Weights, store: Path, classes: int) -> nn.Module:
    """Train skada's DANN; give the network alone, normalized images to logits."""
    from skada.deep import DANN
    from skada.deep.modules import DomainClassifier
    from skorch.callbacks import LRScheduler

    reset_torch(config.seed)
    data = open_training_data(store)
    trainee = Trainee(config, weights, data)
    # Its default ends in a softmax over one output, constantly 1: the loss then has no gradient and
    # nothing is adapted (skada 0.6.0). A sigmoid is what its BCELoss expects.
    domain_classifier = DomainClassifier(num_features=config.bottleneck)
    domain_classifier.classifier[-1] = nn.Sigmoid()
    steps = config.epochs * _steps(data, config)
    net = DANN(
        trainee,
        layer_name="network.bottleneck",
        domain_classifier=domain_classifier,
        max_epochs=config.epochs,
        batch_size=config.batch_size,  # of each domain
        train_split=None,
        verbose=0,
        optimizer=torch.optim.SGD,
        lr=config.learning_rate * config.head_lr_factor,
        optimizer__param_groups=[("*network.backbone*", {"lr": config.learning_rate})],
        optimizer__momentum=config.momentum,
        optimizer__nesterov=True,
        optimizer__weight_decay=config.weight_decay,
        callbacks=[
            LRScheduler(
                torch.optim.lr_scheduler.LambdaLR,
                lr_lambda=lambda step: lr_factor_at(step / steps, config),
                step_every="batch",
            )
        ],
    )
    images = torch.cat([data.source_images, data.target_images]).numpy().astype(np.float32)
    labels = np.concatenate([data.source_labels.numpy(), np.full(len(data.target_images), -1)])
    domains = np.where(labels >= 0, 1, -2)  # positive: source, negative: target
    net.fit({"X": images, "sample_domain": domains}, labels)
    return trainee.network


def train_pytorch_adapt_dann(
    config: TrialConfig, weights: Weights, store: Path, classes: int
) -> nn.Module:
    """Train pytorch-adapt's DANN; give the network alone, normalized images to logits."""
    from pytorch_adapt.hooks import DANNHook
    from pytorch_adapt.models import Discriminator

    reset_torch(config.seed)
    data = open_training_data(store)
    trainee = Trainee(config, weights, data).train()
    discriminator = Discriminator(in_size=config.bottleneck)
    backbone = [p for p in trainee.network.backbone.parameters() if p.requires_grad]
    inside = set(map(id, trainee.network.backbone.parameters()))
    heads = [p for p in [*trainee.parameters(), *discriminator.parameters()] if id(p) not in inside]
    rates = (config.learning_rate, config.learning_rate * config.head_lr_factor)
    optimizer = torch.optim.SGD(
        [{"params": backbone}, {"params": heads}],
        lr=rates[0],
        momentum=config.momentum,
        nesterov=True,
        weight_decay=config.weight_decay,
    )
    hook = DANNHook([optimizer])
    parts = {"G": _Features(trainee), "C": trainee.network.classifier, "D": discriminator}
    steps = _steps(data, config)
    sizes = len(data.source_images), len(data.target_images)
    for epoch in range(1, config.epochs + 1):
        batches = paired_batches(*sizes, config.batch_size, config.seed, epoch)
        for step, (source, target) in enumerate(batches):
            factor = lr_factor_at((epoch - 1 + step / steps) / config.epochs, config)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            batch: dict[str, Any] = {
                "src_imgs": data.source_images[source].float(),
                "src_labels": data.source_labels[source],
                "src_domain": torch.zeros(len(source)),
                "target_imgs": data.target_images[target].float(),
                "target_domain": torch.ones(len(target)),
            }
            hook(parts | batch)
    return trainee.network


class _Features(nn.Module):
    """The trainee's features, as pytorch-adapt's generator G."""

    def __init__(self, trainee: Trainee):
        super().__init__()
        self.trainee = trainee

    def forward(self, images: Tensor) -> Tensor:
        return self.trainee.features(images)


def _steps(data: TrainingData, config: TrialConfig) -> int:
    return steps_per_epoch(len(data.source_images), len(data.target_images), config.batch_size)
