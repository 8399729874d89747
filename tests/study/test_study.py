"""The study as the only record of a search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.study.pruning import describe_scheduler, make_pruner, rungs, stop_shares
from dann_search.study.study import StudyRecord
from tests.experiments import study_trials
from tests.studies import folder_of, open_record, take


def test_a_crash_between_checkpoint_and_report_leaves_no_gap_and_no_step_twice(
    tmp_path: Path,
) -> None:
    record = open_record(tmp_path)
    number = take(record).number
    assert record.report(number, [0.1]) == 0
    assert record.report(number, [0.1, 0.3, 0.2]) == 1
    assert record.report(number, [0.1, 0.3, 0.2]) == 3
    assert record.frozen(number).intermediate_values == {1: 0.1, 2: 0.3, 3: 0.2}


def test_the_value_of_a_completed_trial_is_its_best_epochs(tmp_path: Path) -> None:
    record = open_record(tmp_path)
    number = take(record).number
    record.report(number, [0.1, 0.3, 0.2])
    record.complete(number)
    assert record.frozen(number).value == 0.3
    assert record.study.best_trial.number == number
    assert record.tally.best() == (number, 0.3)


def test_unfinished_trials_come_first_after_a_crash_with_their_own_configuration(
    tmp_path: Path,
) -> None:
    first = open_record(tmp_path)
    taken = [first.next_trial() for _ in range(3)]
    first.report(0, [0.5, 0.5, 0.5])
    first.complete(0)
    first.close()
    second = open_record(tmp_path)
    again = [second.next_trial(), second.next_trial()]
    assert again == taken[1:]
    assert take(second).number == 3
    assert second.next_trial() is None


def test_a_resumed_sampler_does_not_propose_its_old_trials_again(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__trials=20)
    before = [record.next_trial() for _ in range(3)]
    record.close()
    again = open_record(tmp_path, search__trials=20)
    after = [again.next_trial() for _ in range(6)]
    configs = [a.config for a in [*before, *after[3:]] if a]
    assert len({(c.learning_rate, c.lambda_gamma) for c in configs}) == 6


def test_a_stopped_trial_is_pruned_with_all_its_values(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__scheduler="asha", training__epochs=18)
    numbers = [take(record).number for _ in range(3)]
    stops = []
    for number, score in zip(numbers, (0.9, 0.2, 0.95), strict=True):
        for epoch in range(1, rungs(18)[0] + 1):
            record.report(number, [score] * epoch)
            stops.append(record.should_stop(number))
    assert stops == [False, False, False, True, False, False]
    record.prune(numbers[1])
    frozen = record.frozen(numbers[1])
    assert frozen.state == TrialState.PRUNED
    assert frozen.intermediate_values == {1: 0.2, 2: 0.2}


def test_a_trial_is_stopped_by_its_best_epoch_so_far_not_by_its_last(tmp_path: Path) -> None:
    for scheduler in ("asha", "hyperband"):
        (tmp_path / scheduler).mkdir()
        record = open_record(
            tmp_path / scheduler, search__scheduler=scheduler, training__epochs=9, search__trials=99
        )
        stopped = {}
        for scores in ([0.5, 0.5], [0.6, 0.1], [0.4, 0.45]):
            number = take(record).number
            record.report(number, scores)
            stopped[scores[0]] = record.should_stop(number)
            assert record.frozen(number).intermediate_values == dict(enumerate(scores, 1))
        if scheduler == "asha":
            assert stopped == {0.5: False, 0.6: False, 0.4: True}
        record.close()


def test_hyperband_stops_early_and_remembers_across_a_crash(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "search__scheduler": "hyperband",
        "training__epochs": 9,
        "search__trials": 99,
        "search__published_first": False,
    }
    pruned = 0
    for half in range(2):
        record = open_record(tmp_path, **changes)
        for index in range(12):
            number = take(record).number
            score = 0.9 if half == 0 and index < 3 else 0.1 + index / 1000
            for epoch in range(1, 10):
                record.report(number, [score] * epoch)
                if record.should_stop(number):
                    record.prune(number)
                    pruned += 1
                    break
            else:
                record.complete(number)
        record.close()
    counts = open_record(tmp_path, **changes).tally.counts()
    assert counts.pruned == pruned >= 6
    assert counts.completed == 24 - pruned >= 3


def stopped_after(record: StudyRecord, scores: Sequence[float]) -> int | None:
    """Run a trial; the epoch after which it was stopped, None where it was not."""
    number = take(record).number
    for epoch in range(1, len(scores) + 1):
        record.report(number, scores[:epoch])
        if epoch < len(scores) and record.should_stop(number):
            record.prune(number)
            return epoch
    record.complete(number)
    return None


def test_median_looks_first_at_the_epoch_it_says_and_asks_four_peers(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__scheduler": "median", "search__trials": 9}
    assert "from epoch 3 of 12" in describe_scheduler("median", 12)
    others = [
        KnownTrial(
            f"other {n}",
            {"lambda_schedule": "constant", "learning_rate": 0.05, "unfrozen_depth": 2},
            0.9,
        )
        for n in range(6)
    ]
    record = open_record(tmp_path, others, **changes, training__epochs=12)
    ends = [stopped_after(record, [1 - n / 10] * 12) for n in range(6)]
    # Trials of another experiment have no epochs: they are nobody's peers.
    assert ends == [None, None, None, None, 3, 3]


def test_a_trial_that_was_to_stop_when_a_crash_came_does_not_go_on(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__scheduler": "asha", "training__epochs": 9}
    record = open_record(tmp_path, **changes)
    for score in (0.9, 0.2):
        record.report(take(record).number, [score, score])
    assert [record.should_stop(number) for number in (0, 1)] == [False, True]
    record.close()
    again = open_record(tmp_path, **changes)
    assert again.frozen(1).state == TrialState.PRUNED
    assert [take(again).number, take(again).number] == [0, 2]


def test_the_rungs_survive_a_crash(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__scheduler="asha", training__epochs=9)
    number = take(record).number
    record.report(number, [0.9, 0.9])
    assert not record.should_stop(number)
    other = take(record).number
    record.close()
    again = open_record(tmp_path, search__scheduler="asha", training__epochs=9)
    again.report(other, [0.2, 0.2])
    assert again.should_stop(other)


def test_a_failed_trial_keeps_its_error_and_counts_towards_the_total(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__trials=1)
    number = take(record).number
    record.fail(number, "the loss became nan")
    assert record.frozen(number).user_attrs["error"] == "the loss became nan"
    done = [record.proposals.is_complete]
    record.proposals.add_trials(2)
    done.append(record.proposals.is_complete)
    assert done == [True, False]
    assert record.tally.counts().failed == 1


def test_a_finished_trial_is_never_told_again(tmp_path: Path) -> None:
    record = open_record(tmp_path)
    number = take(record).number
    record.report(number, [0.4])
    record.prune(number)
    record.fail(number, "late")
    assert record.frozen(number).state == TrialState.PRUNED
    assert "error" not in record.frozen(number).user_attrs


def test_plain_optuna_opens_the_study(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__study="sqlite")
    take(record)
    record.close()
    (trial,) = study_trials(folder_of(tmp_path))
    assert trial.user_attrs["config"]["epochs"] == 3


def test_a_study_of_another_experiment_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.root.mkdir(parents=True)
    optuna.create_study(study_name="other", storage=f"sqlite:///{folder.study}")
    with pytest.raises(InputError, match="holds the studies \\['other'\\], not 'small'"):
        open_record(tmp_path, search__study="sqlite")


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, []), (2, [1]), (12, [1, 2, 4, 8]), (20, [2, 4, 8, 16]), (50, [6, 12, 24, 48])],
)
def test_rungs_follow_from_the_epochs(epochs: int, expected: list[int]) -> None:
    assert rungs(epochs) == expected


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (2, "hyperband: a bracket of trials is looked at after 1, one never, of 2 epochs; "),
        (3, "is looked at after 1 and 2, one after 2, of 3 epochs; "),
        (
            20,
            "after 2, 4, 8 and 16, one after 4, 8 and 16, one after 8 and 16, one after 16, of 20",
        ),
    ],
)
def test_hyperbands_brackets_are_described_as_optuna_makes_them(epochs: int, expected: str) -> None:
    assert expected in describe_scheduler("hyperband", epochs)
    pruner, study = make_pruner("hyperband", epochs), optuna.create_study()
    study.ask().report(0.1, 1)
    pruner.prune(study, study.trials[0])
    assert vars(pruner)["_n_brackets"] == expected.count("after") + expected.count("never")


def test_as_many_trials_are_expected_to_stop_as_brackets_look() -> None:
    assert stop_shares("hyperband", 20) == {2: 0.125, 4: 0.25, 8: 0.375, 16: 0.5}
    assert stop_shares("asha", 20) == dict.fromkeys((2, 4, 8, 16), 0.5)
    assert stop_shares("median", 20) == {5: 0.5}
    assert stop_shares("none", 20) == {}
