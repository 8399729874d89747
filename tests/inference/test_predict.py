"""Labels of files: what is found, what is written, what cannot be read."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dann_search import load_model, predict_files
from dann_search.cli import main
from dann_search.data.store import open_images
from dann_search.errors import InputError
from dann_search.inference import gallery, prediction_output
from dann_search.inference.batched_logits import decoded_batches, find_device
from dann_search.inference.gallery import ContactSheet, data_uri
from dann_search.inference.image_files import check_words, image_files
from dann_search.outputs.models import FilePrediction
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import noise
from tests.inference.models import write_random_model
from tests.json_output import failed, printed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("random") / "model", "dann_cnn", side=16)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images, one below another folder; a torn one; a text."""
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    noise(1).save(root / "a.jpg")
    noise(2).save(root / "deep" / "b.PNG")
    noise(3).save(root / ".hidden" / "c.png")
    (root / "deep" / "torn.jpg").write_bytes((root / "a.jpg").read_bytes()[:200])
    (root / "notes.txt").touch()
    return root


def test_predictions_are_the_models_own_and_in_the_order_of_the_files(
    model: Path, photos: Path
) -> None:
    files = [photos / "deep" / "b.PNG", photos / "a.jpg"]
    found = list(predict_files(model, files, top=4, batch_size=1))
    for one, expected in zip(found, load_model(model).predict(files), strict=True):
        found_here = {label.label: label.probability for label in one.top}
        assert one.label == one.top[0].label == expected.label
        assert found_here == pytest.approx(expected.probabilities)
        assert list(found_here.values()) == sorted(found_here.values(), reverse=True)


def test_csv_has_a_row_a_file_and_the_error_of_a_torn_one(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(photos), "--top", "2"]) == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    assert list(rows[0]) == [
        "path", "label", "probability", "label_2", "probability_2", "error",
    ]  # fmt: skip
    assert [Path(row["path"]).name for row in rows] == ["a.jpg", "b.PNG", "torn.jpg"]
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert rows[2]["label"] == rows[2]["probability_2"] == ""
    lines = captured.err.splitlines()
    assert lines[-2].startswith(f"cannot be read: {photos / 'deep' / 'torn.jpg'}: ")
    assert lines[-1].startswith("2 images classified in") and lines[-1].endswith("1 cannot be read")


