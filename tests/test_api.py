"""Launch and resume from Python, where no training is left to do."""

from pathlib import Path

import pytest

import dann_search
from dann_search.errors import InputError
from tests.results.conftest import search_here

WIDER = "space.learning_rate={loguniform: [0.001, 0.1]}"


def test_a_wider_space_is_resumed_only_where_it_is_allowed(tmp_path: Path) -> None:
    folder = search_here(tmp_path, training__epochs=1)
    with pytest.raises(InputError, match="accepted with --allow-wider-space"):
        dann_search.resume(folder.root, sets=[WIDER])
    result = dann_search.resume(folder.root, sets=[WIDER], allow_wider_space=True)
    assert result.outcome.counts.finished == 4
    assert list((folder.tensorboard / "best").glob("events.*"))
