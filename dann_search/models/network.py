"""The DANN network: one backbone, one bottleneck, a label classifier and a domain discriminator."""

import torch
from torch import Tensor, nn

from dann_search.config.extensions import METHODS
from dann_search.config.trial import TrialConfig
from dann_search.models.backbone import BATCH_NORM, Backbone
from dann_search.models.cosine_classifier import CosineClassifier
from dann_search.models.discriminator import MultilinearMap, build_discriminator
from dann_search.models.domain_batch_norm import divide, of_source
from dann_search.models.gradient_reversal import reverse_gradient


class DannNetwork(nn.Module):
    """Features shared by the label classifier and, if adversarial, the domain discriminator.

    Args:
        backbone: gives features of shape (n, backbone.feature_size).
        classes: number of classes.
        config: ``bottleneck``, the discriminator, ``batch_norm`` and the method.

    Attributes:
        begins_after_frozen: whether it is given what the backbone's frozen stages made of images,
            instead of images.
    """

    def __init__(self, backbone: Backbone, classes: int, config: TrialConfig):
        super().__init__()
        self.backbone = backbone
        self.begins_after_frozen = False
        size = config.bottleneck or backbone.feature_size
        self.bottleneck: nn.Module = nn.Identity()
        if config.bottleneck:
            self.bottleneck = nn.Sequential(
                nn.Linear(backbone.feature_size, size), nn.BatchNorm1d(size), nn.ReLU(inplace=True)
            )
        cosine = METHODS[config.method].classifier == "cosine"
        self.classifier = (CosineClassifier if cosine else nn.Linear)(size, classes)
        self.discriminator: nn.Module | None = None
        self.multilinear_map: MultilinearMap | None = None
        if config.adversarial:
            sees = size
            if METHODS[config.method].discriminator == "conditioned":
                self.multilinear_map = MultilinearMap(size, classes)
                sees = self.multilinear_map.output_size
            self.discriminator = build_discriminator(
                sees,
                config.discriminator_width,
                config.discriminator_depth,
                config.discriminator_dropout,
                config.discriminator_norm,
            )
        build_own = METHODS[config.method].module
        self.method_module: nn.Module | None = build_own(size, classes) if build_own else None
        # Random networks have no statistics worth keeping.
        learnt = config.method == "from_scratch" and config.batch_norm == "frozen"
        self.batch_norm = "separate" if learnt else config.batch_norm
        if config.by_statistics and self.batch_norm != "frozen":
            self.batch_norm = "domain"
        if config.adapts and self.batch_norm == "domain":
            divide(self.backbone)
        if config.adapts and (self.batch_norm == "domain" or config.by_statistics):
            divide(self.bottleneck)

    def train(self, mode: bool = True) -> "DannNetwork":
        """Like ``nn.Module.train``; ``batch_norm: frozen`` fixes the backbone's statistics."""
        super().train(mode)
        if mode and self.batch_norm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, BATCH_NORM):
                    module.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Images (n, 3, side, side), or what frozen stages made of them, to features (n, size)."""
        features: Tensor = self.bottleneck(self.backbone_features(images))
        return features

    def backbone_features(self, images: Tensor) -> Tensor:
        """Return the same before the bottleneck, (n, backbone.feature_size)."""
        if self.begins_after_frozen:
            return self.backbone.other_stages(images)
        features: Tensor = self.backbone(images)
        return features

    def features_of_both(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both domains, through batch norm together (``joint``) or in turn."""
        if self.batch_norm == "joint":
            both = self.features(torch.cat([source, target]))
            return both[: len(source)], both[len(source) :]
        with of_source(self):
            features = self.features(source)
        return features, self.features(target)

    def conditioned(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Combine features (n, size) and probabilities (n, classes) for CDAN's discriminator."""
        assert self.multilinear_map is not None
        conditioned: Tensor = self.multilinear_map(features, probabilities)
        return conditioned

    def domain_logits(self, features: Tensor, lam: float) -> Tensor:
        """Logit of "this is the target domain", shape (n,), through the gradient reversal layer."""
        assert self.discriminator is not None
        logits: Tensor = self.discriminator(reverse_gradient(features, lam))
        return logits.squeeze(1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, side, side), normalized, to class logits (n, classes)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
