"""Files that a kill, a disk or a wrong clock spoils: told, or mended to the same numbers."""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_trials
from dann_search.results.status import status
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.open_study import open_study
from tests.experiments import run_search, study_trials
from tests.faults.faulty import (
    EPOCHS,
    TRIALS,
    Deaths,
    Histories,
    Interrupted,
    histories,
    run,
    space_of,
    undisturbed,
)

__all__ = ["undisturbed"]

SEEDS = range(int(os.environ.get("DANN_TEST_SEEDS", "1")))
"""Twenty by ``DANN_TEST_SEEDS=20``."""


def spoiled(content: bytes, rng: random.Random) -> bytes:
    """Return what a crash or a bad disk leaves: a piece, zeros, one wrong bit, or many."""
    kind, spoilt = rng.choice(["torn", "zeros", "bit", "bits"]), bytearray(content)
    place = rng.randrange(len(content))
    if kind == "torn":
        return content[:place]
    if kind == "zeros":
        spoilt[place : place + 4096] = bytes(len(spoilt[place : place + 4096]))
    for _ in range({"bit": 1, "bits": 200}.get(kind, 0)):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_checkpoint_changes_no_number(
    seed: int, tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    rng, path = random.Random(seed), space_of(tmp_path, tiny_images)
    run_search(path, executor=Interrupted(after=rng.randint(1, TRIALS * EPOCHS - 4)))
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    files = [*folder.trials.glob("*/last.safetensors"), *folder.trials.glob("*/previous.*")]
    for file in files:
        if rng.random() < 0.7:
            file.write_bytes(spoiled(file.read_bytes(), rng))
    run(path)
    assert histories(folder) == undisturbed


@pytest.fixture(scope="module")
def searched_whole(tmp_path_factory: pytest.TempPathFactory, tiny_images: Path) -> Path:
    """The experiment file of a finished search."""
    path = space_of(tmp_path_factory.mktemp("whole"), tiny_images)
    run(path)
    return path


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_study_is_said_and_left_as_it_is(
    seed: int, searched_whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, space = load_experiment(searched_whole, stage_counts())
    folder = ExperimentFolder.at(experiment.place)
    whole = folder.study.read_bytes()
    rng = random.Random(seed)
    try:
        folder.study.write_bytes(damaged := spoiled(whole, rng))
        for use in (
            lambda: status(folder),
            lambda: read_trials(folder),
            lambda: open_study(experiment, space, folder, (), False),
        ):
            try:
                use()
            except InputError as exc:
                assert str(folder.study) in str(exc)
                assert "during the commit" not in str(exc)
        assert folder.study.read_bytes() == damaged
    finally:
        folder.study.write_bytes(whole)


def test_a_study_whose_pages_are_swapped_ends_a_resume_before_it_begins(
    searched_whole: Path,
) -> None:
    experiment, space = load_experiment(searched_whole, stage_counts())
    folder = ExperimentFolder.at(experiment.place)
    whole = folder.study.read_bytes()
    try:
        folder.study.write_bytes(whole[:8192] + whole[12288:16384] + whole[8192:12288])
        with pytest.raises(InputError, match=r"study\.db (is damaged|cannot be read): "):
            open_study(experiment, space, folder, (), False)
    finally:
        folder.study.write_bytes(whole)


def write_until(folder: Path, left: int) -> None:
    """Write the best model; be killed at an opening or renaming of a file in it."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.remove") and str(folder / "best") in str(arguments):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    write_best(folder)
    os._exit(0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_while_the_best_model_is_written(
    seed: int, searched_whole: Path, tmp_path: Path
) -> None:
    before = load_experiment(searched_whole, stage_counts())[0].place
    folder = ExperimentFolder(tmp_path / "tiny")
    shutil.copytree(before, folder.root)
    if seed % 2:  # another model is there
        write_best(folder)
        (folder.best / "model.safetensors").write_bytes(b"of another trial")
    writer = multiprocessing.get_context("fork").Process(
        target=write_until, args=(folder.root, random.Random(seed).randint(1, 14))
    )
    writer.start()
    writer.join()
    assert writer.exitcode in (0, -signal.SIGKILL)
    written = write_best(folder)
    again = write_best(folder, out=tmp_path / "beside")
    assert written.model.read_bytes() == again.model.read_bytes()
    names = {"model.safetensors", "model.json", "README.md"}
    assert {file.name for file in folder.best.iterdir()} == names


@pytest.mark.parametrize("seed", SEEDS)
def test_clocks_that_jump_change_no_number(
    seed: int,
    tmp_path: Path,
    tiny_images: Path,
    undisturbed: Histories,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, clock = random.Random(seed), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + rng.uniform(-1, 1) * 10**6)
    path = space_of(tmp_path, tiny_images, search__budget={"hours": 1})
    outcome = run(path, Deaths(seed))
    assert outcome.stopped_by == "trials"
    assert histories(outcome.folder) == undisturbed
    assert len(study_trials(outcome.folder)) == TRIALS
