"""What gc takes away and what it leaves."""

import pytest

from dann_search.data.target_labels import write_supervised_store
from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.results.clean_up import clean_up
from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_experiment, read_trials
from dann_search.storage.compare_lock import alone
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder


def test_lesser_models_checkpoints_and_logs_go_and_the_best_can_still_be_had(
    experiment: ExperimentFolder,
) -> None:
    (experiment.ray / "tune").mkdir(parents=True)
    (experiment.ray / "driver.log").write_bytes(b"x" * 1000)
    (experiment.ray / "tune" / "trial.log").write_bytes(b"x" * 1000)
    (experiment.data / "features").mkdir()
    (experiment.data / "features" / "a.npy").write_bytes(b"x" * 1000)
    rows = read_trials(experiment)
    (best, *others) = [row.number for row in finished(rows)]
    experiment.trial_record(others[0]).unlink()  # of an older version: its epochs stay
    before = {path: path.stat().st_size for path in experiment.root.rglob("*") if path.is_file()}

    told = clean_up(experiment, keep=1, dry_run=True)
    assert {p: p.stat().st_size for p in experiment.root.rglob("*") if p.is_file()} == before
    done = clean_up(experiment, keep=1)
    after = {path for path in experiment.root.rglob("*") if path.is_file()}
    gone = set(before) - after
    assert (done.files, done.bytes) == (len(gone), sum(before[path] for path in gone))
    assert (told.files, told.bytes) == (done.files, done.bytes)
    assert told.kept == done.kept == [best]
    assert {path.name for path in experiment.trial(best).iterdir()} == {
        "best.safetensors",
        "trial.json",
    }
    for number in others:
        assert not list(experiment.trial(number).glob("best.safetensors"))
    assert (experiment.trial(others[0]) / "last.safetensors").exists()
    assert not [path for path in after if path.is_relative_to(experiment.ray)]
    assert not (experiment.data / "features").exists()
    assert read_trials(experiment) == rows
    assert write_best(experiment).trial == best
    assert clean_up(experiment, keep=1).files == 0


def files_of(folder: ExperimentFolder, number: int) -> set[str]:
    return {path.name for path in folder.trial(number).iterdir()}


def test_from_a_running_search_only_what_it_cannot_need_is_taken(
    experiment: ExperimentFolder,
) -> None:
    experiment.ray.mkdir(exist_ok=True)
    (experiment.ray / "driver.log").write_bytes(b"x")
    (experiment.data / "features").mkdir()
    (experiment.data / "features" / "a.npy").write_bytes(b"x")
    rows = read_trials(experiment)
    over = [row.number for row in rows if row.state in ("completed", "pruned")]
    before = {number: files_of(experiment, number) for number in over}
    running = experiment.trial(len(rows))
    running.mkdir()
    for name in (".best.safetensors.77", "last.safetensors", "best.safetensors"):
        (running / name).touch()
    (experiment.trial(over[0]) / ".last.safetensors.77").touch()
    with DriverLock(experiment):
        # As many models as the search keeps itself.
        assert clean_up(experiment, keep=1).kept == [row.number for row in finished(rows)]
    to_go_on = {"last.safetensors", "previous.safetensors"}
    for number in over:
        assert files_of(experiment, number) == before[number] - to_go_on
    assert len(list(running.iterdir())) == 3
    assert (experiment.ray / "driver.log").exists()
    assert (experiment.data / "features" / "a.npy").exists()
    clean_up(experiment, keep=1)
    assert not list(experiment.trials.glob("*/.*"))


def test_labels_that_a_killed_comparison_left_go_but_not_those_of_a_running_one(
    experiment: ExperimentFolder,
) -> None:
    clean_up(experiment)
    config = read_experiment(experiment).data
    with write_supervised_store(config, experiment.data, experiment.supervised_data) as store:
        labels = store / "source.train.labels.npy"
        with alone(experiment), pytest.raises(InputError, match="a comparison is already running"):
            clean_up(experiment)
        size = labels.stat().st_size + (store / "store.json").stat().st_size
        told = clean_up(experiment, dry_run=True)
        assert labels.exists() and (told.files, told.bytes) == (2, size)
        # The process is gone, and nobody closes the store.
        assert clean_up(experiment).bytes == size
        assert not experiment.supervised_data.exists() and experiment.data.exists()
        assert clean_up(experiment).files == 0
    assert (experiment.data / "target.train.images.npy").exists()
