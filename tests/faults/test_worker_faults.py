"""Workers that die, trials that raise, slots that stall: each costs only what it must."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from optuna.trial import TrialState
from ray.util import placement_group_table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dann_search.config.trial import TrialConfig
from dann_search.errors import RunError
from dann_search.search.worker_group import WorkerGroup
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer
from tests.experiments import (
    Reports,
    assert_exact,
    retrain,
    run_search,
    saved_history,
    space_file,
    study_trials,
    write_faults,
)

pytestmark = [
    pytest.mark.ray,
    pytest.mark.scenario,
    pytest.mark.usefixtures("local_ray", "no_faults"),
]


def assert_nothing_is_reserved() -> None:
    """All CPUs are free and all placement groups removed, once Ray has noticed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        free, whole = ray.available_resources().get("CPU"), ray.cluster_resources()["CPU"]
        states = [group["state"] for group in placement_group_table().values()]
        if free == whole and all(state == "REMOVED" for state in states):
            return
        time.sleep(0.2)
    raise AssertionError(f"{free} of {whole} CPUs free, placement groups {states}")


def test_workers_that_die_or_stall_cost_their_neighbours_nothing_and_a_deadly_trial_only_itself(
    tmp_path: Path, faults: Path
) -> None:
    """The schedules of ``tests/search/test_in_process.py``, with processes that end."""
    write_faults(
        faults,
        {"trial": "1", "epoch": 2, "kind": "stall", "times": 1},
        {"trial": "3", "epoch": 2, "kind": "exit", "times": 99},
    )
    reports = Reports()
    changes = {"resources__stall_timeout_s": 20, "resources__max_worker_deaths": 2}
    outcome, trials = run_search(space_file(tmp_path, search__trials=5, **changes), reports)

    failed = [trial.number for trial in trials if trial.state != TrialState.COMPLETE]
    assert failed == [3] and len(trials) == 5
    assert "its worker died 2 times" in trials[3].user_attrs["error"]
    for trial in trials:
        full = trial.state == TrialState.COMPLETE
        assert sorted(trial.intermediate_values) == ([1, 2, 3] if full else [1])
    expected = {(t.number, epoch) for t in trials for epoch in t.intermediate_values}
    assert set(reports.steps) == expected
    assert set(reports.steps.values()) == {1}
    for number in (0, 1, 2, 4):
        events = EventAccumulator(str(outcome.folder.tensorboard / f"trial-{number:04d}"))
        events.Reload()
        assert [e.step for e in events.Scalars("val/f1_macro")] == [1, 2, 3]
        again = retrain(
            outcome.folder, trials[number].user_attrs["config"], tmp_path / f"again-{number}"
        )
        assert saved_history(outcome.folder, number) == again
    assert_nothing_is_reserved()


def test_a_rank_that_dies_costs_an_epoch_and_one_that_raises_its_trial_alone(
    tmp_path: Path, faults: Path
) -> None:
    write_faults(
        faults,
        {"trial": "0", "epoch": 2, "kind": "exit", "times": 1, "rank": 1},
        {"trial": "1", "epoch": 2, "kind": "raise", "times": 99, "rank": 1},
        {"trial": "2", "epoch": 2, "kind": "exit", "times": 1, "rank": 0},
    )
    path = space_file(tmp_path, search__trials=3, resources__workers_per_trial=2)
    outcome, trials = run_search(path)
    states = [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert [trial.state for trial in trials] == states
    assert trials[1].user_attrs["error"] == "ValueError: a fault on purpose"
    errors = outcome.folder.root.glob("trials/*/error.txt")
    assert [path.parent.name for path in errors] == ["1"]
    assert_nothing_is_reserved()


class StopsAWorker(Reports):
    """SIGSTOP to a worker after the first epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped: psutil.Process | None = None

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        super().epochs_done(number, history, known)
        if self.stopped is None:
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "RayTrainWorker" in "".join(process.cmdline()[:1])
            ]
            self.stopped = workers[0]
            self.stopped.suspend()


def test_a_worker_that_is_frozen_as_a_whole_is_replaced_and_its_trial_goes_on(
    tmp_path: Path,
) -> None:
    reports = StopsAWorker()
    changes = {"resources__stall_timeout_s": 8, "resources__max_worker_deaths": 1}
    outcome, trials = run_search(space_file(tmp_path, search__trials=3, **changes), reports)
    assert reports.stopped is not None
    assert len(trials) == 3
    assert set(reports.steps.values()) == {1}
    assert_exact(outcome.folder, tmp_path / "again")
    reports.stopped.wait(20)
    assert_nothing_is_reserved()


def test_a_search_whose_dispatcher_is_lost_fails_no_trial_and_can_be_resumed(
    tmp_path: Path,
) -> None:
    class Kill(Observer):
        def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
            for process in psutil.Process().children(recursive=True):
                if "DispatcherState" in process.cmdline()[0]:
                    process.kill()

    path = space_file(tmp_path, search__trials=4, training__epochs=30)
    with pytest.raises(RunError, match="the search's dispatcher was lost") as error:
        run_search(path, Kill())
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    assert f"dann-search resume {folder.root}" in str(error.value)
    assert {trial.state for trial in study_trials(folder)} == {TrialState.RUNNING}
    assert_nothing_is_reserved()


class KillsLightProcesses(Reports):
    """Kills the process that follows trial 0: three before its first epoch, one after each epoch.

    The last of them has ended its trial, and is the one that Tune keeps for the next.
    """

    PENDING = 3

    def __init__(self) -> None:
        super().__init__()
        self.killed: set[int] = set()
        self._pending = threading.Thread(target=self._kill_pending, daemon=True)

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        if number == 0:
            self._pending.start()

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        super().epochs_done(number, history, known)
        if number == 0:
            self._pending.join()
            self._kill()

    def _kill_pending(self) -> None:
        while len(self.killed) < self.PENDING and not self.steps:
            self._kill()
            time.sleep(0.1)

    def _kill(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                name = "".join(process.cmdline()[:1])
                # Idle, and while it waits for an epoch.
                if "LightTrial" in name or "ResourceTrainable" in name:
                    process.kill()
                    self.killed.add(process.pid)


def test_the_light_process_of_a_trial_may_die_at_any_time_and_costs_nothing(
    tmp_path: Path,
) -> None:
    reports = KillsLightProcesses()
    path = space_file(tmp_path, search__trials=2, resources__max_parallel_trials=1)
    outcome, trials = run_search(path, reports)
    assert len(reports.killed) == reports.PENDING + 3
    assert len(trials) == 2
    assert reports.steps == {(number, epoch): 1 for number in (0, 1) for epoch in (1, 2, 3)}
    assert_exact(outcome.folder, tmp_path / "again")
    assert_nothing_is_reserved()


def test_a_search_whose_workers_cannot_start_ends_with_an_error_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: WorkerGroup) -> None:
        raise RuntimeError("the controller was lost")

    path = space_file(tmp_path, search__trials=2)
    with monkeypatch.context() as patch:
        patch.setattr(WorkerGroup, "_run", fail)
        with pytest.raises(RunError, match="workers could not be started: the controller") as error:
            run_search(path)
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    assert str(folder.ray / "driver.log") in str(error.value)
    assert f"dann-search resume {folder.root}" in str(error.value)
    assert {trial.state for trial in study_trials(folder)} == {TrialState.RUNNING}

    _, trials = run_search(path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert_nothing_is_reserved()
