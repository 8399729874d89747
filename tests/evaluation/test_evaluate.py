"""Numbers a user reads about a model."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
)

from dann_search.cli.evaluation_tables import evaluation_table
from dann_search.data.store import open_images, open_labels
from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError
from dann_search.evaluation import evaluate
from dann_search.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability,
    to_probabilities,
)
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.evaluation.evaluation_set import labelled_images
from dann_search.evaluation.scoring import score, score_logits
from dann_search.inference.best import write_best
from dann_search.inference.model import load_model
from dann_search.outputs.models import Evaluation, Scores
from dann_search.report.measured import Absent, read_evaluation
from dann_search.results.intervals import wilson
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import write_domain
from tests.inference.models import write_random_model
from tests.json_output import printed


def test_metrics_equal_scikit_learns_on_every_test_image(experiment: ExperimentFolder) -> None:
    model = load_model(write_best(experiment).folder)
    with torch.no_grad():
        predicted = model(as_tensor(experiment.data, "target", "test")).argmax(1).numpy()
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


def test_intervals_equal_an_independent_bootstrap_within_classes_where_images_are_many() -> None:
    rng = np.random.default_rng(1)
    labels = np.sort(rng.integers(0, 4, 150))
    predicted = np.where(rng.random(150) < 0.7, labels, rng.integers(0, 4, 150))
    result = score(labels, predicted, list("abcd"), "test")
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(own, len(own)) for own in by_class(labels)])
        options = {"average": "macro", "labels": range(4), "zero_division": 0}
        drawn.append(f1_score(labels[rows], predicted[rows], **options))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert result.ci95["f1_macro"] == pytest.approx((low, high), abs=0.015)


def by_class(labels: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


@pytest.mark.parametrize(
    ("classes", "images", "right"), [(65, 2, 0.9), (31, 3, 1.0), (345, 4, 0.6), (40, 1, 0.8)]
)
def test_intervals_hold_their_estimate_with_many_classes_of_few_images(
    classes: int, images: int, right: float
) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), images)
    guess = rng.integers(0, classes, len(labels))
    predicted = np.where(rng.random(len(labels)) < right, labels, guess)
    result = score(labels, predicted, list(map(str, range(classes))), "test")
    for name, (low, high) in result.ci95:
        assert 0 <= low < getattr(result, name) <= high <= 1
        # Wilson's is as wide for as many images, but for what precision and F1 vary more.
        ends = wilson(getattr(result, name), len(labels))
        assert 0.8 * (ends[1] - ends[0]) < high - low < 1.6 * (ends[1] - ends[0])


def test_intervals_cover_the_score_that_such_test_sets_have_on_average() -> None:
    """Percentiles over images drawn from all classes hold it in about half of such test sets."""
    rng = np.random.default_rng(1)
    labels, names = np.repeat(np.arange(40), 3), list(map(str, range(40)))
    easy = rng.beta(6, 2, 40)[labels]

    def test_set() -> Scores:
        guess = rng.integers(0, 40, len(labels))
        return score(labels, np.where(rng.random(len(labels)) < easy, labels, guess), names, "")

    results = [test_set() for _ in range(100)]
    for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro"):
        truth = np.mean([getattr(one, name) for one in results])
        covered = np.mean([one.ci95[name][0] <= truth <= one.ci95[name][1] for one in results])
        assert covered > 0.92, name


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
    content = evaluate_target(experiment.root).model_dump(mode="json")
    printed("evaluate", json.dumps(content))
    assert content["temperature"] == 1 and content["absent_classes"] == []
    assert json.loads((experiment.best / "evaluation.json").read_text()) == content
    assert content["split"] == "test"
    record = json.loads((experiment.best / "model.json").read_text())
    assert content["model"] == str(experiment.best)
    assert (content["trial"], content["epoch"]) == (record["trial"], record["epoch"])


def test_the_table_names_the_model(experiment: ExperimentFolder) -> None:
    result = evaluate_target(experiment.root)
    named = f"trial {result.trial}, epoch {result.epoch}: {experiment.best}"
    assert shown(result).startswith(named)


def shown(result: Evaluation, width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(evaluation_table(result))
    return console.export_text()


def table_of(classes: int) -> list[str]:
    """What people read where class n is right in n of as many images as there are classes, + 1."""
    labels = np.repeat(np.arange(classes), classes + 1)
    place = np.tile(np.arange(classes + 1), classes)
    predicted = np.where(place < labels, labels, 0)
    names = [f"class {number:04}" for number in range(classes)]
    measured = score_logits(labels, 5 * np.eye(classes)[predicted], names, "test")
    result = Evaluation(**dict(measured), model="m", trial=0, epoch=1, rejection=None)
    return shown(result, width=100).splitlines()


def test_of_many_classes_the_worst_come_first_and_how_to_see_all_is_said() -> None:
    lines = table_of(100)
    rows = [line.split("  ")[0] for line in lines if re.match(r"class \d{4}  +[01]\.\d", line)]
    assert rows[0] == "class 0001" and len(rows) == 20
    assert any("the 20 of 100 classes with the lowest F1; all: add --json" in x for x in lines)
    begin = next(i for i, line in enumerate(lines) if line.startswith("most frequent mistakes"))
    assert re.match(r"class 0001 +class 0000 +100 +99%", lines[begin + 1])
    assert len(lines) < 50


def test_few_classes_are_all_shown_in_their_order() -> None:
    lines = table_of(10)
    rows = [line.split("  ")[0] for line in lines if re.match(r"class \d{4}  +[01]\.\d", line)]
    assert rows == [f"class {number:04}" for number in range(10)]
    assert not any("lowest F1" in line or "mistakes" in line for line in lines)


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
    best = write_best(experiment)
    data = labelled_folder(experiment, tmp_path / "photos", {})
    result = evaluate_target(experiment.best, data)
    assert best.validation
    assert result.f1_macro == pytest.approx(best.validation.f1_macro_val)
    assert result.split == str(data)


def test_a_folder_with_other_classes_is_refused(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    data = labelled_folder(experiment, tmp_path / "photos", {"3": "three"})
    with pytest.raises(InputError, match=r"'three' is none of the model's; valid: 0, 1, "):
        evaluate_target(experiment.root, data)


def test_a_class_under_nearly_its_name_is_refused_with_the_right_one(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    data = write_domain(tmp_path / "photos", {"bike": 1, "mugs": 1})
    with pytest.raises(InputError, match="'mugs' is none of the model's; did you mean 'mug'"):
        evaluate_target(model, data)


def test_classes_without_images_are_named_and_count_as_zero(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    data = write_domain(tmp_path / "photos", {"mug": 7})
    result = evaluate_target(model, data)
    assert result.absent_classes == ["bike", "lamp", "desk"]
    predicted = [one.label for one in load_model(model).predict(sorted(data.rglob("*.jpg")))]
    options = {"average": "macro", "labels": ["bike", "mug", "lamp", "desk"], "zero_division": 0}
    assert result.f1_macro == pytest.approx(f1_score(["mug"] * 7, predicted, **options))
    text = shown(result)
    assert (
        "3 of the model's 4 classes have no images here and count as 0" in text
        and "bike, lamp, desk" in text
    )
    # scikit-learn's average over the classes that are there, the only one here.
    options["labels"] = ["mug"]
    assert result.present.classes == 1
    assert result.present.f1_macro == pytest.approx(f1_score(["mug"] * 7, predicted, **options))
    assert "over the 1 class with images: macro-F1" in text


def test_right_predictions_are_right_whichever_classes_are_there() -> None:
    labels = np.array([0, 0, 2, 2, 2])
    result = score(labels, labels, ["bike", "mug", "lamp"], "photos")
    assert result.f1_macro == pytest.approx(2 / 3)
    assert result.present.f1_macro == result.present.recall_macro == 1.0
    low, high = result.present.ci95["f1_macro"]
    assert low < 1.0 and high == 1.0
    both = score(labels[:2], labels[:2], ["bike"], "photos")
    assert both.present.f1_macro == both.f1_macro
    assert both.present.ci95["f1_macro"] == both.ci95["f1_macro"]


def test_calibration_is_fitted_on_val_kept_and_used_from_then_on(
    experiment: ExperimentFolder,
) -> None:
    before = evaluate_target(experiment.root)
    model = load_model(experiment.best)
    result = evaluate_target(experiment.root, calibrated=True)
    with torch.no_grad():
        val, test = (
            model(as_tensor(experiment.data, "target", split)).double().numpy()
            for split in ("val", "test")
        )
    temperature = fit_temperature(val, open_labels(experiment.data, "target", "val"))
    labels = open_labels(experiment.data, "target", "test")
    probabilities = to_probabilities(test, temperature)
    assert result.uncalibrated is not None
    assert result.temperature == pytest.approx(temperature, rel=1e-3)
    assert result.ece == pytest.approx(
        expected_calibration_error(reliability(probabilities, labels)), abs=1e-3
    )
    assert result.nll == pytest.approx(log_loss(labels, probabilities), abs=1e-4)
    one_hot = np.eye(10)[labels]
    brier = ((probabilities - one_hot) ** 2).sum(1).mean()
    assert result.brier == pytest.approx(brier, abs=1e-4)
    for name in ("ece", "nll", "brier"):
        assert getattr(result.uncalibrated, name) == getattr(before, name)
    assert result.confusion == before.confusion
    # Every later use is of the calibrated model.
    assert load_model(experiment.best).temperature == result.temperature
    assert evaluate_target(experiment.root) == result
    image = as_tensor(experiment.data, "target", "test")[:1]
    (prediction,) = load_model(experiment.best).predict(image)
    assert prediction.probability == pytest.approx(probabilities[0].max(), abs=1e-4)


def test_a_temperature_that_validation_cannot_tell_is_said(
    experiment: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "doubt", lambda *_: "all right, which says little")
    with pytest.warns(UserWarning, match="all right, which says little"):
        evaluate_target(experiment.root, calibrated=True)


def test_an_evaluation_from_before_a_calibration_is_not_shown_as_the_models(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    evaluate_target(experiment.root)
    card, trial = experiment.best / "README.md", load_model(experiment.best).record["trial"]
    assert "at temperature 1.00" in card.read_text()
    data = labelled_folder(experiment, tmp_path / "photos", {})
    result = evaluate_target(experiment.root, data, calibrated=True)
    assert result.temperature != 1
    text = card.read_text()
    assert "It was calibrated since it was evaluated on the test split: `dann-search eval" in text
    assert "\n| test |" not in text and "at temperature" not in text and "Weakest" not in text
    with pytest.raises(Absent, match=r"was calibrated since .* run: dann-search evaluate"):
        read_evaluation(experiment, trial)
    evaluate_target(experiment.root)
    text = card.read_text()
    assert f"at temperature {result.temperature:.2f}" in text
    assert "calibrated since" not in text
    assert read_evaluation(experiment, trial).temperature == result.temperature


def test_a_model_outside_its_experiment_is_tested_and_calibrated_on_its_images(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    model = write_best(experiment, out=tmp_path / "model").folder
    outside = evaluate_target(model, calibrated=True)
    inside = evaluate_target(experiment.root, calibrated=True)
    assert outside.model_copy(update={"model": inside.model}) == inside
    assert load_model(model).temperature == outside.temperature != 1
    assert (model / "evaluation.json").exists()


def test_a_model_whose_experiment_is_gone_can_be_used_but_says_what_it_lacks(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    model = write_best(experiment, out=tmp_path / "model").folder
    data = labelled_folder(experiment, tmp_path / "photos", {})
    shutil.rmtree(experiment.root)
    assert evaluate_target(model, data).model == str(model)
    with pytest.raises(InputError, match=f"found at {experiment.root}; name .* --data FOLDER"):
        evaluate_target(model)
    with pytest.raises(InputError, match=f"which calibrates it,.* found at {experiment.root}"):
        evaluate_target(model, data, calibrated=True)


def test_the_images_of_another_experiment_are_not_taken_for_the_models_own(
    experiment: ExperimentFolder,
) -> None:
    folder = write_best(experiment).folder
    record = json.loads((folder / "model.json").read_text())
    record["data"]["hashes"]["target"]["test"] = "of other images"
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="none with its images is to be found"):
        evaluate_target(folder)


def test_a_gpu_that_is_not_there_is_said(experiment: ExperimentFolder) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="--device cuda: torch sees no GPU here"):
        evaluate_target(experiment.root, device="cuda")


def test_images_without_a_label_are_refused_also_beside_class_folders(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    data = write_domain(tmp_path / "photos", {"bike": 1, "mug": 1})
    for name in ("loose.png", "more.png", "._loose.png"):
        Image.new("RGB", (28, 28)).save(data / name)
    refused = r"2 images have no label, such as .*photos/loose\.png.*: dann-search predict"
    with pytest.raises(InputError, match=refused):
        evaluate_target(model, data)
    for name in ("bike", "mug"):
        shutil.rmtree(data / name)
    with pytest.raises(InputError, match=refused):
        evaluate_target(model, data)


def test_splits_are_not_evaluated_together(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    data = tmp_path / "photos"
    for split in ("train", "val", "test"):
        write_domain(data / split, {"bike": 1, "mug": 2})
    with pytest.raises(InputError, match=r"splits \(test, train, val\).*--data .*photos/test$"):
        evaluate_target(model, data)
    assert evaluate_target(model, data / "test").n == 3
    shutil.rmtree(data / "test")
    with pytest.raises(InputError, match=r"splits \(train, val\).*--data .*photos/val$"):
        evaluate_target(model, data)


def test_classes_that_are_called_as_splits_are_classes(tmp_path: Path) -> None:
    data = write_domain(tmp_path / "vehicles", {"train": 2, "test": 1})
    assert len(labelled_images(["bus", "test", "train"], data).labels) == 3


def test_a_manifest_is_evaluated_as_the_folder_of_its_images(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    best = write_best(experiment)
    data = labelled_folder(experiment, tmp_path / "photos", {})
    files = sorted(data.rglob("*.png"))
    rows = [f"{file.relative_to(tmp_path)};{file.parent.name}.0" for file in files]
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\n".join(["path;label", *rows]))
    notes: list[str] = []
    result = evaluate_target(experiment.best, manifest, note=notes.append)
    assert best.validation
    assert result.f1_macro == pytest.approx(best.validation.f1_macro_val)
    assert notes == [f"{manifest}: labels such as 0.0 are read as whole numbers"]
    # Of a manifest with splits, only what is for measuring counts.
    splits = ["train", "test", *["test"] * (len(rows) - 2)]
    lines = [f"{row};{split}" for row, split in zip(rows, splits, strict=True)]
    manifest.write_text("\n".join(["path;label;split", *lines]))
    notes.clear()
    assert evaluate_target(experiment.best, manifest, note=notes.append).n == len(rows) - 1
    assert "skipped 1 row that has no label or another split than test" in notes[-1]
    manifest.write_text(f"path,label\n{files[0].relative_to(tmp_path)},three\n")
    with pytest.raises(InputError, match=r"photos\.csv: the class 'three' is none of the model's"):
        evaluate_target(experiment.best, manifest)


def test_what_a_folder_holds_besides_images_is_noted(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    write_best(experiment)
    data = labelled_folder(experiment, tmp_path / "photos", {})
    (data / "0" / "notes.txt").touch()
    (data / "0" / "back").symlink_to("..")
    notes: list[str] = []
    evaluate_target(experiment.best, data, note=notes.append)
    assert len(notes) == 2 and "1 .txt" in notes[0] and "1 link to a folder" in notes[1]
