"""Every sampler proposes through the study, also after a crash."""

import importlib.util
import math
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from dann_search.config.experiment import SearchConfig
from dann_search.errors import InputError
from dann_search.study.sampler_view import StudyView, ViewingSampler
from dann_search.study.samplers import check_sampler, make_sampler
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import ERROR
from tests.studies import open_record, take

SPACE: dict[str, Any] = {
    "lambda_schedule": {"choice": ["linear", "ganin"]},
    "lambda_gamma": {"loguniform": [3, 20]},
    "learning_rate": {"loguniform": [1e-4, 1e-1]},
    "lambda_max": {"uniform": [0, 1]},
    "rotation_degrees": {"uniform": [0, 30], "step": 5},
}
CHANGES: dict[str, Any] = {
    "space": SPACE,
    "search__trials": 24,
    "search__published_first": False,
}


def search(record: StudyRecord, trials: int) -> list[dict[str, Any]]:
    """Run some trials of a smooth function that is best at lambda_max 0.8."""
    found = []
    for _ in range(trials):
        taken = take(record)
        values = record.space.active(taken.config.model_dump())
        record.report(taken.number, [1 - (values["lambda_max"] - 0.8) ** 2])
        record.complete(taken.number)
        found.append(values)
    return found


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "random"])
def test_a_sampler_goes_on_after_a_crash_with_new_configurations_and_comes_nearer_to_the_best(
    tmp_path: Path, sampler: str
) -> None:
    first = open_record(tmp_path, **CHANGES, search__sampler=sampler)
    before = search(first, 12)
    first.close()
    second = open_record(tmp_path, **CHANGES, search__sampler=sampler)
    found = [*before, *search(second, 12)]
    assert second.proposals.is_complete
    assert len({str(values) for values in found}) == 24
    for values in found:
        assert ("lambda_gamma" in values) == (values["lambda_schedule"] == "ganin")
    distances = [abs(values["lambda_max"] - 0.8) for values in found]
    if sampler in ("tpe", "gp", "cmaes"):  # those with a model of the objective
        assert sum(distances[-8:]) < sum(distances[:8])
    second.close()


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("tpe", "none"), ("tpe", "hyperband"), ("gp", "none"), ("cmaes", "none"), ("qmc", "none")],
)
def test_a_sampler_goes_beyond_the_old_range_of_a_parameter_that_grew(
    tmp_path: Path, sampler: str, scheduler: str
) -> None:
    changes = {**CHANGES, "search__sampler": sampler, "search__scheduler": scheduler}
    narrow = {"uniform": [0, 0.2]}
    first = open_record(tmp_path, **{**changes, "space": {**SPACE, "lambda_max": narrow}})
    search(first, 9)
    first.close()
    second = open_record(tmp_path, **changes, allow_wider=True)
    found = [values["lambda_max"] for values in search(second, 6)]
    assert sum(value > 0.2 for value in found) >= 3, found
    second.close()


def test_the_same_seed_proposes_the_same_trials(tmp_path: Path) -> None:
    for sampler in ("tpe", "qmc", "random"):
        pair = []
        for place in ("a", "b"):
            folder = tmp_path / sampler / place
            folder.mkdir(parents=True)
            record = open_record(folder, **CHANGES, search__sampler=sampler, search__seed=5)
            pair.append(search(record, 6))
            record.close()
        assert pair[0] == pair[1], sampler


def test_cma_es_unpickles_nothing_that_an_earlier_process_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**CHANGES, "search__trials": 60, "search__sampler": "cmaes"}
    first = open_record(tmp_path, **changes)
    search(first, 40)
    stored = [t for t in first.study.get_trials() if any("optimizer" in k for k in t.system_attrs)]
    assert stored  # there is a pickle in the study
    written = {value for t in stored for k, value in t.system_attrs.items() if "optimizer" in k}
    first.close()
    real = pickle.loads

    def guarded(data: bytes, **options: Any) -> Any:
        assert data.hex() not in written
        return real(data, **options)

    monkeypatch.setattr("optuna.samplers._cmaes.pickle.loads", guarded)
    second = open_record(tmp_path, **changes)
    search(second, 20)
    second.close()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sampler("cmaes")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'dann-search\[cmaes\]', or choose tpe"):
        check_sampler("cmaes")


