"""The page and the table of images that are predicted wrongly."""

import csv
from pathlib import Path

import numpy as np
import pytest

from dann_search.cli import main
from dann_search.data.store import open_images, open_labels
from dann_search.errors import InputError
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.evaluation.evaluation_set import EvaluationSet
from dann_search.evaluation.mistakes import PAGE, PICTURED, TABLE, write_mistakes
from dann_search.inference.gallery import data_uri
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import write_domain
from tests.inference.models import write_random_model

NAMES = ("mug", "=1+1", "<b>lamp</b>")


def evaluation_set(labels: list[int]) -> EvaluationSet:
    count = len(labels)
    images = np.zeros((count, 3, 8, 8), np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 256
    places = [f"<img src=x>/{number}.png" for number in range(count)]
    return EvaluationSet("test", np.array(labels), iter(()), None, places, images.__getitem__)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / TABLE, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_wrong_predictions_come_first_where_they_are_most_confident(tmp_path: Path) -> None:
    chances = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.9, 0.1, 0.0], [0.1, 0.1, 0.8]])
    images = evaluation_set([1, 1, 1, 0])
    remark = write_mistakes(tmp_path, images, chances, ("a", "b", "c"))
    found = [(row["image"][-5:], row["true"], row["predicted"]) for row in rows(tmp_path)]
    assert found == [("2.png", "b", "a"), ("3.png", "a", "c"), ("0.png", "b", "a")]
    assert [row["confidence"] for row in rows(tmp_path)] == ["0.9", "0.8", "0.6"]
    assert [row["probability_of_true"] for row in rows(tmp_path)] == ["0.1", "0.1", "0.3"]
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    shown = [page.index(data_uri(images.read(number))) for number in (2, 3, 0)]
    assert shown == sorted(shown)
    assert data_uri(images.read(1)) not in page
    assert "b → a" in page and "90.0%" in page
    assert remark.startswith("3 of 4 images are predicted wrongly")


def test_names_are_neither_markup_nor_formulas(tmp_path: Path) -> None:
    chances = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    write_mistakes(tmp_path, evaluation_set([0, 2, 1]), chances, NAMES)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "<b>lamp" not in page and "<img src=x" not in page
    assert "&lt;b&gt;lamp&lt;/b&gt; → mug" in page
    assert {row["predicted"] for row in rows(tmp_path)} == {"mug", "'=1+1"}
    assert "default-src 'none'" in page


def test_of_many_mistakes_the_page_shows_some_and_the_table_all(tmp_path: Path) -> None:
    count, classes = 3 * PICTURED, 345
    chances = np.zeros((count, classes))
    chances[:, 1] = 1
    names = [f"class {number}" for number in range(classes)]
    write_mistakes(tmp_path, evaluation_set([0] * count), chances, names)
    assert (tmp_path / PAGE).read_text(encoding="utf-8").count("<figure>") == PICTURED
    assert len(rows(tmp_path)) == count


def test_an_evaluation_writes_what_its_confusion_matrix_counts(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "wrong"
    result = evaluate_target(experiment.root, errors=folder, note=lambda _: None)
    off_diagonal = np.array(result.confusion).sum() - np.trace(result.confusion)
    found = rows(folder)
    assert len(found) == off_diagonal > 0
    labels = open_labels(experiment.data, "target", "test")
    for row in found:
        number = int(row["image"].removeprefix("test image "))
        assert row["true"] == str(labels[number]) != row["predicted"]
    first = int(found[0]["image"].removeprefix("test image "))
    image = open_images(experiment.data, "target", "test")[first]
    assert data_uri(image) in (folder / PAGE).read_text(encoding="utf-8")


def test_files_are_named_where_they_were_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    data = write_domain(tmp_path / "photos", {"bike": 3, "mug": 3})
    words = ["evaluate", str(model), "--data", str(data), "--errors", str(tmp_path / "wrong")]
    assert main(words) == 0
    assert "of 6 images are predicted wrongly" in " ".join(capsys.readouterr().out.split())
    assert all(Path(row["image"]).is_file() for row in rows(tmp_path / "wrong"))


def test_a_folder_that_cannot_be_made_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    data = write_domain(tmp_path / "photos", {"bike": 1, "mug": 1})
    with pytest.raises(InputError, match=r"--errors .*file"):
        evaluate_target(model, data, errors=tmp_path / "file")
