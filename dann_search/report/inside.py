"""What the best model's own images and features show: everything that has to run a network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dann_search.config.experiment import Experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.training_data import open_training_data
from dann_search.evaluation.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability,
    to_probabilities,
)
from dann_search.evaluation.scoring import score
from dann_search.models.build import uses_pretrained
from dann_search.models.registry import spec_of
from dann_search.report.embedding import on_a_plane
from dann_search.report.measured import BASE, Bin, Compared, Measured, Method
from dann_search.report.networks import (
    Features,
    Recipe,
    Sample,
    few_threads,
    take_sample,
)
from dann_search.report.shift import DomainShift, domain_shift
from dann_search.report.thumbnails import (
    Augmented,
    Thumbnail,
    augmented,
    confident_mistakes,
    uncertain_images,
)
from dann_search.report.words import in_words
from dann_search.results.reader import TrialRow
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
        name: of the network.
        shift: how far they lie apart.
        source, target: places on a plane, shapes (m, 2) and (n, 2).
        method: that put them there.
    """

    name: str
    shift: DomainShift
    source: Floats
    target: Floats
    method: str


@dataclass(frozen=True)
class Inside:
    """What running the best model showed.

    Attributes:
        words: its recipe in sentences, as (what, sentences).
        val: its scores on the target's validation split.
        bins, ece: reliability of its probabilities there, and their calibration error.
        mistakes, uncertain: images of that split.
        augmented: of both training splits, by role.
        source_labels, target_labels: of the images on the planes; ``NO_LABEL`` for those without.
        domains: by network, in the order of training; the best model's last.
        lacks_plain: the network without adaptation was compared, but is not there any more.
    """

    words: list[tuple[str, str]]
    val: Measured
    bins: list[Bin]
    ece: float
    mistakes: list[Thumbnail]
    uncertain: list[Thumbnail]
    augmented: dict[str, list[Augmented]]
    source_labels: NDArray[np.int64]
    target_labels: NDArray[np.int64]
    domains: list[Domains]
    lacks_plain: bool


def look_inside(
    folder: ExperimentFolder,
    experiment: Experiment,
    best: TrialRow,
    compared: Compared | None,
    tell: Tell,
) -> Inside:
    """Run the best model, and those it is held against, on images of train and val.

    Raises:
        InputError: weights or a library that the network needs cannot be had.
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
        labels, names = data.val_labels.numpy(), data.info.class_names
        val = score(labels, logits.argmax(1), names, "val")
        probabilities = to_probabilities(logits)
        bins = reliability(probabilities, labels)
        source, target = (take_sample(store, role) for role in ("source", "target"))
        seen = [
            _domains(features, tell)
            for features in _features(recipe, folder, best, compared, source, target)
        ]
        return Inside(
            words=_words(recipe),
            val=Measured.model_validate(val.to_json()),
            bins=[_bin(one) for one in bins],
            ece=expected_calibration_error(bins),
            mistakes=confident_mistakes(data.val_images, labels, probabilities, names),
            uncertain=uncertain_images(data.val_images, labels, probabilities, names),
            augmented=_augmented(recipe),
            source_labels=source.labels,
            target_labels=target.labels,
            domains=seen,
            lacks_plain=_compared_plain(recipe, compared) is not None
            and PLAIN not in [one.name for one in seen],
        )


def _bin(one: ReliabilityBin) -> Bin:
    """As ``evaluate`` writes it: None for the means of no image."""
    confidence, accuracy = (one.confidence, one.accuracy) if one.n else (None, None)
    return Bin(low=one.low, high=one.high, n=one.n, confidence=confidence, accuracy=accuracy)


def _words(recipe: Recipe) -> list[tuple[str, str]]:
    config = recipe.config
    spec = spec_of(config.backbone, recipe.weights)
    return in_words(config, spec.stages, uses_pretrained(config, recipe.weights))


def _augmented(recipe: Recipe) -> dict[str, list[Augmented]]:
    data, config = recipe.data, recipe.config
    side = input_side(config, data)
    found = {"source": augmented(data.source_images, side, config, 1.0)}
    if config.adapts:
        strength = config.target_augmentation
        found["target"] = augmented(data.target_images, side, config, strength)
    return found


def _features(
    recipe: Recipe,
    folder: ExperimentFolder,
    best: TrialRow,
    compared: Compared | None,
    source: Sample,
    target: Sample,
) -> Iterator[Features]:
    """Of the network as training began, without adaptation if compared, and as it was chosen."""
    yield recipe.features("before training", recipe.network(None), source, target)
    if found := _source_only(folder, recipe, compared):
        plain, path = found
        yield plain.features(PLAIN, plain.network(path), source, target)
    name = f"trained by {recipe.config.method}"
    yield recipe.features(
        name, recipe.network(folder.trial(best.number) / CHECKPOINT), source, target
    )


def _compared_plain(recipe: Recipe, compared: Compared | None) -> Method | None:
    """What the comparison says of the same recipe without adaptation."""
    return compared.methods.get(BASE) if compared and recipe.config.adapts else None


def _source_only(
    folder: ExperimentFolder, recipe: Recipe, compared: Compared | None
) -> tuple[Recipe, Path] | None:
    """The comparison's first training of the same recipe without adaptation, if it is there."""
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
    # Small problems: more threads would only wait for each other.
    with threadpool_limits(1):
        places, method = on_a_plane(both)
        shift = domain_shift(features.source, features.target)
    return Domains(features.name, shift, places[:count], places[count:], method)
