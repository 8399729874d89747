"""Files that version 0.1.0 wrote are still read, and nothing of them is lost."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dann_search.report.measured import Absent, read_comparison, read_evaluation
from dann_search.storage.layout import ExperimentFolder

WRITTEN = Path(__file__).parent / "written_by_0_1_0"


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path)
    for place, name in ((folder.best, "evaluation.json"), (folder.compare, "comparison.json")):
        place.mkdir()
        shutil.copy(WRITTEN / name, place)
    (folder.best / "model.json").write_text('{"trial": 12, "temperature": 1.5}')
    return folder


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_an_evaluation_is_read(folder: ExperimentFolder) -> None:
    evaluation = read_evaluation(folder, 12)
    written = content_of(folder.best / "evaluation.json")
    present = evaluation.present
    assert evaluation.model_dump(mode="json") == written | {
        "present": present.model_dump(mode="json"),
        "rejection": None,  # its model has no such rule
    }
    # Of four classes three have images.
    assert present.classes == 3
    assert present.f1_macro == pytest.approx(4 / 3 * evaluation.f1_macro)
    assert evaluation.ci95["f1_macro"] == evaluation.ci95.f1_macro
    assert [one.name for one in evaluation.per_class] == ["R&D_50%", "a|b", "größe", "absent"]


def test_a_comparison_is_read(folder: ExperimentFolder) -> None:
    comparison = read_comparison(folder, 12)
    written = content_of(folder.compare / "comparison.json")
    written["n_test_contents"] = written["n_test"]
    written["fairness"]["few_labels"] = []
    for method in written["methods"].values():
        method |= {"part": None, "tuned": None}
    assert comparison.model_dump(mode="json", exclude_unset=True) == written
    lead = comparison.methods["source_only"].lead
    assert lead is not None and comparison.methods["dann"].lead is None
    assert str(comparison.methods["dann"].f1_macro_test) == "0.805 ± 0.035"


def test_fields_that_a_later_version_adds_are_ignored(folder: ExperimentFolder) -> None:
    path = folder.compare / "comparison.json"
    content = content_of(path)
    content["methods"]["dann"]["added"] = 1
    path.write_text(json.dumps(content | {"added": {}}))
    assert read_comparison(folder, 12).trial == 12


def test_a_file_that_lacks_a_field_names_it_and_the_command(folder: ExperimentFolder) -> None:
    path = folder.best / "evaluation.json"
    content = content_of(path)
    del content["reliability"]
    path.write_text(json.dumps(content))
    with pytest.raises(Absent, match=r"reliability: Field required; run: dann-search evaluate"):
        read_evaluation(folder, 12)
