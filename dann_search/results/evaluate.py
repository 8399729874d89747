"""How good a model is on images it never saw: point estimates, intervals, classes, confusion."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

from dann_search.data.domain import NO_LABEL
from dann_search.data.folder import load_folder_domain
from dann_search.data.store import open_labels
from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.results.best import RECORD, write_best
from dann_search.results.model import DannModel, load_model
from dann_search.results.reader import open_experiment
from dann_search.training.metrics import classification_metrics

RESAMPLES = 2000
FIELDS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")


@dataclass(frozen=True)
class ClassScore:
    """One class: its scores and its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one model on one labelled set.

    Attributes:
        split: ``test``, or the folder evaluated.
        n: images.
        accuracy, precision_macro, recall_macro, f1_macro: over all classes of the model.
        ci95: of each, the 2.5 and 97.5 percentiles over bootstrap resamples of the images.
        per_class: in label order.
        confusion: rows true, columns predicted.
    """

    split: str
    n: int
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    ci95: dict[str, tuple[float, float]]
    per_class: list[ClassScore]
    confusion: list[list[int]]

    def to_json(self) -> dict[str, Any]:
        """As ``evaluate --json`` prints it."""
        content = asdict(self)
        content["ci95"] = {name: list(ends) for name, ends in self.ci95.items()}
        for row in content["per_class"]:
            row["class"] = row.pop("name")
        return content

    def render(self) -> Group:
        """The tables people read."""
        head = Table(box=None, pad_edge=False)
        for name in (f"{self.split}, {self.n} images", "", "95 % interval"):
            head.add_column(
                name, justify="right" if name != f"{self.split}, {self.n} images" else "left"
            )
        for name in FIELDS:
            low, high = self.ci95[name]
            label = name.replace("_", " ")
            head.add_row(label, f"{getattr(self, name):.3f}", f"{low:.3f} to {high:.3f}")
        classes = Table(box=None, pad_edge=False)
        for name in ("class", "precision", "recall", "F1", "images"):
            classes.add_column(name, justify="left" if name == "class" else "right")
        for one in self.per_class:
            scores = (f"{value:.3f}" for value in (one.precision, one.recall, one.f1))
            classes.add_row(one.name, *scores, str(one.n))
        return Group(head, "", classes)


def evaluate_target(target: str | Path, data: Path | None = None) -> Evaluation:
    """Evaluate an experiment's best model, or a model folder, and keep the result beside the model.

    Args:
        target: an experiment (folder or name), or a folder with model.safetensors and model.json.
        data: a labelled folder instead of the target's test split.

    Raises:
        InputError: nothing to evaluate, nothing to evaluate on, or other classes.
    """
    path = Path(target).expanduser()
    if (path / RECORD).is_file():
        model_dir, store = path.resolve(), _store_beside(path)
    else:
        folder = open_experiment(target)
        model_dir, store = folder.best, folder.data
        if not (model_dir / RECORD).is_file():
            write_best(folder)
    if data is None and store is None:
        raise InputError(
            f"{path}: this model lies outside its experiment, so there is no test split; "
            "name a labelled folder: --data FOLDER"
        )
    result = evaluate(model_dir, store, data)
    if data is None:
        (model_dir / "evaluation.json").write_text(json.dumps(result.to_json(), indent=1))
        names = [one.name for one in result.per_class]
        write_confusion(model_dir / "confusion.png", result.confusion, names)
    return result


def _store_beside(model_dir: Path) -> Path | None:
    folder = ExperimentFolder(model_dir.resolve().parent)
    return folder.data if folder.record.is_file() else None


def evaluate(model_dir: Path, store: Path | None, data: Path | None) -> Evaluation:
    """Evaluate a model on the target's test split of a packed store, or on a labelled folder."""
    model = load_model(model_dir)
    if data is not None:
        images, labels = _labelled_folder(model, data)
        split = str(data)
    else:
        assert store is not None
        images, labels = as_tensor(store, "target", "test"), open_labels(store, "target", "test")
        split = "test"
    return score(labels, predict_classes(model, images), model.class_names, split)


def _labelled_folder(model: DannModel, data: Path) -> tuple[Tensor, NDArray[np.int64]]:
    domain = load_folder_domain(data)
    if (bare := np.flatnonzero(domain.labels == NO_LABEL)).size:
        raise InputError(
            f"{data}: {len(bare)} images have no label, such as {domain.places[bare[0]]}; "
            "evaluating needs a class folder for each"
        )
    unknown = sorted(set(domain.class_names) - set(model.class_names))
    if unknown:
        raise InputError(
            f"{data}: the class '{unknown[0]}' is none of the model's "
            f"({', '.join(model.class_names[:10])}{' …' if len(model.class_names) > 10 else ''})"
        )
    index = np.array([model.class_names.index(name) for name in domain.class_names])
    decoded = [domain.decode(number, model.image_size) for number in range(len(domain))]
    return torch.from_numpy(np.stack(decoded)), index[domain.labels]


@torch.no_grad()
def predict_classes(model: torch.nn.Module, images: Tensor) -> NDArray[np.int64]:
    """The class of largest logit for uint8 images (n, 3, side, side)."""
    classes: NDArray[np.int64] = torch.cat(
        [model(batch).argmax(1) for batch in torch.split(images, 256)]
    ).numpy()
    return classes


def score(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], names: list[str], split: str
) -> Evaluation:
    """Metrics and intervals of predictions, both arrays of shape (n,)."""
    classes = len(names)
    confusion = confusion_matrix(labels, predictions, labels=range(classes))
    parts = precision_recall_fscore_support(
        labels, predictions, labels=range(classes), zero_division=0
    )
    return Evaluation(
        split=split,
        n=len(labels),
        **asdict(classification_metrics(labels, predictions, classes)),
        ci95=bootstrap_intervals(confusion, len(labels)),
        per_class=[
            ClassScore(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(names, *parts, strict=True)
        ],
        confusion=confusion.tolist(),
    )


def bootstrap_intervals(confusion: NDArray[np.int64], n: int) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resamples of the images (Efron & Tibshirani 1993, ch. 13).

    Drawing n images with replacement is drawing a confusion matrix from a multinomial over its
    cells, so all resamples are scored at once.
    """
    classes = len(confusion)
    rng = np.random.default_rng(0)
    cells = rng.multinomial(n, confusion.ravel() / n, size=RESAMPLES)
    drawn = cells.reshape(RESAMPLES, classes, classes)
    right = np.diagonal(drawn, axis1=1, axis2=2)
    true, predicted = drawn.sum(2), drawn.sum(1)
    recall = _ratio(right, true)
    precision = _ratio(right, predicted)
    values = {
        "accuracy": right.sum(1) / n,
        "precision_macro": precision.mean(1),
        "recall_macro": recall.mean(1),
        "f1_macro": _ratio(2 * right, true + predicted).mean(1),
    }
    ends = {name: np.percentile(value, [2.5, 97.5]) for name, value in values.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Part / whole, 0 where whole is 0, as scikit-learn's zero_division=0."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def write_confusion(path: Path, confusion: list[list[int]], names: list[str]) -> None:
    """Draw the confusion matrix: counts written, colour by share of the true class."""
    # Not by pyplot, whose backend is the caller's: a notebook would lose its own.
    from matplotlib.figure import Figure

    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.5 * len(names) + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        if count:
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=150)
