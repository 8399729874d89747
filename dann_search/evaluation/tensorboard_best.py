"""Show the best trial in TensorBoard: confusion matrix, PR curves, embeddings, batches.

torch's SummaryWriter writes the run ``best`` anew each time. Labels are those of the validation
splits, which chose the trial; nothing here opens the target's test split.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment, to_float
from dann_search.data.batches import epoch_seed, paired_batches
from dann_search.data.domain import NO_LABEL
from dann_search.data.training_data import TrainingData, open_training_data
from dann_search.data.views import Seen
from dann_search.errors import in_one_line
from dann_search.evaluation.confusion import write_confusion
from dann_search.inference.batched_logits import find_device
from dann_search.inference.markup import one_line
from dann_search.models.build import build_network
from dann_search.models.domain_batch_norm import of_source
from dann_search.models.registry import spec_of
from dann_search.results.choose import choose
from dann_search.results.reader import read_experiment, read_trials
from dann_search.results.store import packed_store
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network
from dann_search.training.epoch_steps import AUGMENT_SOURCE, AUGMENT_TARGET, input_side
from dann_search.training.predict import Outputs, predict_outputs

RUN = "best"
POINTS = 500
"""Images of each domain in the embedding."""
DIMENSIONS = 64
"""Dimensions of the embedding; wider features are reduced to principal components."""
THUMBNAIL = 32
"""Side in pixels of the images in the embedding."""
CLASSES = 40
"""Classes in the confusion matrix; of more, those confused most often."""
CURVES = 100
"""Classes with a precision-recall curve, chosen in the same way."""
BATCH_IMAGES, BATCH_SIDE = 32, 96
"""Images shown of an augmented batch, and their largest side in pixels."""
BYTES = 6_000_000
"""Upper bound of the size of the run."""


@dataclass(frozen=True)
class PicturedTrial:
    """The best trial at its best epoch, and its network's outputs on the validation splits.

    ``source`` has the outputs for the embedded images of source val, ``target`` those for all of
    target val.
    """

    number: int
    epoch: int
    config: TrialConfig
    data: TrainingData
    side: int
    source: Outputs
    target: Outputs


def show_best(folder: ExperimentFolder) -> None:
    """Write the best trial's run; on failure, print a note instead of raising.

    Ctrl-C skips it: everything else is written, and the user does not want to wait.
    """
    try:
        write_best_run(folder)
    except KeyboardInterrupt:
        shutil.rmtree(folder.tensorboard / RUN, ignore_errors=True)  # it may be incomplete
    except Exception as exc:  # a full disk, a full GPU, a picture that cannot be drawn
        reason = f"the best trial could not be shown in TensorBoard: {in_one_line(exc)}"
        print(f"note: {reason}; try again with: dann-search best {folder}", file=sys.stderr)


def write_best_run(folder: ExperimentFolder) -> Path:
    """Write the run ``best`` of an experiment's TensorBoard folder and return its path.

    Raises:
        InputError: no trial has finished.
        RunError: the trial's checkpoint is damaged.
    """
    run = folder.tensorboard / RUN
    write_run(run, _open(folder))
    folder.publish_below(run)
    return run


def write_run(run: Path, best: PicturedTrial) -> None:
    """Write a trial as a TensorBoard run, replacing an earlier one."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(run, ignore_errors=True)
    with SummaryWriter(str(run)) as writer:
        writer.add_text("trial", f"trial {best.number}, epoch {best.epoch}", best.epoch)
        if best.data.val_labels is not None:
            labels, classes = best.data.val_labels.numpy(), range(best.data.classes)
            guesses = best.target.logits.argmax(1).numpy()
            counts = confusion_matrix(labels, guesses, labels=classes)
            _add_confusion(writer, best, counts)
            _add_curves(writer, best, labels, counts)
        _add_batches(writer, best)
        _add_embeddings(writer, best)


def _open(folder: ExperimentFolder) -> PicturedTrial:
    experiment = read_experiment(folder)
    row = choose(read_trials(folder), folder, 1, None)
    config, data = TrialConfig(**row.config), open_training_data(packed_store(folder))
    path = folder.trial(row.number) / BEST
    folder.refresh(path)
    checkpoint = load_checkpoint(path)
    spec, side = spec_of(config.backbone, experiment.weights), input_side(config, data)
    network = build_network(config, data.classes, experiment.weights, side=side)
    restore_network(network, checkpoint, path)
    device = find_device("auto")
    network.to(device)

    def outputs(images: Tensor) -> Outputs:
        return predict_outputs(network, Seen(images, side, spec.normalization, None, device))

    with of_source(network):
        source = outputs(data.source_val_images[_sample(len(data.source_val_images))])
    return PicturedTrial(
        number=row.number,
        epoch=checkpoint.history[-1].epoch,
        config=config,
        data=data,
        side=side,
        source=source,
        target=outputs(data.val_images),
    )


