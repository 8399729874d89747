"""Commands that need no Ray, on one finished experiment: what they print is what is documented."""

import shutil
from pathlib import Path

import pytest

from dann_search.cli import main
from dann_search.storage.layout import STORAGE_VARIABLE, ExperimentFolder
from tests.data.images import noise
from tests.experiments import space_file
from tests.json_output import failed, printed

COMMANDS = (
    "status EXPERIMENT",
    "status",
    "status FOLDER/runs",
    "watch EXPERIMENT",
    "leaderboard EXPERIMENT",
    "leaderboard EXPERIMENT --top 1",
    "best EXPERIMENT",
    "best EXPERIMENT --objective info_max --out FOLDER/other",
    "evaluate EXPERIMENT",
    "evaluate EXPERIMENT --calibrated",
    "predict EXPERIMENT FOLDER/photos --top 3",
    "predict EXPERIMENT FOLDER/photos --out FOLDER/labels.csv",
    "export EXPERIMENT --format safetensors",
    "gc EXPERIMENT --dry-run",
    "resume EXPERIMENT",  # nothing is left to search
    "init FOLDER/new.yaml",
    "space FOLDER/space.yaml",
    "space --list",
    "schema",
    "schema evaluate",
)


@pytest.fixture(scope="module")
def finished(searched: ExperimentFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the experiment, its file, and photographs of which one is torn."""
    root = tmp_path_factory.mktemp("finished")
    shutil.copytree(searched.root, root / "runs" / searched.root.name)
    (root / "photos").mkdir()
    noise(1).save(root / "photos" / "a.png")
    (root / "photos" / "torn.png").write_bytes(b"torn")
    space_file(root, space__rotation_degrees={"uniform": [0, 30], "step": 10})
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_what_its_schema_says(
    command: str, finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, str(finished / "runs"))
    words = command.replace("EXPERIMENT", "small").replace("FOLDER", str(finished)).split()
    assert main([*words, "--json"]) == 0
    printed(words[0], capfd.readouterr().out)


def test_a_refused_command_prints_a_failure(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, str(finished / "runs"))
    assert main(["best", "small", "--rank", "9", "--json"]) == 2
    assert "rank 9 of 3" in failed("best", capsys.readouterr().out)


def test_the_status_of_an_experiment_lists_no_storage(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket, each folder beside it, and each folder in it, would be asked for."""
    monkeypatch.setattr("dann_search.results.reader.experiment_names", None)
    assert main(["status", str(finished / "runs" / "small")]) == 0
