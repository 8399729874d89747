"""The processes that Tune runs for trials: what their loss costs, and when it ends a search."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from dann_search.errors import RunError
from dann_search.search.tune_run import MAX_LOSSES, StudyScheduler, StudySearcher
from dann_search.storage.outages import Outages
from dann_search.study.bookkeeper import Bookkeeper
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer
from tests.studies import open_record


class Tune:
    """A search's adapters, called as Tune calls them for one trial after another."""

    def __init__(self, tmp_path: Path, slots: int = 1, **changes: Any):
        self.record: StudyRecord = open_record(tmp_path, **changes)
        self.seen, self.withdrawn = Seen(), list[int]()
        self.fleet = SimpleNamespace(
            slots=slots,
            wanted=0,
            error=None,
            has_lost_dispatcher=lambda: False,
            memory_of=lambda config: (5 * 10**8, config.backbone),
            withdraw=self.withdrawn.append,
        )
        folder = cast(Any, SimpleNamespace(trial_place=lambda n: f"trials/{n}"))
        self.scheduler = StudyScheduler(
            Bookkeeper(self.record, folder, [self.seen], Outages(0.0), print)
        )
        self.searcher = StudySearcher(self.scheduler, cast(Any, self.fleet), "data")
        self.error_file = tmp_path / "error.txt"
        self.ids = 0

    def suggest(self) -> tuple[str, Any]:
        self.ids += 1
        return str(self.ids), self.searcher.suggest(str(self.ids))

    def lose(self, trial_id: str, why: str = "RayActorError: killed") -> None:
        self.error_file.write_text(f"Failure # 1\nTraceback\n{why}\n")
        trial = SimpleNamespace(trial_id=trial_id, error_file=str(self.error_file))
        self.scheduler.on_trial_error(None, trial)
        self.searcher.on_trial_complete(trial_id, error=True)

    def hear(self, trial_id: str, config: dict[str, Any], epochs: int) -> None:
        result = told(epochs)
        if epochs == 3:
            self.searcher.on_trial_complete(trial_id, result)
            return
        self.scheduler.on_trial_result(None, SimpleNamespace(config=config), result)
        self.searcher.on_trial_result(trial_id, result)


class Seen(Observer):
    """How trials ended for those who watch."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str]] = []

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        self.ends.append((number, state))


def told(epochs: int, error: str | None = None) -> dict[str, Any]:
    history = tuple(
        {"epoch": n, "f1_macro_val": n / 10, "validators": {}} for n in range(1, epochs + 1)
    )
    return {
        "epoch": epochs,
        "history": history,
        "error": error,
        "cancelled": False,
        "startup_s": 0.1,
        "nodes": ("node",),
    }


def test_a_trial_goes_on_where_it_was_however_often_its_process_is_lost(tmp_path: Path) -> None:
    tune = Tune(tmp_path, search__trials=2)
    trial_id, config = tune.suggest()
    assert (config["number"], config["seen"]) == (0, 0)
    for _ in range(MAX_LOSSES - 1):  # before any epoch
        tune.lose(trial_id)
        trial_id, again = tune.suggest()
        assert again == config
    for epochs in (1, 2):
        tune.hear(trial_id, config, epochs)
        for _ in range(MAX_LOSSES - 1):
            tune.lose(trial_id)
            trial_id, again = tune.suggest()
            assert again == {**config, "seen": epochs}
    assert tune.record.frozen(0).state == TrialState.RUNNING
    assert (tune.withdrawn, tune.seen.ends, tune.fleet.error) == ([], [], None)
    tune.hear(trial_id, config, 3)
    assert tune.record.frozen(0).state == TrialState.COMPLETE
    assert (tune.withdrawn, tune.seen.ends) == ([0], [(0, "completed")])
    assert tune.suggest()[1]["number"] == 1
    tune.record.close()


def test_the_last_trial_may_lose_its_process_too(tmp_path: Path) -> None:
    tune = Tune(tmp_path, slots=2, search__trials=1)
    trial_id, config = tune.suggest()
    assert tune.suggest()[1] is None  # not yet the end
    tune.lose(trial_id)
    trial_id, again = tune.suggest()
    assert again == config
    tune.hear(trial_id, config, 3)
    assert tune.suggest()[1] == Searcher.FINISHED
    tune.record.close()


def test_a_lost_trial_takes_no_slot_from_another(tmp_path: Path) -> None:
    tune = Tune(tmp_path, slots=2)
    (first, _), (_, other) = tune.suggest(), tune.suggest()
    tune.lose(first)
    assert other["number"] == 1
    assert tune.suggest()[1]["number"] == 0
    assert tune.suggest()[1] is None
    tune.record.close()


def test_where_no_process_of_a_trial_lives_the_search_ends_and_can_be_resumed(
    tmp_path: Path,
) -> None:
    tune = Tune(tmp_path)
    for _ in range(MAX_LOSSES):
        assert tune.fleet.error is None
        trial_id, config = tune.suggest()
        assert config["number"] == 0
        tune.lose(trial_id, "ModuleNotFoundError: No module named 'dann_search'")
    error = str(tune.fleet.error)
    assert f"trial 0 was lost {MAX_LOSSES} times" in error
    assert error.endswith("ModuleNotFoundError: No module named 'dann_search'")
    assert tune.record.frozen(0).state == TrialState.RUNNING
    assert tune.seen.ends == [(0, "interrupted")]
    tune.record.close()


def test_a_trial_stays_unfinished_where_its_process_was_lost_with_the_dispatcher(
    tmp_path: Path,
) -> None:
    tune = Tune(tmp_path)
    trial_id, _ = tune.suggest()
    tune.fleet.has_lost_dispatcher = lambda: True
    tune.lose(trial_id)
    assert tune.record.frozen(0).state == TrialState.RUNNING
    assert tune.seen.ends == [(0, "interrupted")]
    tune.record.close()


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_trial_that_ended_with_an_error_of_its_own_frees_its_slot(
    tmp_path: Path, epochs: int
) -> None:
    tune = Tune(tmp_path)
    trial_id, _ = tune.suggest()
    tune.searcher.on_trial_complete(trial_id, told(epochs, "ValueError: bad"))
    trial = tune.record.frozen(0)
    assert trial.state == TrialState.FAIL and trial.user_attrs["error"] == "ValueError: bad"
    assert len(trial.intermediate_values) == epochs
    assert tune.withdrawn == [0]
    tune.record.close()


def test_what_fails_while_a_trial_is_closed_is_no_lost_process(tmp_path: Path) -> None:
    """Tune catches the error and calls again, as for a crash."""
    tune = Tune(tmp_path)
    trial_id, _ = tune.suggest()

    def full(number: int, state: str, error: str | None) -> None:
        raise OSError("no space left on device")

    tune.seen.trial_ended = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space"):
        tune.searcher.on_trial_complete(trial_id, told(3))
    with pytest.raises(RunError, match="could not be closed"):
        tune.lose(trial_id)
    tune.record.close()
