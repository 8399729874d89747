"""The best model as two files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dann_search import load_model
from dann_search.config.trial import TrialConfig
from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError, RunError
from dann_search.layout import ExperimentFolder
from dann_search.models.build import build_network
from dann_search.models.catalog import CATALOG
from dann_search.results.best import write_best
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import read_trials
from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network
from dann_search.training.predict import predict_logits


def test_the_model_predicts_exactly_as_the_trained_network(experiment: ExperimentFolder) -> None:
    first = ranked(read_trials(experiment))[0]
    config = TrialConfig(**first.config)
    network = build_network(config, 10)
    path = experiment.trial(first.number) / BEST
    restore_network(network, load_checkpoint(path), path)
    images = as_tensor(experiment.data, "target", "val")
    expected = predict_logits(network, images, CATALOG["dann_cnn"], 16, torch.device("cpu"))
    model = load_model(write_best(experiment).folder)
    with torch.no_grad():
        assert torch.equal(model(images), expected)


def test_the_model_needs_nothing_but_its_two_files(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    images = as_tensor(experiment.data, "target", "val")[:8].clone()
    out = tmp_path / "model"
    write_best(experiment, out=out)
    shutil.rmtree(experiment.root)
    model = load_model(out)
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "model.json"}
    found = model.predict(images)
    assert len(found) == 8
    for one in found:
        assert one.label in model.class_names
        assert one.probability == max(one.probabilities.values())
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_paths_pillow_images_and_tensors_are_classified_alike(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    model = load_model(write_best(experiment).folder)
    tensor = as_tensor(experiment.data, "target", "val")[:3]
    pictures = [Image.fromarray(np.asarray(row).transpose(1, 2, 0)) for row in tensor]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    assert model.predict(tensor) == model.predict(pictures) == model.predict(paths)


def test_the_record_says_what_the_model_is(experiment: ExperimentFolder) -> None:
    first = ranked(read_trials(experiment))[0]
    record = json.loads((write_best(experiment).folder / "model.json").read_text())
    assert record["trial"] == first.number and record["epoch"] == first.best_epoch
    assert record["class_names"] == [str(digit) for digit in range(10)]
    assert record["config"] == first.config and record["searched"] == first.params
    assert record["validation"]["f1_macro_val"] == first.f1_macro_val
    assert record["seeds"] == {"training": 0, "splits": 0}
    assert record["preprocessing"]["image_size"] == 16
    assert record["versions"]["torch"] == torch.__version__.split("+")[0] or record["versions"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"rank": 4}, "rank 4 of 3 finished trials"),
        ({"trial": 9}, "no trial 9; there are 0 to 3"),
        ({"trial": 3}, "trial 3 is failed and has no model"),
    ],
)
def test_a_trial_without_a_model_is_refused(
    experiment: ExperimentFolder, choice: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_best(experiment, **choice)  # type: ignore[arg-type]


def test_a_rank_or_a_number_chooses_the_trial(experiment: ExperimentFolder, tmp_path: Path) -> None:
    rows = ranked(read_trials(experiment))
    second = write_best(experiment, rank=2, out=tmp_path / "second")
    stopped = write_best(experiment, trial=1, out=tmp_path / "stopped")
    assert second.record["trial"] == rows[1].number
    assert stopped.record["trial"] == 1


def test_a_torn_checkpoint_is_named(experiment: ExperimentFolder) -> None:
    path = experiment.trial(ranked(read_trials(experiment))[0].number) / BEST
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=BEST):
        write_best(experiment)


def test_a_model_of_a_newer_version_or_without_a_file_is_refused(
    experiment: ExperimentFolder,
) -> None:
    folder = write_best(experiment).folder
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(InputError, match="newer dann-search"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        load_model(folder)


def test_loading_a_model_loads_neither_ray_nor_optuna(experiment: ExperimentFolder) -> None:
    import subprocess
    import sys

    folder = write_best(experiment).folder
    code = (
        "import sys; from dann_search import load_model; "
        f"load_model({str(folder)!r}); assert not {{'ray', 'optuna'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_images_of_the_wrong_shape_or_type_are_refused(experiment: ExperimentFolder) -> None:
    model = load_model(write_best(experiment).folder)
    with pytest.raises(InputError, match="uint8"):
        model.predict(torch.zeros(1, 3, 16, 16))
