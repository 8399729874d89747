"""Baselines that get a search of their own."""

import re
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dann_search.api.retraining import search_baselines
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.evaluation.compare import compare
from dann_search.evaluation.comparison import notes
from dann_search.evaluation.tuning import BaselineSearch, Tuning, plan_searches
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_experiment, read_search, read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.job import Failures, TrainingJob
from tests.experiments import space_file
from tests.in_process import InProcessExecutor
from tests.train_here import train_here


def here(lines: list[str]) -> Tuning:
    """Two trials a baseline, in this process."""
    run = partial(
        search_baselines, executor=InProcessExecutor(), tell=lines.append, again="compare --tune 2"
    )
    return Tuning(2, run, lines.append)


def searches_of(
    folder: ExperimentFolder, names: Sequence[str], trials: int = 2, winner: str = "dann"
) -> dict[str, BaselineSearch]:
    experiment = read_experiment(folder)
    return plan_searches(folder, experiment, winner, names, trials, folder.data, {})


def parameters_of(experiment: ExperimentConfig, folder: ExperimentFolder, name: str) -> set[str]:
    found = plan_searches(folder, experiment, "dann", [name], 2, folder.data, {})
    return set(found[name].space.parameters) if found else set()


@pytest.fixture
def wide(tmp_path: Path) -> ExperimentConfig:
    """A space with much that not every baseline has."""
    changes = {
        "space__method": {"choice": ["dann", "mcc"]},
        "space__lambda_gamma": {"loguniform": [3, 20], "when": {"lambda_schedule": "ganin"}},
        "space__batch_norm": {"choice": ["separate", "joint"]},
        "space__discriminator_depth": {"int": [1, 2], "when": {"method": "dann"}},
        "space__target_augmentation": {"uniform": [0, 1]},
        "space__rotation_degrees": {"uniform": [0, 10]},
        "space__fine_tuning": {"choice": ["stages", "lora"]},
        "space__head_init": {"choice": ["random", "class_means"]},
    }
    return load_experiment(space_file(tmp_path, **changes), stage_counts())[0]


def test_a_baseline_is_searched_in_the_same_space_less_what_it_lacks(
    wide: ExperimentConfig, tiny: ExperimentFolder
) -> None:
    kept = {"unfrozen_depth", "fine_tuning", "head_init"}  # where the backbone is worth keeping
    shared = {"learning_rate", "rotation_degrees", *kept}
    of_term = {"lambda_schedule", "lambda_gamma"}
    with_target = {"batch_norm", "target_augmentation"}
    parameters = partial(parameters_of, wide, tiny)
    assert parameters("source_only") == shared
    assert parameters("from_scratch") == shared - kept
    assert parameters("frozen_features") == shared - kept | {"head_init"}
    assert parameters("adabn") == shared | {"target_augmentation"}
    assert parameters("lambda_0") == shared | with_target
    assert parameters("mcc") == shared | with_target | of_term
    assert parameters("tllib_dann") == parameters("dann") == set()


def test_a_baselines_search_is_as_the_winners_but_for_its_trials(
    wide: ExperimentConfig, tiny: ExperimentFolder
) -> None:
    points = [{"method": "mcc", "learning_rate": 0.02, "lambda_schedule": "ganin"}]
    search = wide.search.model_copy(update={"start_points": points, "sampler": "tpe"})
    stated = wide.model_copy(update={"search": search})
    names = ["source_only", "lambda_0", "mcc"]
    found = plan_searches(tiny, stated, "mcc", [*names, "dann"], 7, tiny.data, {})
    assert list(found) == ["source_only", "lambda_0", "dann"]  # mcc is the winner's
    own = found["source_only"].experiment
    same = {"sampler", "scheduler", "objective", "seed", "published_first", "confirm"}
    assert own.search.model_dump(include=same) == search.model_dump(include=same)
    assert own.search.trials == 7 and own.search.start_points == [{"learning_rate": 0.02}]
    assert own.fixed == wide.fixed.model_copy(update={"method": "source_only"})
    zero = found["lambda_0"].experiment.fixed
    assert (zero.method, zero.lambda_max) == ("mcc", 0.0)


def test_baselines_with_the_same_recipes_share_a_search(tiny: ExperimentFolder) -> None:
    every_stage = read_experiment(tiny)
    space = {name: one for name, one in every_stage.space.items() if name != "unfrozen_depth"}
    every_stage = every_stage.model_copy(update={"space": space})
    names = ["source_only", "from_scratch", "adabn"]
    found = plan_searches(tiny, every_stage, "dann", names, 2, tiny.data, {})
    assert found["from_scratch"] is found["source_only"] is not found["adabn"]
    (alone,) = plan_searches(tiny, every_stage, "dann", ["from_scratch"], 2, tiny.data, {}).values()
    assert alone.folder == found["source_only"].folder
    deeper = searches_of(tiny, names)
    assert deeper["from_scratch"] is not deeper["source_only"]


