"""The best trial's run: what is in it, of which images, and how large it may get."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from dann_search.cli import main
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import prepare
from dann_search.data.batches import epoch_seed, paired_batches
from dann_search.data.store import StoreInfo
from dann_search.data.training_data import TrainingData, open_training_data
from dann_search.evaluation.tensorboard_best import (
    BYTES,
    CURVES,
    POINTS,
    PicturedTrial,
    most_mistaken,
    write_best_run,
    write_run,
)
from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.epoch_steps import AUGMENT_TARGET
from dann_search.training.predict import Outputs


def read(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run))
    events.Reload()
    return events


def pixels(events: EventAccumulator, tag: str) -> np.ndarray[Any, Any]:
    (event,) = events.Images(tag)
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def test_its_curves_and_its_step_are_of_the_leaderboards_best(experiment: ExperimentFolder) -> None:
    best = finished(read_trials(experiment))[0]
    events = read(write_best_run(experiment))
    data, scores = open_training_data(experiment.data), []
    assert data.val_labels is not None
    for index, name in enumerate(data.info.class_names):
        (event,) = events.Tensors(f"class/{name}")
        assert event.step == best.best_epoch
        true, false, _, missed, *_ = make_ndarray(event.tensor_proto)
        assert true[0] == int((data.val_labels == index).sum()) and missed[0] == 0
        assert true[0] + false[0] == len(data.val_labels)
        scores.append(true[0])
    assert sum(scores) == len(data.val_labels)


def test_the_targets_test_split_is_never_opened(experiment: ExperimentFolder) -> None:
    for file in experiment.data.glob("*.test.*"):
        file.unlink()
    write_best_run(experiment)


def test_embeddings_carry_domain_label_and_prediction(experiment: ExperimentFolder) -> None:
    run = write_best_run(experiment)
    (file,) = run.glob("*/features/metadata.tsv")
    _, *rows = [line.split("\t") for line in file.read_text().splitlines()]
    data = open_training_data(experiment.data)
    assert data.val_labels is not None
    target = [row for row in rows if row[0] == "target: digits-m"]
    assert len(rows) - len(target) == len(data.source_val_images)
    assert [row[1] for row in target] == [str(label) for label in data.val_labels.tolist()]
    best = finished(read_trials(experiment))[0]
    labels, predicted = [row[1] for row in target], [row[2] for row in target]
    assert f1_score(labels, predicted, average="macro") == pytest.approx(best.f1_macro_val)
    assert {(row[1] == row[2], row[3]) for row in rows} == {(True, "True"), (False, "False")}


def test_the_augmented_batch_is_the_first_that_was_trained_on(experiment: ExperimentFolder) -> None:
    shown = pixels(read(write_best_run(experiment)), "augmented/target")
    config = TrialConfig(**finished(read_trials(experiment))[0].config)
    data = open_training_data(experiment.data)
    sizes = len(data.source_images), len(data.target_images)
    _, rows = next(paired_batches(*sizes, config.batch_size, config.seed, 1))
    generator = torch.Generator().manual_seed(epoch_seed(config.seed, 1, AUGMENT_TARGET))
    images, side = data.target_images[rows], data.info.image_size
    batch = prepare(images, side, (0.0,) * 3, (1.0,) * 3, config, generator)
    first = (batch[0] * 255).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    assert np.array_equal(shown[1 : side + 1, 1 : side + 1], first)


def test_best_on_the_command_line_renews_the_run(experiment: ExperimentFolder) -> None:
    old = experiment.tensorboard / "best" / "of an earlier best"
    old.mkdir(parents=True)
    assert main(["best", str(experiment.root), "--json"]) == 0
    assert not old.exists()
    assert read(experiment.tensorboard / "best").Tags()["images"]


def test_a_run_that_cannot_be_written_fails_nothing(
    experiment: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment.tensorboard.write_text("a file where a folder should be")
    assert main(["best", str(experiment.root)]) == 0
    captured = capsys.readouterr()
    assert "could not be shown in TensorBoard" in captured.err
    assert "dann-search best" in captured.err


def test_many_classes_large_images_and_wide_features_stay_within_the_budget(
    searched: ExperimentFolder, tmp_path: Path
) -> None:
    """Noise, which no file format makes smaller."""
    classes, side, width = 345, 96, 512
    draw = torch.Generator().manual_seed(0)

    def images(count: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, 3, side, side), generator=draw, dtype=torch.uint8)

    def outputs(count: int) -> Outputs:
        logits = torch.randn(count, classes, generator=draw)
        return Outputs(logits, torch.randn(count, width, generator=draw))

    def labels(count: int) -> torch.Tensor:
        return torch.randint(0, classes, (count,), generator=draw)

    names = [f"class number {number}" for number in range(classes)]
    info: StoreInfo = replace(open_training_data(searched.data).info, class_names=names)
    source, target = images(POINTS), images(POINTS + 200)
    best = PicturedTrial(
        number=0,
        epoch=1,
        config=TrialConfig.model_validate({"rotation_degrees": 30}),
        data=TrainingData(
            info=info,
            source_images=source,
            source_labels=labels(len(source)),
            target_images=target,
            val_images=target,
            val_labels=labels(len(target)),
            source_val_images=source,
            source_val_labels=labels(len(source)),
        ),
        side=side,
        source=outputs(POINTS),
        target=outputs(len(target)),
    )
    write_run(tmp_path / "run", best)
    size = sum(file.stat().st_size for file in (tmp_path / "run").rglob("*") if file.is_file())
    assert BYTES / 2 < size < BYTES
    tags = read(tmp_path / "run").Tags()
    assert len([tag for tag in tags["tensors"] if tag.startswith("class/")]) == CURVES
    assert "val/confusion_of_40_classes" in tags["images"]
    (file,) = (tmp_path / "run").glob("*/features/metadata.tsv")
    assert len(file.read_text().splitlines()) == 2 * POINTS + 1


def test_the_classes_shown_are_those_most_often_mistaken() -> None:
    confusion = np.array([[9, 0, 0, 0], [0, 5, 0, 3], [0, 0, 7, 1], [1, 1, 0, 6]])
    assert most_mistaken(confusion, 2).tolist() == [1, 3]
    assert most_mistaken(confusion, 9).tolist() == [0, 1, 2, 3]
