"""What is measured of a network after an epoch: metrics on the target, and label-free scores."""

from dataclasses import fields

from dann_search.data.training_data import TrainingData
from dann_search.models.domain_batch_norm import of_source
from dann_search.models.network import DannNetwork
from dann_search.training.epoch_steps import Batches
from dann_search.training.metrics import ClassificationMetrics, classification_metrics
from dann_search.training.predict import Outputs, predict_outputs
from dann_search.training.validators import validate
from dann_search.training.validators.view import ValidationView


def validation_outputs(network: DannNetwork, batches: Batches) -> tuple[Outputs, Outputs]:
    """Run the network on the validation splits of source and target, each worker on its share.

    Where batch norm has statistics for each domain, each is normalized by its own, as in training.
    """

    def outputs(role: str) -> Outputs:
        how = batches.ranks, batches.config.precision, batches.beat
        return predict_outputs(network, batches.seen(role, "val"), *how)

    with of_source(network):
        source = outputs("source")
    return source, outputs("target")


def target_metrics(target: Outputs, data: TrainingData) -> dict[str, float | None]:
    """Return metrics on the target's validation labels, by field of ``EpochResult``.

    They are the oracle's view; each is None where the target has no labels.
    """
    if data.val_labels is None:
        return {f"{one.name}_val": None for one in fields(ClassificationMetrics)}
    predicted = target.logits.argmax(1).numpy()
    found = classification_metrics(data.val_labels.numpy(), predicted, data.classes)
    return {f"{name}_val": value for name, value in vars(found).items()}


def label_free_scores(
    source: Outputs, target: Outputs, data: TrainingData, threads: int
) -> dict[str, float]:
    """Compute every validator's value, with at most ``threads``, from no label of the target."""
    view = ValidationView(
        source_logits=source.logits.double().numpy(),
        source_features=source.features.double().numpy(),
        source_labels=data.source_val_labels.numpy(),
        target_logits=target.logits.double().numpy(),
        target_features=target.features.double().numpy(),
    )
    return validate(view, threads)
