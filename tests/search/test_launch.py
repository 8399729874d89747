"""What is laid out before a search, and by whom."""

import threading
from pathlib import Path
from typing import Any

import pytest

from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.models.registry import stage_counts
from dann_search.search import checks
from dann_search.search.launch import prepare
from dann_search.search.study import StudyRecord
from tests.experiments import space_file


def test_of_two_launches_of_one_name_one_is_refused_while_the_other_packs(tmp_path: Path) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    packing, refused = threading.Event(), threading.Event()
    first: list[ExperimentFolder] = []

    def wait(done: int, of: int) -> None:
        packing.set()
        assert refused.wait(60)

    thread = threading.Thread(target=lambda: first.append(prepare(experiment, space, wait)))
    thread.start()
    assert packing.wait(60)
    try:
        with pytest.raises(InputError, match="already running on this experiment"):
            prepare(experiment, space)
    finally:
        refused.set()
        thread.join()
    with pytest.raises(InputError, match="exists already"):
        prepare(experiment, space)
    StudyRecord(experiment, space, first[0]).close()


@pytest.mark.parametrize(
    ("gpus", "resources", "expected"),
    [
        (0, {"gpus_per_worker": 1}, "needs 1 GPUs, this machine has 0"),
        (1, {"gpus_per_worker": 1, "workers_per_trial": 2}, "needs 2 GPUs, this machine has 1"),
    ],
)
def test_gpus_that_are_not_there_are_missed_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    resources: dict[str, Any],
    expected: str,
) -> None:
    monkeypatch.setattr(checks, "gpu_count", lambda: gpus)
    monkeypatch.setattr(checks, "cpu_count", lambda: 8)
    path = space_file(tmp_path, resources=resources)
    experiment, space = load_experiment(path, stage_counts())
    with pytest.raises(InputError, match=f"resources.gpus_per_worker: a trial .*{expected}"):
        prepare(experiment, space)
    assert not Path(experiment.place).exists()
