"""The commands that run an experiment again."""

import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts
from dann_search.report.reproduce import reproduction
from dann_search.results.rows import TrialRow
from tests.experiments import space_file


@pytest.mark.parametrize("stated", ["auto", "fp32"])
def test_the_best_trial_is_trained_again_in_its_own_precision(tmp_path: Path, stated: str) -> None:
    file = space_file(tmp_path, training__precision=stated)
    experiment, space = load_experiment(file, stage_counts())
    had = "bf16" if stated == "auto" else stated
    config = space.fixed.model_copy(update={"precision": had}).model_dump()
    best = TrialRow(0, "completed", 0.5, 0.5, {}, 1, 1, config, {"learning_rate": 0.1}, None)
    words = shlex.split(reproduction(experiment, best, 3).winner)
    sets = [word for before, word in pairwise(words) if before == "--set"]
    again, _ = load_experiment(file, stage_counts(), sets=sets)
    assert again.fixed.precision == had
