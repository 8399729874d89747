"""The winner's recipe on train and val together."""

import errno
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from dann_search import load_model
from dann_search.cli import main
from dann_search.config.experiment import ExperimentConfig
from dann_search.data.derived_store import write_joined_store
from dann_search.data.store import open_images, open_labels, read_info
from dann_search.data.training_data import as_tensor, open_training_data
from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.inference.model_files import WEIGHTS
from dann_search.inference.refit import write_refit
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import load_last
from dann_search.training.job import Failures, TrainingJob
from dann_search.training.loop import train
from tests.finished_experiment import search_here
from tests.json_output import printed
from tests.train_here import train_here


def test_the_joined_store_holds_both_splits_and_no_label_of_the_target_to_train_on(
    tiny: ExperimentFolder, tmp_path: Path
) -> None:
    store, info = tiny.data, read_info(tiny.data)
    with write_joined_store(store, tmp_path / "joined") as joined:
        for role in ("source", "target"):
            parts = [open_images(store, role, split) for split in ("train", "val")]
            assert (open_images(joined, role, "train") == np.concatenate(parts)).all()
            assert read_info(joined).sizes[role]["train"] == sum(map(len, parts))
        labels = [open_labels(store, "source", split) for split in ("train", "val")]
        assert (open_labels(joined, "source", "train") == np.concatenate(labels)).all()
        data = open_training_data(joined)
        assert len(data.val_images) == info.sizes["target"]["val"]
        names = {path.name for path in joined.iterdir()}
        assert "target.train.labels.npy" not in names
        assert not any("test" in name for name in names)
    assert not joined.exists()


def test_what_a_killed_refit_left_makes_room_for_the_next(
    tiny: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "joined" / "source.train.images.npy"
    left.parent.mkdir()
    left.write_bytes(b"x")
    usage = shutil.disk_usage(tmp_path)
    full = usage._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full if left.exists() else usage)
    with write_joined_store(tiny.data, tmp_path / "joined") as joined:
        assert joined.is_dir()


def test_a_disk_that_fills_while_splits_are_joined_is_told_with_the_file(
    tiny: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to a map of a file without room would end the process by a signal."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    full = pytest.raises(InputError, match=r"source\.train\.images\.npy: No space left")
    with full, write_joined_store(tiny.data, tmp_path / "joined"):
        pass
    assert not (tmp_path / "joined").exists()


def test_a_refit_uses_no_label_of_the_target_and_nothing_of_the_test_split(
    tiny: ExperimentFolder,
) -> None:
    first = write_refit(tiny, train_here)
    weights = (first.folder / WEIGHTS).read_bytes()
    assert first.folder == tiny.best_refit
    labels = tiny.data / "target.val.labels.npy"
    np.save(labels, np.zeros_like(np.load(labels)))
    for path in tiny.data.glob("*.test.*"):
        path.unlink()
    shutil.rmtree(tiny.refit)
    again = write_refit(tiny, train_here)
    assert (again.folder / WEIGHTS).read_bytes() == weights
    labels = tiny.data / "source.val.labels.npy"
    np.save(labels, np.zeros_like(np.load(labels)))
    shutil.rmtree(tiny.refit)
    other = write_refit(tiny, train_here)
    assert (other.folder / WEIGHTS).read_bytes() != weights


def test_the_record_says_what_was_trained_on_and_keeps_what_was_selected_on(
    tiny: ExperimentFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen, model = write_best(tiny), write_refit(tiny, train_here)
    refit = model.refit
    assert refit
    assert main(["best", str(tiny.root), "--refit", "--json"]) == 0  # trained already
    assert printed("best", capfd.readouterr().out)["refit"] == refit.model_dump()
    assert model.validation == chosen.validation
    assert model.validation_ci95 == chosen.validation_ci95
    assert refit.epochs == chosen.epoch
    assert refit.trained_on == ["source train and val", "target train and val without labels"]
    assert load_model(model.folder).record["refit"] == refit.model_dump()
    card = (tiny.best_refit / "README.md").read_text()
    assert "this one has seen them" in card
    assert f"Trained again for {chosen.epoch} epochs" in card


def test_a_refit_that_was_cut_off_ends_with_the_weights_it_would_have_had(
    tiny: ExperimentFolder, tmp_path: Path
) -> None:
    # A trial whose best epoch is its last, so that there is something left to do.
    number = next(row.number for row in read_trials(tiny) if row.best_epoch == 2)

    def cut_off(jobs: Sequence[TrainingJob], _: ExperimentConfig) -> Failures:
        (job,) = jobs
        job.folder.mkdir(parents=True)
        next(iter(train(job.config, open_training_data(job.store), job.folder)))
        raise KeyboardInterrupt

    expected = write_refit(tiny, train_here, trial=number, out=tmp_path / "whole")
    shutil.rmtree(tiny.refit)
    with pytest.raises(KeyboardInterrupt):
        write_refit(tiny, cut_off, trial=number, out=tmp_path / "cut")
    assert not (tiny.refit / "data").exists() and not (tmp_path / "cut").exists()
    lines: list[str] = []
    train_on = partial(train_here, progress=lines.append)
    found = write_refit(tiny, train_on, trial=number, out=tmp_path / "cut")
    assert (found.folder / WEIGHTS).read_bytes() == (expected.folder / WEIGHTS).read_bytes()
    assert lines == [f"trained trial {number} on train and val, 2 epochs (1 of 1)"]


def test_where_the_recipe_averages_weights_the_average_is_the_model(tmp_path: Path) -> None:
    folder = search_here(tmp_path, training__epochs=1, training__ema_decay=0.9, search__trials=1)
    model = load_model(write_refit(folder, train_here).folder)
    (trained,) = folder.refit.iterdir()
    found = load_last(trained)
    assert found is not None
    name, value = next((n, v) for n, v in found[0].average.items() if n.endswith("weight"))
    assert torch.equal(model.network.state_dict()[name], value)
    assert not torch.equal(found[0].model[name], value)
    assert model(as_tensor(folder.data, "target", "val")[:2]).shape == (2, 10)