def test_a_stopped_trial_counts_to_samplers_as_the_best_it_reached() -> None:
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    for epoch, score in enumerate((0.2, 0.6, 0.5), 1):
        trial.report(score, epoch)
    study.tell(trial, state=TrialState.PRUNED)
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    view = StudyView(study, {}, {})
    for wanted in (states, states[:1], None):  # as tpe, gp and cmaes ask
        (seen,) = view._get_trials(deepcopy=False, states=wanted)
        assert (seen.state, seen.value) == (TrialState.COMPLETE, 0.6)
    assert view.get_trials(states=(TrialState.PRUNED,)) == []
    assert study.trials[0].state == TrialState.PRUNED


def test_a_gaussian_process_learns_from_trials_that_asha_stopped(tmp_path: Path) -> None:
    """Most trials are stopped under asha: without them it would begin late, or never."""
    space = {name: SPACE[name] for name in ("learning_rate", "lambda_max")}
    changes: dict[str, Any] = {"search__sampler": "gp", "search__trials": 12, "space": space}
    record = open_record(tmp_path, **changes, search__scheduler="asha", training__epochs=9)
    for count in range(4):
        taken = take(record)
        record.report(taken.number, [0.5 - count / 10])
        if record.should_stop(taken.number):
            record.prune(taken.number)
        else:
            record.complete(taken.number)
    assert (record.tally.counts().completed, record.tally.counts().pruned) == (1, 3)
    assert record.study.ask().relative_params.keys() == set(space)  # not drawn at random
    record.close()


def test_what_qmc_leaves_to_chance_is_not_proposed_again_on_a_resume(tmp_path: Path) -> None:
    """It draws the parameters that not every trial has at random: here lambda_gamma."""
    found: list[float] = []
    for _ in range(3):
        record = open_record(tmp_path, **CHANGES, search__sampler="qmc")
        found += [v["lambda_gamma"] for v in search(record, 8) if "lambda_gamma" in v]
        record.close()
    assert len(set(found)) == len(found) > 8


CLIFF: dict[str, Any] = {
    "learning_rate": FloatDistribution(1e-4, 1, log=True),
    "lambda_max": FloatDistribution(0, 1),
    "weight_decay": FloatDistribution(1e-5, 1e-2, log=True),
    "batch_size": CategoricalDistribution([16, 32, 64]),
}


def diverged_near_a_cliff(sampler: str, seed: int, trials: int) -> int:
    """Search for the highest learning rate that is not too high; count the trials that fail."""
    study, diverged = optuna.create_study(direction="maximize"), 0
    search = SearchConfig(sampler=sampler, seed=seed, trials=trials)
    study.sampler = ViewingSampler(make_sampler(search, 0), CLIFF)
    for _ in range(trials):
        trial = study.ask(CLIFF)
        rate, other = trial.params["learning_rate"], trial.params["lambda_max"]
        if rate > 0.02 * math.sqrt(trial.params["batch_size"] / 32):
            diverged += 1
            trial.set_user_attr(ERROR, "the loss became nan in epoch 1; the learning rate …")
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 0.1 * math.log10(rate) - 0.2 * (other - 0.6) ** 2)
    assert len(study.get_trials(states=[TrialState.FAIL])) == diverged
    return diverged


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 80), ("gp", 24), ("cmaes", 80)])
def test_samplers_learn_from_trials_that_diverge(sampler: str, trials: int) -> None:
    pytest.importorskip({"cmaes": "cmaes", "gp": "scipy"}.get(sampler, "optuna"))
    counts = [diverged_near_a_cliff(sampler, seed, trials) for seed in range(2)]
    assert max(counts) < 0.6 * trials, counts


def test_a_failed_trial_counts_as_the_worst_if_it_failed_by_its_recipe() -> None:
    study = optuna.create_study(direction="maximize")
    view = StudyView(study, {}, {})
    ranges: dict[str, BaseDistribution] = {"learning_rate": FloatDistribution(0, 1)}

    def add(value: float | None, error: str = "") -> None:
        state = TrialState.FAIL if error else TrialState.COMPLETE
        trial = optuna.trial.create_trial(
            value=value,
            state=state,
            params={"learning_rate": 0.5},
            distributions=ranges,
            user_attrs={ERROR: error} if error else {},
        )
        study.add_trial(trial)

    def seen() -> list[float | None]:
        return [trial.value for trial in view.get_trials(states=(TrialState.COMPLETE,))]

    add(None, "the sum of validation logits became inf in epoch 2; the learning rate …")
    assert seen() == []  # nothing is known that would be better
    add(0.6)
    add(None, "out of memory: vgg16 with batch_size 512 …")
    add(None, "its worker died 3 times while training it")
    assert seen() == [0.6, 0.6, 0.6]
    add(0.4)
    assert seen() == [0.4, 0.6, 0.4, 0.4]
    assert [trial.state.name for trial in study.trials].count("FAIL") == 3
