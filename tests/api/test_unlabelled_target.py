"""A search whose target has no labels, from its file to its report; in this process, no Ray."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dann_search.api.launching import _header
from dann_search.cli import main
from dann_search.data.store import labels_if_any
from dann_search.data.target_has_labels import why_label_free
from dann_search.errors import InputError, RunError
from dann_search.evaluation.compare import compare
from dann_search.evaluation.tensorboard_best import write_best_run
from dann_search.inference.best import write_best
from dann_search.inference.refit import write_refit
from dann_search.results.reader import read_experiment
from dann_search.storage.layout import STORAGE_VARIABLE, ExperimentFolder
from dann_search.study.record import recorded_store
from dann_search.training.loop import train
from tests.experiments import run_search, tiny_space_file, write_tiny_images
from tests.in_process import InProcessExecutor
from tests.json_output import failed, printed
from tests.train_here import train_here

CLASSES = ["class-0", "class-1", "class-2"]


def write_files(root: Path, **changes: Any) -> Path:
    """An experiment file, its source, and its target: a flat folder smaller than a batch."""
    write_tiny_images(root / "images", each=5)
    for file in sorted((root / "images" / "target").glob("*/*.png")):
        (root / "shots").mkdir(exist_ok=True)
        # Odd names, and none that tells the class.
        shutil.copy(file, root / "shots" / f"[{file.stem}] ß{len(list(root.glob('shots/*')))}.png")
    changes = {"data__target": {"folder": str(root / "shots")}, "training__epochs": 2} | changes
    return tiny_space_file(root, root / "images", search__trials=2, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """Two trials of two epochs; read only."""
    root = tmp_path_factory.mktemp("unlabelled")
    path = write_files(root, search__objective="bnm")
    return run_search(path, executor=InProcessExecutor())[0].folder


@pytest.fixture
def folder(
    finished: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ExperimentFolder:
    """A copy that a test may change."""
    root = tmp_path / "runs" / "tiny"
    shutil.copytree(finished.root, root)
    monkeypatch.setenv(STORAGE_VARIABLE, str(root.parent))
    return ExperimentFolder(root)


def test_nothing_of_it_is_measured_and_nothing_of_it_is_nan(folder: ExperimentFolder) -> None:
    for trial in folder.trials.iterdir():
        history = json.loads((trial / "trial.json").read_text(), parse_constant=pytest.fail)
        for epoch in history["history"]:
            measured = {name: value for name, value in epoch.items() if name.endswith("_val")}
            assert len(measured) == 4 and set(measured.values()) == {None}
            assert epoch["validators"]["bnm"] > 0
    for split in ("train", "val", "test"):
        assert labels_if_any(folder.data, "target", split) is None
    info = recorded_store(folder)
    assert not info.target_labelled and info.class_names == CLASSES
    why = why_label_free(read_experiment(folder))
    header = _header(info, "bnm", "2 slots", [why])
    assert "the target has no labels: bnm chooses the model" in header and why in header


def test_tensorboard_has_the_objective_where_f1_would_be(folder: ExperimentFolder) -> None:
    write_best_run(folder)
    for run in folder.tensorboard.iterdir():
        events = EventAccumulator(str(run))
        events.Reload()
        tags = [tag for kind in ("scalars", "images", "tensors") for tag in events.Tags()[kind]]
        assert not [tag for tag in tags if "f1" in tag or "confusion" in tag or "class/" in tag]
        if run.name.startswith("trial-"):
            assert {"best/bnm", "validators/bnm", "train/label_loss"} <= set(tags)
            assert not [tag for tag in tags if tag.startswith("val/")]
    (file,) = (folder.tensorboard / "best").glob("*/features/metadata.tsv")
    rows = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    assert {row[1] for row in rows if row[0] == "target: shots"} == {""}
    assert {row[1] for row in rows if row[0].startswith("source")} == set(CLASSES)


def as_json(words: str, capfd: pytest.CaptureFixture[str], code: int = 0) -> Any:
    """What a command prints with --json; the message of one that is refused."""
    assert main([*words.split(), "--json"]) == code
    out, command = capfd.readouterr().out, words.split()[0]
    return failed(command, out) if code else printed(command, out)


def as_text(words: str, capfd: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What people read of a command, without line breaks."""
    assert main(words.split()) == code
    told = capfd.readouterr()
    return " ".join((told.out + told.err).split())