def _sample(images: int) -> Tensor:
    """Return the indices of the images to embed, the same each time."""
    drawn = torch.randperm(images, generator=torch.Generator().manual_seed(0))
    return drawn[:POINTS].sort().values


def _add_confusion(writer: Any, best: PicturedTrial, counts: NDArray[np.int64]) -> None:
    names = best.data.info.class_names
    shown = most_mistaken(counts, CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "confusion.png"
        matrix = counts[np.ix_(shown, shown)].tolist()
        write_confusion(path, matrix, [names[index] for index in shown])
        with Image.open(path) as image:
            image.thumbnail((1200, 1200))
            pixels = np.asarray(image.convert("RGB"))
    tag = "val/confusion" if len(shown) == len(names) else f"val/confusion_of_{CLASSES}_classes"
    writer.add_image(tag, pixels, best.epoch, dataformats="HWC")


def most_mistaken(confusion: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the ``count`` classes with most mistakes to or from them, in label order."""
    right = np.diagonal(confusion)
    mistakes = confusion.sum(0) + confusion.sum(1) - 2 * right
    return np.sort(np.argsort(-mistakes, kind="stable")[:count])


def _add_curves(
    writer: Any, best: PicturedTrial, labels: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    """Add a precision-recall curve of each class against all others, on target val."""
    probabilities = best.target.logits.double().softmax(1).numpy()
    for index in most_mistaken(counts, CURVES):
        tag = f"class/{best.data.info.class_names[index]}"
        writer.add_pr_curve(tag, labels == index, probabilities[:, index], best.epoch)


def _add_batches(writer: Any, best: PicturedTrial) -> None:
    """Add the images of the trial's first step, as the network saw them before scaling."""
    config, data = best.config, best.data
    sizes = len(data.source_images), len(data.target_images)
    balanced = data.source_labels if config.class_balanced else None
    source, target = next(
        paired_batches(*sizes, config.batch_size, config.seed, epoch=1, balanced_labels=balanced)
    )
    domains = {"source": (data.source_images, source, AUGMENT_SOURCE, 1.0)}
    if config.adapts:
        strength = config.target_augmentation
        domains["target"] = (data.target_images, target, AUGMENT_TARGET, strength)
    for domain, (images, rows, stream, strength) in domains.items():
        generator = torch.Generator().manual_seed(epoch_seed(config.seed, 1, stream))
        crop_size, stored = data.info.crop_size, images[rows[:BATCH_IMAGES]]
        shown = to_float(stored, stored.shape[-1] if crop_size else best.side)
        batch = augment(shown, config, generator, (0, len(rows)), strength, crop_size)
        framed = F.pad(_small(batch, BATCH_SIDE), (1, 1, 1, 1), value=1.0)  # by a white line
        writer.add_images(f"augmented/{domain}", framed, best.epoch)


def _small(images: Tensor, side: int) -> Tensor:
    """Reduce float images (n, 3, h, h) to at most ``side`` pixels."""
    if images.shape[-1] <= side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)


def _add_embeddings(writer: Any, best: PicturedTrial) -> None:
    """Add features of both domains, with each image's thumbnail, label if any and prediction."""
    data = best.data
    of_source, of_target = _sample(len(data.source_val_images)), _sample(len(data.val_images))
    images = [data.source_val_images[of_source], data.val_images[of_target]]
    unknown = torch.full((len(data.val_images),), NO_LABEL)
    of_val = unknown if data.val_labels is None else data.val_labels
    labels = torch.cat([data.source_val_labels[of_source], of_val[of_target]]).tolist()
    predicted = torch.cat([best.source.logits, best.target.logits[of_target]]).argmax(1).tolist()
    roles = ["source"] * len(of_source) + ["target"] * len(of_target)
    # A tab or a line break would start another cell of the projector's table.
    domains = {role: one_line(f"{role}: {name}") for role, name in data.info.domains.items()}
    names = [one_line(name) for name in data.info.class_names]
    metadata = [
        [
            domains[role],
            "" if label == NO_LABEL else names[label],
            names[guess],
            "" if label == NO_LABEL else str(label == guess),
        ]
        for role, label, guess in zip(roles, labels, predicted, strict=True)
    ]
    thumbnails = torch.cat([_small(to_float(part, part.shape[-1]), THUMBNAIL) for part in images])
    writer.add_embedding(
        _narrow(torch.cat([best.source.features, best.target.features[of_target]])),
        metadata=metadata,
        metadata_header=["domain", "label", "predicted", "right"],
        label_img=thumbnails,
        global_step=best.epoch,
        tag="features",
    )


def _narrow(features: Tensor) -> Tensor:
    """Reduce features (n, size) to DIMENSIONS columns of four digits: the files are text."""
    values = features.double().numpy()
    if values.shape[1] > DIMENSIONS:
        values = PCA(min(DIMENSIONS, len(values)), random_state=0).fit_transform(values)
    scale = 10.0 ** (3 - np.floor(np.log10(max(np.abs(values).max(), 1e-12))))
    return torch.from_numpy(np.round(values * scale) / scale)
