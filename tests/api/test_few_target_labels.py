"""A search with a few labelled target images, from its file to its comparison; no Ray."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dann_search.api.launching import _header
from dann_search.cli import main
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.target_has_labels import fitted_to_target
from dann_search.evaluation.compare import compare
from dann_search.evaluation.comparison import notes
from dann_search.inference.best import write_best
from dann_search.inference.export.export import export_model
from dann_search.inference.model import load_model
from dann_search.inference.refit import write_refit
from dann_search.models.network import DannNetwork
from dann_search.models.registry import stage_counts
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store
from tests.experiments import run_search, tiny_space_file, write_tiny_images
from tests.in_process import InProcessExecutor
from tests.json_output import printed
from tests.train_here import train_here


def write_file(root: Path, **changes: Any) -> Path:
    """Three classes of five images; two of the three that train are labelled."""
    images = write_tiny_images(root / "images", each=5)
    target = {"folder": str(images / "target"), "labels": {"train": 2}}
    own = {"data__target": target, "training__epochs": 2, "training__method": "mme"}
    space = {"learning_rate": {"loguniform": [0.01, 0.1]}, "lambda_max": {"uniform": [0.1, 0.2]}}
    return tiny_space_file(root, images, **own, search__trials=2, space=space, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """Two trials of two epochs of MME; read only."""
    path = write_file(tmp_path_factory.mktemp("few"))
    return run_search(path, executor=InProcessExecutor())[0].folder


@pytest.fixture
def folder(finished: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    """A copy that a test may change."""
    shutil.copytree(finished.root, tmp_path / "tiny")
    return ExperimentFolder(tmp_path / "tiny")


def test_the_header_says_how_many_labels_are_trained_on(finished: ExperimentFolder) -> None:
    info = recorded_store(finished)
    header = _header(info, "f1_macro", "2 slots", [])
    assert "6 labelled target images (2 a class) and 3 unlabelled ones" in header
    assert "3 target labels choose the model" in header
    uneven = replace(info, few_labels=[0, 2, 2], target_labelled=False)
    header = _header(uneven, "bnm", "2 slots", [])
    assert "4 labelled target images (0 to 2 a class) and 5 unlabelled ones" in header
    assert "the target has no other labels: bnm chooses the model" in header


def test_space_says_which_labels_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_file(tmp_path)
    assert main(["space", str(path), "--samples", "0"]) == 0
    said = capsys.readouterr().out
    assert "labels of the target's training images trained on: 2 a class" in said
    assert main(["space", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["few_labels"] == "2 a class"


def test_a_model_says_so_and_predicts_as_the_network_it_was(folder: ExperimentFolder) -> None:
    place = write_best(folder).folder
    record = json.loads((place / "model.json").read_text())
    assert record["data"]["few_labels"] == [2, 2, 2]
    card = (place / "README.md").read_text()
    assert "6 trained on (2 a class), the others never read" in card
    model = load_model(place)
    assert "classifier.bias" not in model.network.state_dict()
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    for kind in ("safetensors", "torch"):
        written = export_model(place, format=kind)
        assert written.verification.max_difference < 1e-4
    # Longer features change nothing: they are compared by direction.
    network = model.network
    assert isinstance(network, DannNetwork)
    features = network.features(torch.rand(4, 3, 32, 32))
    torch.testing.assert_close(network.classifier(2 * features), network.classifier(features))
    assert len(model.predict(images)) == 4


def test_a_refit_learns_from_no_label_more(folder: ExperimentFolder) -> None:
    record = json.loads((write_refit(folder, train_here).folder / "model.json").read_text())
    said = "target train and val without labels but 6 labelled images of target train"
    assert record["refit"]["trained_on"] == ["source train and val", said]


def test_baselines_tell_labels_from_adaptation(
    folder: ExperimentFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["mme", "source_only", "source_plus_few", "target_few", "adabn"]
    result = compare(folder, train_here, methods=names, seeds=2)
    assert printed("compare", result.model_dump_json()) == result.model_dump(mode="json")
    runs = {name: one.runs[0].rsplit("-", 2)[0] for name, one in result.methods.items()}
    assert runs == {name: name for name in names}
    assert "source_plus_few" in result.verdict and "source_only" not in result.verdict
    part = result.methods["source_plus_few"].part
    assert part and part.over == "source_only"
    assert result.fairness.few_labels == [2, 2, 2]
    said = "6 labels of target train (2 a class) were trained on by all but source_only"
    assert said in notes(result)
    assert not folder.few_data.exists()


def test_they_are_among_the_methods_by_default(folder: ExperimentFolder) -> None:
    from dann_search.evaluation.baselines import default_methods

    winner = TrialConfig(backbone="dann_cnn", method="mme")
    with_few, without = (default_methods(winner, {}, few) for few in (True, False))
    assert with_few[:5] == ["mme", "source_only", "source_plus_few", "target_few", "adabn"]
    assert [name for name in with_few if name not in without] == ["source_plus_few", "target_few"]


def test_a_file_may_name_a_folder_beside_itself(tmp_path: Path) -> None:
    path = write_file(tmp_path)
    (tmp_path / "shown").mkdir()
    text = path.read_text().replace("train: 2", "folder: shown")
    path.write_text(text)
    experiment, _ = load_experiment(path, stage_counts())
    labels = experiment.data.target.labels
    assert labels is not None and labels.folder == tmp_path / "shown"
    assert fitted_to_target(experiment)[1]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["data.target.labels={folder: nowhere}"], "no such folder"),
        (["data.target.labels={train: 0}"], "data.target.labels.train"),
        (["data.target.labels={train: few}"], "data.target.labels.train"),
        (["data.target.labels={tran: 3}"], "did you mean 'train'"),
        (["data.target.labels=null", "training.method=source_plus_few"], "source_plus_few needs"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sets: list[str], message: str
) -> None:
    options = [word for one in sets for word in ("--set", one)]
    assert main(["launch", str(write_file(tmp_path)), *options]) == 2
    said = capsys.readouterr().err
    print(said)
    assert message in said and "Traceback" not in said