def test_what_the_commands_say(folder: ExperimentFolder, capfd: pytest.CaptureFixture[str]) -> None:
    trials = as_json("leaderboard tiny", capfd)["trials"]
    assert [one["f1_macro_val"] for one in trials] == [None, None]
    assert all(one["score"] == one["validators"]["bnm"] for one in trials)
    text = as_text("leaderboard tiny", capfd)
    assert "bnm" in text and "F1" not in text
    status = as_json("status tiny", capfd)
    assert status["best"]["f1_macro_val"] is None and status["objective"] == "bnm"
    for words in ("status tiny", "status"):
        assert f"bnm {status['best']['score']:.3f}" in as_text(words, capfd)
    best = as_json("best tiny", capfd)
    assert best["validation"] is None and best["validation_ci95"] == {}
    assert best["chosen_by"] == {"objective": "bnm", "value": status["best"]["score"]}
    text = as_text("best tiny", capfd)
    assert "bnm (target val)" in text and "f1" not in text
    card = (folder.best / "README.md").read_text()
    assert "the target has no labels, so nothing was measured on it" in card
    assert "| shots (target) | val | 3 | none |" in card
    error = as_json("best tiny --objective f1_macro", capfd, code=2)
    assert "no completed trial has a value of f1_macro" in error


def test_it_is_measured_once_there_are_labels(
    folder: ExperimentFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_best(folder)
    text = as_text("evaluate tiny", capfd, code=2)
    assert "the target shots has no labels, so the model cannot be measured" in text
    assert "dann-search evaluate tiny --data FOLDER" in text
    held_out = (folder.data / "target.test.txt").read_text().splitlines()
    assert len(held_out) == 3 and all(Path(place).is_file() for place in held_out)
    assert "best those in" in text and "target.test.txt" in text
    text = as_text("evaluate tiny --calibrated", capfd, code=2)
    assert "calibrated on its validation split" in text
    labelled = write_tiny_images(tmp_path / "images", each=5) / "target"
    result = as_json(f"evaluate tiny --data {labelled}", capfd)
    assert [one["class"] for one in result["per_class"]] == CLASSES and result["n"] == 15
    predictions = as_json(f"predict tiny {labelled / 'class-0'}", capfd)["predictions"]
    assert {one["label"] for one in predictions} <= set(CLASSES)
    exported = as_json("export tiny --format safetensors", capfd)
    assert exported["verification"]["images"] > 0


def test_a_comparison_is_refused_before_anything_is_trained(folder: ExperimentFolder) -> None:
    with pytest.raises(InputError, match=r"shots has no labels, and compare needs those"):
        compare(folder, lambda jobs, experiment: pytest.fail("trained"))
    assert not folder.compare.exists()


def test_a_refit_is_trained_on_all_but_the_test_split(folder: ExperimentFolder) -> None:
    model = write_refit(folder, train_here)
    assert model.refit and model.refit.validation_of_images_seen is None
    assert model.validation is None


def test_the_report_shows_what_there_is(
    folder: ExperimentFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    report = as_json("report tiny", capfd)
    assert report["f1_macro_val"] is report["ci95_val"] is report["test"] is report["ece"] is None
    assert any("The target shots has no labels" in note for note in report["notes"])
    assert "macro-F1" not in as_text("report tiny --force", capfd)
    page = (folder.root / "report" / "index.html").read_text()
    assert "bnm on target val" in page and "The target has no labels: which classes" in page
    assert "Most uncertain images" in page and "Most confident mistakes" not in page
    assert "macro-F1 on target val" not in page and ">nan<" not in page and ">None<" not in page


def test_a_training_by_f1_is_refused(folder: ExperimentFolder, tmp_path: Path) -> None:
    from dann_search.data.training_data import open_training_data

    config = read_experiment(folder).fixed
    with pytest.raises(RunError, match="the target has no labels, and f1_macro needs them"):
        next(train(config, open_training_data(folder.data), tmp_path))


def test_an_objective_that_needs_labels_is_refused_with_its_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_files(tmp_path, search__objective="f1_macro")
    for words in ("launch", "space", "doctor --space"):
        assert main([*words.split(), str(path)]) == 2
        error = " ".join(capfd.readouterr().err.split())
        assert f"{path}:" in error and "search.objective: f1_macro needs target labels" in error
    assert not (tmp_path / "runs").exists()


def test_space_and_doctor_say_that_the_target_has_no_labels(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_files(tmp_path)
    space = as_json(f"space {path}", capfd)
    assert space["objective"] == "bnm" and space["target_labelled"] is False
    text = as_text(f"space {path}", capfd)
    assert "the target has no labels: bnm chooses trials and epochs" in text
    main(["doctor", "--space", str(path)])
    text = " ".join(capfd.readouterr().out.split())
    assert "labels of the target: it has none, so bnm, which needs none, chooses the model" in text


def test_a_resumed_search_keeps_its_objective(
    folder: ExperimentFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(folder), "--set", "search.objective=f1_macro"]) == 2
    assert "search.objective: f1_macro needs target labels" in capfd.readouterr().err
    assert main(["resume", str(folder), "--json"]) == 0  # nothing is left to search
    assert printed("resume", capfd.readouterr().out)["best"]["f1_macro_val"] is None