def test_json_lines_go_to_a_file_that_is_not_overwritten_unasked(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.jsonl"
    words = ["predict", str(model), str(photos / "*.jpg"), "--out", str(out), "--json"]
    assert main(words) == 0
    summary = printed("predict", capsys.readouterr().out)
    assert summary["predictions"] is None
    assert (summary["images"], summary["unreadable"], summary["out"]) == (1, 0, str(out))
    (line,) = out.read_text().splitlines()
    content = json.loads(line)
    FilePrediction.model_validate_json(line)
    assert content["top"] == [{"label": content["label"], "probability": content["probability"]}]
    assert main(words) == 2
    assert "--force" in failed("predict", capsys.readouterr().out)
    assert main([*words, "--force"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "labels.jsonl"}


def test_with_json_and_no_file_the_predictions_are_in_the_one_object(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(photos), "--json"]) == 0
    content = printed("predict", capsys.readouterr().out)
    assert (content["images"], content["unreadable"], content["out"]) == (3, 1, None)
    assert [one["error"] is None for one in content["predictions"]] == [True, True, False]


def test_only_where_nothing_can_be_read_it_is_a_failure(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.csv"
    torn = photos / "deep" / "torn.jpg"
    assert main(["predict", str(model), str(torn), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert f"cannot read {torn}: " in said
    assert not out.exists()
    other = torn.with_name("other.jpg")
    other.write_bytes(torn.read_bytes())
    assert main(["predict", str(model), str(torn), str(other), "--out", str(out)]) == 1
    assert "cannot read any of the 2 files; the first is " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["*.gif"], "the pattern matches no image"),
        (["."], "no image in it"),
        (["a.jpg", "--top", "5"], "the model knows 4 classes"),
        (["a.jpg", "--out", "x.txt"], "the suffix names no format"),
        (["a.jpg", "--format", "xml"], "expected csv, json, jsonl, parquet"),
        (["a.jpg", "--out", "no/x.csv"], "there is no folder no"),
        (["a.jpg", "--device", "gpu"], "expected cpu, cuda or auto"),
    ],
)
def test_bad_input_is_refused_before_a_line_is_written(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "a.jpg":
        noise(1).save("a.jpg")
    assert main(["predict", str(model), *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""


def test_files_come_from_words_of_every_kind(photos: Path) -> None:
    def names(*words: str) -> list[str]:
        return [path.name for path in image_files([str(photos / word) for word in words])]

    assert names(".") == ["a.jpg", "b.PNG", "torn.jpg"]
    assert names("**/*.jpg") == ["a.jpg", "torn.jpg"]
    assert names("notes.txt", "a.jpg") == ["notes.txt", "a.jpg"]  # named: tried, whatever it is
    odd = photos / "x[1].png"
    noise(4).save(odd)
    assert list(image_files([odd])) == [odd]
    with pytest.raises(InputError, match="no images named"):
        check_words([])


def test_no_more_than_two_batches_are_ever_decoded_ahead() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            asked.append(number)
            yield number

    image = np.zeros((3, 2, 2), np.uint8)
    batches = decoded_batches(items(), lambda item: image, 5)
    assert len(next(batches)) == 5
    assert len(asked) == 10
    next(batches)
    assert len(asked) == 15


def test_what_is_left_out_and_images_without_content_are_noted(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "deep" / "round").symlink_to(photos)
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(photos / "black.png")
    assert main(["predict", str(model), str(photos)]) == 0
    said = capsys.readouterr().err
    assert "note: skipped 1 file of an unsupported type (1 .txt)" in said
    assert "note: skipped 1 link to a folder that was already read" in said
    assert f"1 image is black or white throughout as the model sees them, such as {photos}" in said


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_every_kind_of_file_holds_the_same_labels(
    model: Path, photos: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_output, "ROW_GROUP", 2)
    out = tmp_path / f"labels.{kind}"
    words = ["predict", str(model), str(photos), "--top", "2", "--threshold", "1"]
    assert main([*words, "--output", str(out)]) == 0
    expected = list(predict_files(model, photos, top=2))
    if kind in ("csv", "parquet"):
        table = pd.read_csv(out) if kind == "csv" else pd.read_parquet(out)
        assert list(table) == [
            "path", "label", "probability", "label_2", "probability_2", "error", "refused",
        ]  # fmt: skip
        assert list(table.refused) == [True, True, False]
        read = [[None if pd.isna(cell) else cell for cell in row] for row in table.values.tolist()]
        found = [(row[0], row[1], row[3], row[4], bool(row[5])) for row in read]
    else:
        text = out.read_text(encoding="utf-8")
        lines = json.loads(text) if kind == "json" else list(map(json.loads, text.splitlines()))
        assert [line["refused"] for line in lines] == [True, True, False]
        tops = [line["top"] for line in lines]
        seconds = [
            (top[1]["label"], top[1]["probability"]) if top else (None, None) for top in tops
        ]
        found = [
            (line["path"], line["label"], *second, bool(line["error"]))
            for line, second in zip(lines, seconds, strict=True)
        ]
    for one, (path, label, second, probability, failed_) in zip(expected, found, strict=True):
        other = one.top[1] if one.top else None
        assert (path, label, failed_) == (one.path, one.label, one.error is not None)
        assert second == (other and other.label)
        assert probability == (other and pytest.approx(other.probability, rel=1e-5))


def test_json_on_standard_output_is_one_array(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(photos), "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [one["error"] is None for one in content] == [True, True, False]


def test_a_threshold_refuses_what_is_below_it_and_says_how_many_to_expect(
    experiment: ExperimentFolder, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(experiment.root), str(photos), "--json"]
    assert main(words) == 0
    content = printed("predict", capsys.readouterr().out)
    assert content["refusal"] is None
    assert not any(one["refused"] for one in content["predictions"])
    highest = max(one["probability"] or 0 for one in content["predictions"])
    assert main([*words, "--threshold", str(highest)]) == 0
    captured = capsys.readouterr()
    content = printed("predict", captured.out)
    assert [one["refused"] for one in content["predictions"]].count(True) == 1
    found = load_model(experiment.best)
    stored = torch.from_numpy(open_images(experiment.data, "target", "val").copy())
    with torch.no_grad():
        sure = found.probabilities(stored).max(1).values
    assert content["refusal"]["expected_share"] == pytest.approx(
        float((sure < highest).double().mean()), abs=0.01
    )
    assert (content["refusal"]["refused"], content["refusal"]["share"]) == (1, 0.5)
    assert "1 refused (50.0%), below" in captured.err


def test_a_sheet_shows_the_images_by_class_with_the_refused_first(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(5).save(photos / "<b>$x$.png")
    sheet = tmp_path / "sheet.html"
    words = ["predict", str(model), str(photos), "--out", str(tmp_path / "l.csv"), "--json"]
    assert main([*words, "--sheet", str(sheet), "--threshold", "0.9999"]) == 0
    assert printed("predict", capsys.readouterr().out)["sheet"] == str(sheet)
    page = sheet.read_text(encoding="utf-8")
    assert page.count("<figure>") == 3 and "Refused: below 0.9999 (3)" in page
    assert "<b>$x$" not in page and "&lt;b&gt;$x$.png" in page
    for picture in (photos / "a.jpg", photos / "<b>$x$.png"):
        assert data_uri(load_model(model).read(picture)) in page
    assert main([*words, "--sheet", str(sheet), "--force"]) == 0
    page = sheet.read_text(encoding="utf-8")
    assert "Refused" not in page
    assert re.search(r"<h2>\w+ \(\d\)</h2>", page)
    assert main([*words, "--sheet", str(sheet)]) == 2


def test_of_many_images_a_sheet_keeps_some_drawn_over_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST", 20)
    sheet, image = ContactSheet(1_000, None), np.zeros((3, 8, 8), np.uint8)
    for number in range(1_000):
        sheet.add(
            FilePrediction(
                path=f"{number}.png", label="mug", probability=0.5, top=[], refused=False,
                error=None,
            ),
            image,
        )  # fmt: skip
    sheet.write(tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    shown = [int(number) for number in re.findall(r"<span>(\d+)\.png", page)]
    assert len(shown) == 20 and min(shown) < 300 and max(shown) > 700
    assert "20 of 1,000 images, drawn at random" in page


def test_one_path_is_taken_for_one(model: Path, photos: Path) -> None:
    expected = list(predict_files(model, [photos / "a.jpg"]))
    assert list(predict_files(model, str(photos / "a.jpg"))) == expected
    assert list(predict_files(model, photos / "a.jpg")) == expected


@pytest.mark.parametrize(
    ("name", "there", "device"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cuda", True, "cuda"),
        ("cpu", True, "cpu"),
    ],
)
def test_a_gpu_is_used_where_it_is_there_and_not_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, there: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert find_device(name) == torch.device(device)
