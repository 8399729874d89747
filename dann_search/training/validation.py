"""What is measured of a network after an epoch: metrics on the target, and label-free scores."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dann_search.data.training_data import TrainingData
from dann_search.models.catalog import BackboneSpec
from dann_search.models.domain_batch_norm import of_source
from dann_search.models.network import DannNetwork
from dann_search.training.frozen_stages import FrozenStages
from dann_search.training.metrics import ClassificationMetrics, classification_metrics
from dann_search.training.predict import Outputs, predict_outputs
from dann_search.training.ranks import Ranks
from dann_search.training.validators import validate
from dann_search.training.validators.view import ValidationView


@dataclass(frozen=True)
class ValidationOutputs:
    """A network's outputs on the validation splits, the same on every worker."""

    source: Outputs
    target: Outputs

    @property
    def logit_sum(self) -> float:
        """Not finite where any logit is not."""
        return float(self.source.logits.sum() + self.target.logits.sum())


def validation_outputs(
    network: DannNetwork,
    data: TrainingData,
    spec: BackboneSpec,
    side: int,
    device: torch.device,
    ranks: Ranks,
    precision: str = "fp32",
    beat: Callable[[], None] = lambda: None,
    frozen: FrozenStages | None = None,
) -> ValidationOutputs:
    """Run the network on both validation splits, each worker on its share.

    Where ``frozen`` stages are given, it begins after them. Where batch norm has statistics for
    each domain, each is normalized by its own, as in training.
    """

    def outputs(role: str) -> Outputs:
        images = frozen.of(role, "val", None, beat) if frozen else data.images_of(role, "val")
        return predict_outputs(network, images, spec, side, device, ranks, precision, beat)

    with of_source(network):
        source = outputs("source")
    return ValidationOutputs(source, outputs("target"))


def target_metrics(outputs: ValidationOutputs, data: TrainingData) -> ClassificationMetrics | None:
    """Against the target's validation labels, the oracle's view; None where it has none."""
    if data.val_labels is None:
        return None
    predicted = outputs.target.logits.argmax(1).numpy()
    return classification_metrics(data.val_labels.numpy(), predicted, data.classes)


def label_free_scores(
    outputs: ValidationOutputs, data: TrainingData, threads: int
) -> dict[str, float]:
    """Every validator's value, with at most ``threads``; no label of the target is looked at."""
    view = ValidationView(
        source_logits=outputs.source.logits.double().numpy(),
        source_features=outputs.source.features.double().numpy(),
        source_labels=data.source_val_labels.numpy(),
        target_logits=outputs.target.logits.double().numpy(),
        target_features=outputs.target.features.double().numpy(),
    )
    return validate(view, threads)
