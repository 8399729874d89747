"""Compare from Python and the command line, with its trainings in this process."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dann_search.api import retraining
from dann_search.config.experiment import ExperimentConfig
from dann_search.search.ray_session import quiet_output
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.job import Failures, TrainingJob
from tests.train_here import train_here


def train_quietly(
    jobs: Sequence[TrainingJob],
    experiment: ExperimentConfig,
    *,
    logs: Path,
    progress: Callable[[str], None] | None,
    **_: Any,
) -> Failures:
    """As in worker groups: all output but progress goes to the log."""
    with quiet_output(logs / "driver.log") as terminal:
        return train_here(jobs, experiment, progress or partial(print, file=terminal))


def test_each_training_and_the_scoring_are_told(
    tiny: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retraining, "train_through_ray", train_quietly)
    # As in a terminal: pytest's own does not write to descriptor 2, which training redirects.
    monkeypatch.setattr(sys, "stderr", open(2, "w", buffering=1, closefd=False))  # noqa: SIM115
    retraining.compare(str(tiny.root), methods=["dann"], seeds=2)
    told = capfd.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told[:-1]] == ["trained dann"] * 2
    assert told[-1] == "scoring 2 runs on the target's test split"
    lines: list[str] = []
    retraining.compare(str(tiny.root), methods=["dann"], seeds=2, progress=lines.append)
    assert lines[0] == "2 of 2 trainings are there from before" and lines[1:] == told[-1:]
    assert capfd.readouterr().err == ""
