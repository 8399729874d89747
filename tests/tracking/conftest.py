"""A space, and one recipe of it."""

from pathlib import Path

import pytest

from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from tests.experiments import space_file


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return load_experiment(space_file(tmp_path), stage_counts())[1]


@pytest.fixture
def recipe(space: Space) -> TrialConfig:
    return space.fixed.model_copy(update={"unfrozen_depth": 2})
