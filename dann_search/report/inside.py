"""Run the best model on images of train and val: scores, features, galleries.

No image of the target's test split is opened here, and labels of its training split do not exist.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.domain import NO_LABEL
from dann_search.data.store import labels_if_any, open_groups
from dann_search.data.training_data import TrainingData, as_tensor, open_training_data
from dann_search.data.views import Seen
from dann_search.evaluation.calibration import to_probabilities
from dann_search.evaluation.comparison import BASE
from dann_search.evaluation.scoring import score_logits
from dann_search.models.build import build_network, uses_pretrained
from dann_search.models.domain_batch_norm import of_source
from dann_search.models.network import DannNetwork
from dann_search.models.registry import spec_of
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import Measurement
from dann_search.report.shift import DomainShift, domain_shift, on_a_plane
from dann_search.report.thumbnails import (
    Augmented,
    Thumbnail,
    augmented,
    confident_mistakes,
    uncertain_images,
)
from dann_search.report.words import in_words
from dann_search.results.rows import TrialRow
from dann_search.results.store import packed_store
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST as CHECKPOINT
from dann_search.training.checkpoint import load_checkpoint, restore_network
from dann_search.training.epoch_steps import input_side
from dann_search.training.predict import Outputs, predict_outputs
from dann_search.training.threads import with_threads

PLAIN = "trained without adaptation"
PER_DOMAIN = 600
"""Images per domain whose features are compared and drawn."""
BATCH = 32
"""Images per batch: on a CPU larger batches are slower, because of their activations."""
Floats = NDArray[np.float64]
Tell = Callable[[str], None]


def take_sample(store: Path, role: str) -> tuple[Tensor, NDArray[np.int64]]:
    """Take up to 600 images, half of them from val if possible; always the same ones.

    Returns:
        Images of one domain, uint8 of shape (n, 3, side, side), and their labels, shape (n,).
        Labels of the target's training images are ``NO_LABEL``, and so are all where none has one.
    """
    rng = np.random.default_rng(0)
    val, train = as_tensor(store, role, "val"), as_tensor(store, role, "train")
    of_val = min(len(val), max(PER_DOMAIN // 2, PER_DOMAIN - len(train)))
    images, labels = [], []
    for split, stored, count in (("val", val, of_val), ("train", train, PER_DOMAIN - of_val)):
        rows = np.sort(rng.permutation(len(stored))[:count])
        known = labels_if_any(store, role, split)
        images.append(stored[torch.from_numpy(rows)])
        labels.append(np.full(len(rows), NO_LABEL) if known is None else known[rows])
    return torch.cat(images), np.concatenate(labels)


@dataclass(frozen=True)
class Recipe:
    """Everything needed to build a trial's network and to run it on images."""

    config: TrialConfig
    weights: Mapping[str, WeightsFile]
    data: TrainingData

    def network(self, checkpoint: Path | None) -> DannNetwork:
        """Build the network as before training, or with the weights of a checkpoint.

        Raises:
            InputError: pre-trained weights are not available.
            RunError: the checkpoint is damaged or of another network.
        """
        side = input_side(self.config, self.data)
        network = build_network(self.config, self.data.classes, self.weights, side=side)
        if checkpoint is not None:
            restore_network(network, load_checkpoint(checkpoint), checkpoint)
        # The memory format of training, in which convolutions are faster.
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def outputs(self, network: DannNetwork, images: Tensor) -> Outputs:
        """Compute logits and features of images (n, 3, side, side)."""
        spec = spec_of(self.config.backbone, self.weights)
        side, device = input_side(self.config, self.data), torch.device("cpu")
        batches = torch.split(images, BATCH)
        found = [
            predict_outputs(network, Seen(batch, side, spec.normalization, None, device))
            for batch in batches
        ]
        logits, features = zip(*((one.logits, one.features) for one in found), strict=True)
        return Outputs(torch.cat(logits), torch.cat(features))

    def features(self, network: DannNetwork, source: Tensor, target: Tensor) -> list[Floats]:
        """Compute features, shapes (m, size) and (n, size), each by its domain's statistics."""
        with of_source(network):
            of_source_images = self.outputs(network, source).features
        both = of_source_images, self.outputs(network, target).features
        return [features.double().numpy() for features in both]


@dataclass(frozen=True)
class Domains:
    """Both domains as the named network sees them.

    ``source`` and ``target`` are positions on a plane, shapes (m, 2) and (n, 2), onto which
    ``method`` projected the features.
    """

    name: str
    shift: DomainShift
    source: Floats
    target: Floats
    method: str


