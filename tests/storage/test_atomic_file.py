"""What a crash or a power cut may leave of a file: all of the old content, or all of the new."""

import os
from pathlib import Path

import pytest

from dann_search.cli import main
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.results.epochs import read_epochs
from dann_search.search.launch import prepare
from dann_search.storage.atomic_file import write_atomically
from dann_search.study.study import StudyRecord
from dann_search.tracking.trial_files import TrialFiles
from tests.experiments import tiny_space_file


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In their order, what is synced and what is renamed to what: names of files and folders."""
    told: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        told.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        told.append(f"rename {Path(source).name} {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return told


def test_a_crash_while_writing_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "file", b"old")

    def crash(*_: object) -> None:
        raise OSError("no space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
            patch.setattr(os, step, crash)
            write_atomically(tmp_path / "file", b"new content")
        assert (tmp_path / "file").read_bytes() == b"old"
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def steps(name: str, folder: str) -> list[str]:
    """How a file is written so that a power cut takes neither its content nor its name."""
    temporary = f".{name}.{os.getpid()}"
    return [f"sync {temporary}", f"rename {temporary} {name}", f"sync {folder}"]


def test_content_is_on_disk_before_its_name_and_the_name_before_anything_else(
    tmp_path: Path, on_disk: list[str]
) -> None:
    write_atomically(tmp_path / "file", b"content")
    assert on_disk == steps("file", tmp_path.name)


def test_record_study_and_trial_outlive_a_power_cut(
    tmp_path: Path, tiny_images: Path, on_disk: list[str]
) -> None:
    experiment, space = load_experiment(tiny_space_file(tmp_path, tiny_images), stage_counts())
    folder = prepare(experiment, space)
    assert on_disk[-3:] == steps("experiment.yaml", "tiny")
    assert steps("store.json", "data") == on_disk[-6:-3]
    on_disk.clear()
    StudyRecord(experiment, space, folder).close()
    assert on_disk == [f"rename .study.db-{os.getpid()} study.db", "sync tiny"]
    on_disk.clear()
    files = TrialFiles(folder)
    files.trial_started(3, TrialConfig(), ())
    files.epochs_done(3, [{"epoch": 1}], 0)
    files.trial_ending(3, "completed", None)
    assert on_disk == steps("trial.json", "3")


def test_what_older_versions_left_in_pieces_is_said_or_done_without(
    tmp_path: Path, tiny_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, space = load_experiment(tiny_space_file(tmp_path, tiny_images), stage_counts())
    folder = prepare(experiment, space)
    record = StudyRecord(experiment, space, folder)
    trial = record.next_trial()
    assert trial
    record.report(trial.number, [0.5])
    record.complete(trial.number)
    record.close()
    folder.trial_record(trial.number).parent.mkdir(parents=True)
    whole = folder.record.read_bytes()
    for content in (b"", b"\0" * 300, b'{"trial": 0, "hist', b"null", b"\xff"):
        folder.record.write_bytes(whole)
        folder.trial_record(trial.number).write_bytes(content)
        assert read_epochs(folder, trial.number) == []
        assert main(["leaderboard", str(folder.root)]) == 0
        assert "0.500" in capsys.readouterr().out
        folder.record.write_bytes(content)
        for command in ("leaderboard", "status", "resume"):
            assert main([command, str(folder.root)]) == 2
            assert "experiment.yaml: " in capsys.readouterr().err
