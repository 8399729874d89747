"""Studies of small experiments: tests take and end their trials, and nothing is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.load import load_experiment
from dann_search.config.space import Space, build_space
from dann_search.config.start_points import KnownTrial
from dann_search.models.registry import stage_counts
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.proposals import Assignment
from dann_search.study.study import StudyRecord
from tests.experiments import space_file


def space_of(space: dict[str, Any], **training: Any) -> Space:
    """The space of digits that a file's ``space`` and ``training`` describe."""
    data = {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}}
    content = {"name": "x", "data": data, "space": space, "training": training}
    return build_space(ExperimentConfig.model_validate(content), stage_counts())


def open_record(
    tmp_path: Path,
    known: Sequence[KnownTrial] = (),
    allow_wider: bool = False,
    identity: str | None = None,
    **changes: Any,
) -> StudyRecord:
    """The study of a small experiment, whose record is written but whose data are not packed.

    It is a journal unless ``search__study`` names another kind: a new file of SQLite takes longer
    than all that most tests do with it.
    """
    changes.setdefault("search__study", "journal")
    experiment, space = load_experiment(space_file(tmp_path, **changes), stage_counts())
    folder = ExperimentFolder.at(experiment.place)
    folder.root.mkdir(parents=True, exist_ok=True)
    record = {"experiment": experiment.model_dump(mode="json"), "versions": {}, "data": {}}
    folder.record.write_text(yaml.safe_dump({**record, **({"id": identity} if identity else {})}))
    return StudyRecord(experiment, space, folder, known, allow_wider)


def take(record: StudyRecord) -> Assignment:
    """The next trial, which there must be."""
    assignment = record.next_trial()
    assert assignment is not None
    return assignment


def finish(record: StudyRecord, score: float = 0.5, taken: Assignment | None = None) -> Assignment:
    """Complete a trial, by default the next one, after one epoch with this score."""
    taken = taken or take(record)
    record.report(taken.number, [score])
    record.complete(taken.number)
    return taken


def finish_all(record: StudyRecord, score: float = 0.5) -> list[Assignment]:
    """Complete one trial after another until the search proposes no more."""
    taken = []
    while assignment := record.next_trial():
        taken.append(finish(record, score, assignment))
    return taken


def folder_of(tmp_path: Path) -> ExperimentFolder:
    """The experiment that ``open_record`` laid out in a folder."""
    return ExperimentFolder(tmp_path / "runs" / "small")
