"""The soak says what grew and what is wrong; a short one runs for real."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.faulty import run, space_of
from tests.faults.soak import Sample, inexact, soak, table


def samples(**growth: float) -> list[Sample]:
    """Forty samples of a driver, one every ten trials."""
    usual = {"MB": 100.0, "descriptors": 40.0, "threads": 20.0}
    return [
        Sample(
            at_s=n,
            trials=10 * n,
            figures={("driver", what): v + n * growth.get(what, 0) for what, v in usual.items()},
        )
        for n in range(40)
    ]


def test_only_what_grows_is_named() -> None:
    assert table(samples())[1] == []
    assert table(samples(MB=0.2))[1] == []  # two megabytes in a hundred trials: Python's own
    assert table(samples(MB=2))[1] == ["driver, MB: 129.0 to 169.0"]
    lines, grew = table(samples(descriptors=1, threads=0.5))
    assert [line.partition(":")[0] for line in grew] == ["driver, descriptors", "driver, threads"]
    assert next(line for line in lines if "descriptors" in line).split()[-1] == "0.1000"


def test_a_study_with_another_number_or_without_a_trial_is_not_exact(
    tmp_path: Path, tiny_images: Path
) -> None:
    folder = run(space_of(tmp_path, tiny_images)).folder
    assert inexact(folder, 1, tmp_path / "first", seed=0) == []
    with closing(sqlite3.connect(folder.study)) as study:
        study.execute("UPDATE trial_intermediate_values SET intermediate_value = 0.123")
        study.execute("UPDATE trials SET state = 'FAIL' WHERE number = 1")
        study.commit()
    wrong = inexact(folder, 9, tmp_path / "second", seed=0)
    assert "states: " in wrong[0] and "'FAIL': 1" in wrong[0]
    assert sorted(wrong[1:]) == ["trial 0 has other numbers", "trial 2 has other numbers"]


@pytest.mark.ray
@pytest.mark.scenario
def test_a_short_soak_ends_with_an_exact_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DANN_TEST_FULL", "PYTHONPATH"):  # back after the test
        monkeypatch.setenv(name, os.environ.get(name, ""))
    measured, faults, folder, ended = soak(tmp_path, trials=12, every_s=1.0, seed=3)
    assert ended and faults
    assert inexact(folder, 3, tmp_path / "again", seed=3) == []
    seen = {whose for one in measured for whose, _ in one.figures}
    assert {"driver", "dispatcher", "raylet", "GCS"} <= seen
