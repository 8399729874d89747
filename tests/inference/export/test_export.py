"""What every export shares: the same answers as the model, all or nothing, a card."""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dann_search.cli import main
from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError, RunError
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.inference.best import weights_of, write_best
from dann_search.inference.export import safetensors_folder, standalone
from dann_search.inference.export.export import FORMATS, export_model
from dann_search.inference.model import load_model
from dann_search.inference.model_files import FORMAT, write_model
from dann_search.storage.layout import ExperimentFolder
from tests.inference.models import random_model, write_random_model
from tests.json_output import printed

SHARED = Path(os.environ.get("DANN_SHARED_DATA") or Path(__file__).parents[4] / "shared/data")

FILES = {
    "safetensors": {"model.safetensors", "model.py"},
    "onnx": {"model.onnx", "image_pixels.py"},
    "torch": {"model.pt2", "image_pixels.py"},
    "hf": {"model.safetensors", "model.py", "config.json"},
}


def run_onnx(folder: Path, images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    outputs: list[np.ndarray[Any, Any]] = session.run(None, {"images": images.numpy()})
    return outputs


def run_torch(folder: Path, images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    program = torch.export.load(folder / "model.pt2").module()
    with torch.no_grad():
        return [output.numpy() for output in program(images)]


@pytest.mark.parametrize(("format_", "run"), [("onnx", run_onnx), ("torch", run_torch)])
def test_an_exported_program_agrees_with_the_model_on_all_test_images(
    experiment: ExperimentFolder,
    format_: str,
    run: Callable[[Path, torch.Tensor], list[np.ndarray[Any, Any]]],
) -> None:
    evaluate_target(experiment.root, calibrated=True)
    model = load_model(experiment.best)
    result = export_model(experiment.root, format_)
    images = as_tensor(experiment.data, "target", "test").clone()
    probabilities, logits = run(result.folder, images)
    with torch.no_grad():
        expected = model.probabilities(images).numpy()
        assert np.abs(logits - model(images).numpy()).max() < 1e-4
    assert (probabilities.argmax(1) == expected.argmax(1)).all()
    assert np.abs(probabilities - expected).max() < 1e-5
    # Calibrated, and of any batch size.
    assert model.temperature != 1
    assert run(result.folder, images[:1])[0].shape == (1, 10)


def test_an_export_is_described_and_verified_on_the_validation_images(
    experiment: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(experiment.root), "--format", "safetensors", "--json"]
    assert main(words) == 0
    content = printed("export", capsys.readouterr().out)
    folder = experiment.best / "export" / "safetensors"
    assert content["export"] == str(folder)
    assert content["model"] == str(experiment.best)
    names = FILES["safetensors"] | {"model.json", "README.md"}
    assert {Path(name).name for name in content["files"]} == names == set(os.listdir(folder))
    check = content["verification"]
    val = len(as_tensor(experiment.data, "target", "val"))
    assert check["images"] == check["top1_agree"] == val + 16
    assert check["of"] == f"images ({val} target val images; 16 odd files)"
    assert check["max_difference"] <= 1e-5 < check["tolerance"]
    record = json.loads((folder / "model.json").read_text())
    assert record["export"]["verification"] == check
    assert record["trial"] == content["trial"]
    # It goes to others, whom the way to the experiment tells nothing but a user's name.
    assert str(experiment.root) not in json.dumps(record)
    card = (folder / "README.md").read_text()
    assert "from model import load" in card and "top-1 agrees on" in card
    assert "needs dann-search" not in card.lower()


def test_an_export_that_answers_otherwise_is_refused_and_gone(
    experiment: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_of = safetensors_folder._native_state

    def damaged(model: Any) -> dict[str, torch.Tensor]:
        state = state_of(model)
        return state | {"classifier.weight": state["classifier.weight"] * 1.01}

    monkeypatch.setattr(safetensors_folder, "_native_state", damaged)
    with pytest.raises(RunError, match=r"differs from its model.*tolerance 1e-04.*nothing was"):
        export_model(experiment.root, "safetensors")
    assert list((experiment.best / "export").iterdir()) == []


def test_what_exists_is_replaced_by_force_alone_and_only_if_it_is_an_export(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is no obstacle
    export_model(experiment.root, "safetensors", out=out)
    with pytest.raises(InputError, match="exists; replace it with --force"):
        export_model(experiment.root, "safetensors", out=out)
    (out / "note.txt").touch()
    export_model(experiment.root, "safetensors", out=out, force=True)
    assert not (out / "note.txt").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    with pytest.raises(InputError, match="exists and is not an export"):
        export_model(experiment.root, "safetensors", out=precious, force=True)
    assert (precious / "thesis.tex").exists()


def test_an_export_of_an_experiment_behind_a_url_is_put_there(
    experiment: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.put(str(experiment.root), "/exported/small", recursive=True)
    url = "memory://exported/small"
    result = export_model(url, "safetensors")
    there = {Path(name).name for name in files.ls("/exported/small/best/export/safetensors", False)}
    assert there == FILES["safetensors"] | {"model.json", "README.md"}
    # Its folder here is a copy: what is written into it belongs to the experiment all the same.
    evaluate_target(result.model)
    assert files.exists("/exported/small/best/evaluation.json")
    outside = write_best(url, out=tmp_path / "outside").folder
    assert load_model(outside).record["experiment_place"] == url
    assert evaluate_target(outside).f1_macro == evaluate_target(url).f1_macro
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="exists; replace it with --force"):
        export_model(url, "safetensors")
    files.rm("/exported", recursive=True)


def test_a_model_outside_of_its_experiment_is_verified_on_images_given_or_synthetic(
    tmp_path: Path,
) -> None:
    folder = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    result = export_model(folder, "safetensors")
    assert "64 synthetic images, --images FOLDER for real ones;" in result.verification.of
    assert result.verification.images == 64 + 16
    with pytest.raises(InputError, match="no image in it"):
        export_model(folder, "safetensors", images=tmp_path / "model", force=True)


def test_an_export_is_no_model_to_evaluate_or_export_again(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    export_model(experiment.root, "safetensors", out=tmp_path / "out")
    for use in (load_model, evaluate_target, lambda f: export_model(f, "torch")):
        with pytest.raises(InputError, match=r"an export \(safetensors\)"):
            use(tmp_path / "out")


def test_an_unknown_format_and_a_missing_package_are_said(
    experiment: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="did you mean 'onnx'"):
        export_model(experiment.root, "onx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'dann-search\[onnx\]'"):
        export_model(experiment.root, "onnx")


def test_formats_are_those_of_the_interface() -> None:
    assert {name: set(kind.files) for name, kind in FORMATS.items()} == FILES
    assert standalone.NEWEST_FORMAT == FORMAT  # the loader reads what it is shipped with


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real images at {SHARED}")
@pytest.mark.parametrize(
    "format_", ["safetensors", "torch", pytest.param("onnx", marks=pytest.mark.scenario)]
)
def test_a_network_with_real_weights_answers_alike_on_photographs(
    tmp_path: Path, format_: str
) -> None:
    photos = tmp_path / "photos"
    with tarfile.open(SHARED / "office_caltech_10.tar") as archive:
        members = [m for m in archive if "/webcam/" in m.name and m.isfile()]
        archive.extractall(photos, members[::15], filter="data")
    model = random_model("timm/efficientnet_lite0", side=128)
    state = load_file(SHARED / "efficientnet_lite0.timm.safetensors")
    names = {f"backbone.network.{name}": value for name, value in state.items()}
    left = model.network.load_state_dict(names, strict=False)
    assert all(name.startswith(("bottleneck.", "classifier.")) for name in left.missing_keys)
    write_model(tmp_path / "model", weights_of(model.network), model.record)
    result = export_model(tmp_path / "model", format_, images=photos).verification
    assert result.top1_agree == result.images == len(members[::15]) + 16 > 31
    assert result.max_difference < 1e-5


def test_images_packed_larger_than_the_network_sees_them_are_no_obstacle(
    experiment: ExperimentFolder,
) -> None:
    record = json.loads(write_best(experiment).record.read_text())
    record["preprocessing"]["image_size"] = 20
    (experiment.best / "model.json").write_text(json.dumps(record))
    assert export_model(experiment.root, "safetensors").verification.max_difference < 1e-5