@dataclass(frozen=True)
class Inside:
    """What running the best model shows.

    Attributes:
        words: its recipe in sentences, as (topic, sentences).
        val: its scores and calibration on the target's validation split; None without labels.
        mistakes, uncertain: images of that split.
        augmented: images of both training splits, by role.
        source_labels, target_labels: labels of the images on the planes; ``NO_LABEL`` if unknown.
        domains: by network, in the order of training; the best model's last.
        lacks_plain: whether the network without adaptation was compared but is gone now.
    """

    words: list[tuple[str, str]]
    val: Measurement | None
    mistakes: list[Thumbnail]
    uncertain: list[Thumbnail]
    augmented: dict[str, list[Augmented]]
    source_labels: NDArray[np.int64]
    target_labels: NDArray[np.int64]
    domains: list[Domains]
    lacks_plain: bool


def look_inside(
    folder: ExperimentFolder,
    experiment: ExperimentConfig,
    best: TrialRow,
    compared: Comparison | None,
    tell: Tell,
) -> Inside:
    """Run the best model, and the networks it is compared with, on images of train and val.

    Raises:
        InputError: weights or a library that the network needs are not available.
        RunError: its checkpoint is damaged or of another network.
        OSError: a file is gone or damaged.
    """
    store = packed_store(folder)
    data = open_training_data(store)
    recipe = Recipe(TrialConfig(**best.config), experiment.weights, data)
    config, names = recipe.config, data.info.class_names
    threads = min(8, torch.get_num_threads())
    with with_threads(threads), threadpool_limits(threads):
        tell(f"running the model of trial {best.number} on {len(data.val_images)} val images")
        checkpoint = folder.trial(best.number) / CHECKPOINT
        folder.fetch(checkpoint)
        network = recipe.network(checkpoint)
        logits = recipe.outputs(network, data.val_images).logits.double().numpy()
        probabilities = to_probabilities(logits)
        val, mistakes, labels = None, list[Thumbnail](), None
        if data.val_labels is not None:
            labels, copies = data.val_labels.numpy(), open_groups(store, "target", "val")
            val = score_logits(labels, logits, names, "val", groups=copies)
            mistakes = confident_mistakes(data.val_images, labels, probabilities, names)
        source, source_labels = take_sample(store, "source")
        target, target_labels = take_sample(store, "target")
        domains = []
        for name, one, path in _networks(recipe, folder, checkpoint, compared):
            built = network if path == checkpoint else one.network(path)
            domains.append(_domains(name, one.features(built, source, target), tell))
        compares_plain = compared is not None and config.adapts and BASE in compared.methods
        return Inside(
            words=in_words(
                config,
                spec_of(config.backbone, recipe.weights).stages,
                uses_pretrained(config, recipe.weights),
            ),
            val=val,
            mistakes=mistakes,
            uncertain=uncertain_images(data.val_images, labels, probabilities, names),
            augmented=_augmented(recipe),
            source_labels=source_labels,
            target_labels=target_labels,
            domains=domains,
            lacks_plain=compares_plain and PLAIN not in [one.name for one in domains],
        )


def _augmented(recipe: Recipe) -> dict[str, list[Augmented]]:
    data, config = recipe.data, recipe.config
    side, crop_size = input_side(config, data), data.info.crop_size
    images = {"source": augmented(data.source_images, side, config, 1.0, crop_size)}
    if config.adapts:
        strength = config.target_augmentation
        images["target"] = augmented(data.target_images, side, config, strength, crop_size)
    return images


def _networks(
    recipe: Recipe, folder: ExperimentFolder, checkpoint: Path, compared: Comparison | None
) -> Iterator[tuple[str, Recipe, Path | None]]:
    """Yield name, recipe and checkpoint of each network whose features are shown.

    The first training without adaptation is one, if it was compared and its checkpoint exists.
    """
    yield "before training", recipe, None
    plain = compared.methods.get(BASE) if compared and recipe.config.adapts else None
    for seed, run in zip(compared.seeds, plain.runs, strict=False) if compared and plain else ():
        path = folder.compare / Path(run).name / CHECKPOINT
        folder.fetch(path)
        if path.is_file():
            config = recipe.config.model_copy(update={"method": BASE, "seed": seed})
            yield PLAIN, replace(recipe, config=config), path
            break
    yield f"trained by {recipe.config.method}", recipe, checkpoint


def _domains(name: str, features: list[Floats], tell: Tell) -> Domains:
    source, target = features
    tell(f"placing {len(source) + len(target)} images, {name}")
    # The problems are small: more threads would only wait for each other.
    with threadpool_limits(1):
        places, method = on_a_plane(np.concatenate(features))
        shift = domain_shift(source, target)
    return Domains(name, shift, places[: len(source)], places[len(source) :], method)