def test_tuned_and_inherited_stand_side_by_side(tiny: ExperimentFolder) -> None:
    labels = tiny.data / "target.test.labels.npy"
    hidden = labels.rename(labels.with_suffix(".hidden"))
    lines: list[str] = []

    def train(jobs: Sequence[TrainingJob], content: ExperimentConfig) -> Failures:
        failures = train_here(jobs, content)
        hidden.rename(labels)  # neither searches nor trainings have read them
        return failures

    names = ["dann", "source_only", "adabn", "tllib_dann"]
    tuning = here(lines)
    result = compare(tiny, train, methods=names, seeds=2, tuning=tuning)
    assert not result.failed and list(result.methods) == [
        "dann", "source_only", "source_only_tuned", "adabn", "adabn_tuned", "tllib_dann",
    ]  # fmt: skip
    assert lines[0] == (
        "tuning source_only, adabn: 2 searches, 4 trials; then at most 12 trainings, 2 of each "
        "recipe"
    )
    ended = r"tuning adabn: trial [01] completed \(2 of 2"  # they run at once: either may end last
    assert any(re.match(ended, line) for line in lines)
    twin = result.methods["source_only_tuned"].tuned
    assert twin and (twin.method, twin.trials) == ("source_only", 2)
    assert result.methods["source_only"].tuned is None
    own = ExperimentFolder(tiny.compare / "tuned" / twin.folder)
    best = next(row for row in read_trials(own) if row.number == twin.trial)
    assert twin.score == best.score == max(row.score or 0 for row in read_trials(own))
    assert set(twin.searched) == {"learning_rate", "unfrozen_depth"}
    assert "of each baseline the stronger counts, inherited or tuned" in result.verdict
    said = "\n".join(notes(result))
    assert "source_only_tuned, adabn_tuned: each the best recipe of a search of its own" in said
    assert "of 2 trials" in said and "source_only, adabn inherit it untuned" in said
    frame = result.to_frame()
    assert frame.loc["adabn_tuned", "tuned_trials"] == 2
    assert np.isnan(frame.loc["adabn", "tuned_trials"])
    assert "source_only_tuned &" in (tiny.compare / "comparison.tex").read_text().replace(
        r"\_", "_"
    )

    lines.clear()
    hidden = labels  # there already
    again = compare(tiny, train_here, methods=names, seeds=2, tuning=tuning)
    assert again == result
    assert lines == [f"{'tuning source_only, adabn: 2 searches, 4 trials, of which 0 are still'} "
                     "to run; then at most 12 trainings, 2 of each recipe"]  # fmt: skip


def test_a_search_that_was_cut_off_goes_on_and_a_larger_one_adds_to_it(
    tiny: ExperimentFolder,
) -> None:
    lines: list[str] = []
    (one,) = searches_of(tiny, ["source_only"]).values()

    class Cut(InProcessExecutor):
        def follow(self, search, observers, fleet, budget):  # type: ignore[no-untyped-def]
            threading.Timer(0.0, search.interrupt.set).start()
            return super().follow(search, observers, fleet, budget)

    run = partial(search_baselines, [one], tell=lines.append, again="compare small --tune 2")
    with pytest.raises(KeyboardInterrupt, match=r"0 of 1 searches are done; .*compare small"):
        run(executor=Cut())
    assert one.missing() > 0
    run(executor=InProcessExecutor())
    assert one.missing() == 0
    before = {row.number: row.score for row in read_trials(one.folder)}
    assert len(before) == 2
    (more,) = searches_of(tiny, ["source_only"], trials=3).values()
    assert more.folder == one.folder and more.missing() == 1
    search_baselines([more], executor=InProcessExecutor(), tell=lines.append, again="")
    after = {row.number: row.score for row in read_search(more.folder).rows}
    assert len(after) == 3 and after.items() >= before.items()
    (fewer,) = searches_of(tiny, ["source_only"]).values()
    assert fewer.missing() == 0
    assert not list(more.folder.trials.glob("*/last.safetensors"))  # nothing continues from them


def test_a_search_of_no_trial_is_refused(tiny: ExperimentFolder) -> None:
    with pytest.raises(InputError, match="--tune needs at least 1 trial, got 0"):
        searches_of(tiny, ["source_only"], trials=0)


def test_a_recipe_of_a_search_is_one_of_its_baseline(tiny: ExperimentFolder) -> None:
    found = searches_of(tiny, ["frozen_features", "lambda_0"])
    search_baselines(
        list(found.values()), executor=InProcessExecutor(), tell=lambda line: None, again=""
    )
    for name, fields in (
        ("frozen_features", {"method": "source_only", "unfrozen_depth": 0}),
        ("lambda_0", {"method": "dann", "lambda_max": 0.0}),
    ):
        for row in read_trials(found[name].folder):
            assert TrialConfig(**row.config).model_dump(include=set(fields)) == fields
