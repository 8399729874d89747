"""Run the best model on images of train and val: scores, features, galleries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.store import open_groups
from dann_search.data.training_data import open_training_data
from dann_search.evaluation.calibration import to_probabilities
from dann_search.evaluation.comparison import BASE
from dann_search.evaluation.scoring import score_logits
from dann_search.models.build import uses_pretrained
from dann_search.models.registry import spec_of
from dann_search.outputs.comparison import Comparison, MethodScores
from dann_search.outputs.models import Measurement
from dann_search.report.embedding import on_a_plane
from dann_search.report.networks import Features, Recipe, Sample, few_threads, take_sample
from dann_search.report.shift import DomainShift, domain_shift
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
from dann_search.training.loop import input_side

PLAIN = "trained without adaptation"
Floats = NDArray[np.float64]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Domains:
    """Both domains as one network sees them.

    Attributes:
        name: name of the network.
        shift: distance of the domains.
        source, target: positions on a plane, shapes (m, 2) and (n, 2).
        method: how the features were projected onto the plane.
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
    with few_threads():
        tell(f"running the model of trial {best.number} on {len(data.val_images)} val images")
        checkpoint = folder.trial(best.number) / CHECKPOINT
        folder.fetch(checkpoint)
        network = recipe.network(checkpoint)
        logits = recipe.outputs(network, data.val_images).logits.double().numpy()
        labels, names = None, data.info.class_names
        if data.val_labels is not None:
            labels = data.val_labels.numpy()
        copies = open_groups(store, "target", "val")
        probabilities = to_probabilities(logits)
        source, target = (take_sample(store, role) for role in ("source", "target"))
        seen = [
            _domains(features, tell)
            for features in _features(recipe, folder, best, compared, source, target)
        ]
        return Inside(
            words=_words(recipe),
            val=None
            if labels is None
            else score_logits(labels, logits, names, "val", groups=copies),
            mistakes=[]
            if labels is None
            else confident_mistakes(data.val_images, labels, probabilities, names),
            uncertain=uncertain_images(data.val_images, labels, probabilities, names),
            augmented=_augmented(recipe),
            source_labels=source.labels,
            target_labels=target.labels,
            domains=seen,
            lacks_plain=_compared_plain(recipe, compared) is not None
            and PLAIN not in [one.name for one in seen],
        )


def _words(recipe: Recipe) -> list[tuple[str, str]]:
    config = recipe.config
    spec = spec_of(config.backbone, recipe.weights)
    return in_words(config, spec.stages, uses_pretrained(config, recipe.weights))


def _augmented(recipe: Recipe) -> dict[str, list[Augmented]]:
    data, config = recipe.data, recipe.config
    side, crop_size = input_side(config, data), data.info.crop_size
    images = {"source": augmented(data.source_images, side, config, 1.0, crop_size)}
    if config.adapts:
        strength = config.target_augmentation
        images["target"] = augmented(data.target_images, side, config, strength, crop_size)
    return images


def _features(
    recipe: Recipe,
    folder: ExperimentFolder,
    best: TrialRow,
    compared: Comparison | None,
    source: Sample,
    target: Sample,
) -> Iterator[Features]:
    """Yield features before training, without adaptation if compared, and of the best model."""
    yield recipe.features("before training", recipe.network(None), source, target)
    if pair := _source_only(folder, recipe, compared):
        plain, path = pair
        yield plain.features(PLAIN, plain.network(path), source, target)
    name = f"trained by {recipe.config.method}"
    yield recipe.features(
        name, recipe.network(folder.trial(best.number) / CHECKPOINT), source, target
    )


def _compared_plain(recipe: Recipe, compared: Comparison | None) -> MethodScores | None:
    """Return the scores of the same recipe without adaptation, if it was compared."""
    return compared.methods.get(BASE) if compared and recipe.config.adapts else None


def _source_only(
    folder: ExperimentFolder, recipe: Recipe, compared: Comparison | None
) -> tuple[Recipe, Path] | None:
    """Return the first training without adaptation whose checkpoint still exists."""
    method = _compared_plain(recipe, compared)
    if compared is None or method is None:
        return None
    for seed, run in zip(compared.seeds, method.runs, strict=False):
        config = recipe.config.model_copy(update={"method": BASE, "seed": seed})
        path = folder.compare / Path(run).name / CHECKPOINT
        folder.fetch(path)
        if path.is_file():
            return Recipe(config, recipe.weights, recipe.data), path
    return None


def _domains(features: Features, tell: Tell) -> Domains:
    tell(f"placing {len(features.source) + len(features.target)} images, {features.name}")
    both = np.concatenate([features.source, features.target])
    count = len(features.source)
    # The problems are small: more threads would only wait for each other.
    with threadpool_limits(1):
        places, method = on_a_plane(both)
        shift = domain_shift(features.source, features.target)
    return Domains(features.name, shift, places[:count], places[count:], method)
