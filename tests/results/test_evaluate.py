"""Numbers a user reads about a model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from dann_search.data.store import open_images, open_labels
from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.results.best import write_best
from dann_search.results.evaluate import evaluate_target, predict_classes, score
from dann_search.results.model import load_model


def test_metrics_equal_scikit_learns_on_every_test_image(experiment: ExperimentFolder) -> None:
    model = load_model(write_best(experiment).folder)
    predicted = predict_classes(model, as_tensor(experiment.data, "target", "test"))
    labels = open_labels(experiment.data, "target", "test")
    result = evaluate_target(experiment.root)
    options = {"average": "macro", "labels": range(10), "zero_division": 0}
    assert result.n == len(labels)
    assert result.accuracy == accuracy_score(labels, predicted)
    assert result.f1_macro == pytest.approx(f1_score(labels, predicted, **options))
    assert result.precision_macro == pytest.approx(precision_score(labels, predicted, **options))
    assert result.recall_macro == pytest.approx(recall_score(labels, predicted, **options))
    expected = confusion_matrix(labels, predicted, labels=range(10))
    assert result.confusion == expected.tolist()
    assert [one.n for one in result.per_class] == np.bincount(labels, minlength=10).tolist()


def test_intervals_equal_an_independent_bootstrap_over_images() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 150)
    predicted = np.where(rng.random(150) < 0.7, labels, rng.integers(0, 4, 150))
    result = score(labels, predicted, list("abcd"), "test")
    drawn = []
    for _ in range(1000):
        rows = rng.integers(0, 150, 150)
        options = {"average": "macro", "labels": range(4), "zero_division": 0}
        drawn.append(f1_score(labels[rows], predicted[rows], **options))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert result.ci95["f1_macro"] == pytest.approx((low, high), abs=0.015)
    for name, (low, high) in result.ci95.items():
        assert low <= getattr(result, name) <= high


def test_a_class_without_images_counts_as_zero_as_scikit_learn_says() -> None:
    labels = np.array([0, 0, 1, 1])
    result = score(labels, labels, ["a", "b", "c"], "test")
    assert result.f1_macro == pytest.approx(2 / 3)
    assert result.ci95["f1_macro"][1] <= 2 / 3 + 1e-9


def test_the_result_and_a_picture_lie_beside_the_model(experiment: ExperimentFolder) -> None:
    evaluate_target(experiment.root)
    with Image.open(experiment.best / "confusion.png") as picture:
        assert min(picture.size) > 400
    assert (experiment.best / "evaluation.json").exists()


def test_the_json_has_every_field_of_the_contract(experiment: ExperimentFolder) -> None:
    content = evaluate_target(experiment.root).to_json()
    assert {
        "split", "n", "accuracy", "precision_macro", "recall_macro", "f1_macro", "ci95",
        "per_class", "confusion",
    } == content.keys()  # fmt: skip
    assert content["per_class"][3].keys() == {"class", "precision", "recall", "f1", "n"}
    assert content["split"] == "test"


def labelled_folder(experiment: ExperimentFolder, root: Path, rename: dict[str, str]) -> Path:
    images = open_images(experiment.data, "target", "val")
    labels = open_labels(experiment.data, "target", "val")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / rename.get(str(label), str(label))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index}.png")
    return root


def test_a_labelled_folder_is_evaluated_by_class_name(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    record = write_best(experiment).record
    data = labelled_folder(experiment, tmp_path / "photos", {})
    result = evaluate_target(experiment.best, data)
    assert result.f1_macro == pytest.approx(record["validation"]["f1_macro_val"])
    assert result.split == str(data)


def test_a_folder_with_other_classes_is_refused(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    data = labelled_folder(experiment, tmp_path / "photos", {"3": "three"})
    with pytest.raises(InputError, match="'three' is none of the model's"):
        evaluate_target(experiment.root, data)


def test_a_model_outside_its_experiment_asks_for_a_folder(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    write_best(experiment, out=tmp_path / "model")
    with pytest.raises(InputError, match="--data FOLDER"):
        evaluate_target(tmp_path / "model")


def test_images_without_a_label_are_refused(experiment: ExperimentFolder, tmp_path: Path) -> None:
    labelled_folder(experiment, tmp_path / "photos" / "test", {})
    (tmp_path / "photos" / "train").mkdir()
    Image.new("RGB", (28, 28)).save(tmp_path / "photos" / "train" / "loose.png")
    with pytest.raises(InputError, match=r"1 images have no label, such as .*loose\.png"):
        evaluate_target(experiment.root, tmp_path / "photos")
