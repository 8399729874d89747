"""Whatever classes are called: they are text in every picture, table and page, and end nothing."""

import csv
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dann_search
from dann_search.cli import main
from dann_search.evaluation import tensorboard_best
from dann_search.report.content import gather
from dann_search.report.figures import paper
from dann_search.report.figures.catalog import FIGURES
from dann_search.storage.layout import ExperimentFolder
from tests.browser import needs_browser
from tests.data.images import write_domain
from tests.finished_experiment import search_here
from tests.names import NAMES


@pytest.fixture(scope="module")
def named_once(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """A search over ten classes of ten images; read only."""
    root = tmp_path_factory.mktemp("named")
    folders = [f"class{number}" for number in range(len(NAMES))]
    domains = {}
    for seed, domain in enumerate(("source", "target"), 1):
        place = write_domain(root / domain, dict.fromkeys(folders, 10), seed=seed)
        domains[f"data__{domain}"] = {
            "folder": str(place),
            "classes": dict(zip(folders, NAMES, strict=True)),
        }
    return search_here(root, training__epochs=1, training__batch_size=8, **domains)


@pytest.fixture
def named(named_once: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    """A copy that a test may change."""
    root = tmp_path / "runs" / named_once.root.name
    shutil.copytree(named_once.root, root)
    return ExperimentFolder(root)


def test_a_search_ends_with_its_result_and_its_pictures(
    named: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    # All trials are over: what is left to do is what a launch does at its end.
    dann_search.resume(named.root)
    assert "could not be shown" not in capsys.readouterr().err
    assert named.result.exists() and (named.best / "model.json").exists()
    events = EventAccumulator(str(named.tensorboard / "best"))
    events.Reload()
    assert {f"class/{name}" for name in NAMES} <= set(events.Tags()["tensors"])
    assert "val/confusion" in events.Tags()["images"]
    (file,) = (named.tensorboard / "best").glob("*/features/metadata.tsv")
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    assert {len(row) for row in rows} == {4} and {row[1] for row in rows[1:]} == set(NAMES)


def test_a_picture_that_cannot_be_drawn_costs_a_search_nothing(
    named: ExperimentFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert named.result.exists()  # were this process killed here, nothing would be lost
        raise ValueError("Expected\n  end of text")

    monkeypatch.setattr(tensorboard_best, "write_confusion", fail)
    result = dann_search.resume(named.root)
    assert result.best is not None
    assert json.loads(named.result.read_text())["best"]["trial"] == result.best.trial
    assert "ValueError: Expected end of text" in capsys.readouterr().err


def test_evaluate_and_best_show_names_as_they_are(
    named: ExperimentFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.cli.app.out.width", 150)
    assert main(["best", str(named.root)]) == 0
    assert main(["evaluate", str(named.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = [line.split("  ")[0] for line in lines]
    assert [name for name in first if name in NAMES] == sorted(NAMES)
    assert (named.best / "confusion.png").exists()
    card = (named.best / "README.md").read_text(encoding="utf-8")
    assert ", ".join(sorted(NAMES)) in re.sub(r"\\(.)", r"\1", card)
    # What Markdown would read as a tag, a cell's end, emphasis or a formula has its backslash.
    assert not re.search(r"(?<!\\)(<b>|\$|a\|b| _hidden|\[bold)", card)


def test_a_picture_that_cannot_be_drawn_costs_an_evaluation_nothing(
    named: ExperimentFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["evaluate", str(named.root)]) == 0
    before = (named.best / "evaluation.json").read_text()
    (named.best / "evaluation.json").unlink()

    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("dann_search.evaluation.evaluate.write_confusion", fail)
    capsys.readouterr()
    assert main(["evaluate", str(named.root), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads(before)
    assert "confusion.png could not be drawn: MemoryError: no room" in captured.err
    assert (named.best / "evaluation.json").read_text() == before
    # An earlier picture would be taken for this result's.
    assert not (named.best / "confusion.png").exists()
    assert main(["evaluate", str(named.root)]) == 0
    assert "note: confusion.png could not be drawn" in capsys.readouterr().out


@needs_browser
def test_figures_write_names_as_they_are_and_leave_none_out(
    named: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "KINDS", ("svg",))
    content = gather(named, lambda line: None)
    names = ("confusion", "features_by_class")
    drawn = paper.export({name: FIGURES[name](content) for name in names})
    assert len(drawn) == 2
    for picture in drawn.values():
        texts = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
        assert set(NAMES) <= {text.text for text in texts}


def test_predictions_hold_labels_as_they_are(named: ExperimentFolder, tmp_path: Path) -> None:
    photos = write_domain(tmp_path / "photos", {"any": 3})
    out = tmp_path / "labels.csv"
    words = ["predict", str(named.root), str(photos), "--top", str(len(NAMES)), "--out", str(out)]
    assert main(words) == 0
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [f"label{end}" for end in ("", *(f"_{n}" for n in range(2, len(NAMES) + 1)))]
    assert [{row[one] for one in labels} for row in rows] == [set(NAMES)] * 3
