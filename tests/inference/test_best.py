"""The best model as two files."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from dann_search import load_model
from dann_search.cli import main
from dann_search.cli.model_tables import best_table
from dann_search.config.trial import TrialConfig
from dann_search.data.store import open_labels
from dann_search.data.training_data import as_tensor
from dann_search.data.views import Seen
from dann_search.errors import InputError, RunError
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.evaluation.scoring import score
from dann_search.inference.best import weights_of, write_best
from dann_search.inference.find_model import find_model
from dann_search.models.build import build_network
from dann_search.models.catalog import CATALOG
from dann_search.outputs.models import ChosenBy
from dann_search.results.leaderboard import finished, ranked
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network
from dann_search.training.predict import predict_logits
from tests.json_output import failed, printed


def test_the_model_predicts_exactly_as_the_trained_network(tiny: ExperimentFolder) -> None:
    first = ranked(read_trials(tiny))[0]
    config = TrialConfig(**first.config)
    network = build_network(config, 3)
    path = tiny.trial(first.number) / BEST
    restore_network(network, load_checkpoint(path), path)
    images = as_tensor(tiny.data, "target", "val")
    expected = predict_logits(
        network, Seen(images, 16, CATALOG["dann_cnn"].normalization, None, torch.device("cpu"))
    )
    model = load_model(write_best(tiny).folder)
    with torch.no_grad():
        assert torch.equal(model(images), expected)


@pytest.mark.parametrize("method", ["cdan_e", "mcd", "mdd"])
def test_what_only_training_needs_is_not_in_a_model(method: str) -> None:
    trained = build_network(TrialConfig(backbone="dann_cnn", method=method), 4, bare=True)
    model = build_network(TrialConfig(backbone="dann_cnn", method="source_only"), 4, bare=True)
    assert weights_of(trained).keys() == model.state_dict().keys()


def test_the_model_needs_nothing_but_its_two_files(tiny: ExperimentFolder, tmp_path: Path) -> None:
    images = as_tensor(tiny.data, "target", "val")[:8].clone()
    out = tmp_path / "model"
    write_best(tiny, out=out)
    shutil.rmtree(tiny.root)
    model = load_model(out)
    names = {path.name for path in out.iterdir()}
    assert names == {"model.safetensors", "model.json", "README.md"}
    (out / "README.md").unlink()
    found = model.predict(images)
    assert len(found) == 8
    for one in found:
        assert one.label in model.class_names
        assert one.probability == max(one.probabilities.values())
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_paths_pillow_images_and_tensors_are_classified_alike(
    tiny: ExperimentFolder, tmp_path: Path
) -> None:
    model = load_model(write_best(tiny).folder)
    tensor = as_tensor(tiny.data, "target", "val")[:3]
    pictures = [Image.fromarray(np.asarray(row).transpose(1, 2, 0)) for row in tensor]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    assert model.predict(tensor) == model.predict(pictures) == model.predict(paths)


def test_the_record_says_what_the_model_is(tiny: ExperimentFolder) -> None:
    first = ranked(read_trials(tiny))[0]
    record = json.loads((write_best(tiny).folder / "model.json").read_text())
    assert record["trial"] == first.number and record["epoch"] == first.best_epoch
    assert record["class_names"] == ["class-0", "class-1", "class-2"]
    assert record["config"] == first.config and record["searched"] == first.params
    assert record["validation"]["f1_macro_val"] == first.f1_macro_val
    assert record["seeds"] == {"training": 0, "splits": 0}
    assert record["preprocessing"]["image_size"] == 16
    assert record["versions"]["torch"] == torch.__version__.split("+")[0] or record["versions"]


def test_the_validation_metrics_have_intervals_of_the_very_images(
    tiny: ExperimentFolder,
) -> None:
    model = write_best(tiny)
    loaded = load_model(model.folder)
    with torch.no_grad():
        predicted = loaded(as_tensor(tiny.data, "target", "val")).argmax(1).numpy()
    expected = score(open_labels(tiny.data, "target", "val"), predicted, loaded.class_names, "val")
    assert model.validation
    assert model.validation.f1_macro_val == pytest.approx(expected.f1_macro)
    assert model.validation_ci95 == dict(expected.ci95)


def test_the_json_has_every_field_of_the_contract(
    tiny: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["best", str(tiny.root), "--json"]) == 0
    content = printed("best", capsys.readouterr().out)
    assert content["folder"] == str(tiny.best) and content["refit"] is None
    assert content["chosen_by"] == {
        "objective": "f1_macro", "value": content["validation"]["f1_macro_val"],
    }  # fmt: skip


def test_another_objective_ranks_completed_trials_by_their_best_epochs(
    tiny: ExperimentFolder, tmp_path: Path
) -> None:
    rows = [row for row in read_trials(tiny) if row.state == "completed"]
    worst = min(rows, key=lambda row: row.validators["entropy"])
    out = tmp_path / "model"
    model = write_best(tiny, objective="entropy", rank=len(rows), out=out)
    assert model.trial == worst.number
    value = worst.validators["entropy"]
    assert model.chosen_by == ChosenBy(objective="entropy", value=value)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(best_table(model))
    shown = console.export_text()
    assert "its epoch is the one that f1_macro, the search's objective, chose" in shown
    own = write_best(tiny, objective="f1_macro", out=out, force=True)
    assert own.trial == ranked(read_trials(tiny))[0].number


def test_what_was_measured_stays_with_the_weights_it_was_measured_of(
    tiny: ExperimentFolder,
) -> None:
    evaluate_target(tiny.root, calibrated=True)
    temperature = load_model(tiny.best).temperature
    assert load_model(write_best(tiny).folder).temperature == temperature != 1
    assert (tiny.best / "evaluation.json").exists()
    assert "| test |" in (tiny.best / "README.md").read_text()
    other = write_best(tiny, rank=2, out=tiny.best, force=True)
    assert load_model(other.folder).temperature == 1
    assert not (tiny.best / "evaluation.json").exists()
    assert not (tiny.best / "confusion.png").exists()
    assert "not evaluated on the test split yet" in (tiny.best / "README.md").read_text()


def test_another_trial_has_a_folder_of_its_own_and_best_stays_the_leaderboards_first(
    tiny: ExperimentFolder,
) -> None:
    first, second = (row.number for row in ranked(read_trials(tiny))[:2])
    assert write_best(tiny).folder == tiny.best
    before = (tiny.best / "model.safetensors").read_bytes()
    folder = write_best(tiny, rank=2).folder
    assert folder == tiny.root / "models" / f"trial-{second}"
    assert write_best(tiny, trial=second).folder == folder  # again: it is ours to replace
    assert write_best(tiny, trial=first).folder == tiny.best
    assert (tiny.best / "model.safetensors").read_bytes() == before
    assert evaluate_target(tiny.root).trial == first
    other = evaluate_target(folder)  # in the experiment, so with its test split
    assert (other.trial, other.model) == (second, str(folder))


def test_a_best_model_that_is_not_the_leaderboards_first_any_more_is_written_anew(
    tiny: ExperimentFolder,
) -> None:
    first, second = (row.number for row in ranked(read_trials(tiny))[:2])
    write_best(tiny, trial=second, out=tiny.best)  # as older versions did
    assert evaluate_target(tiny.root).trial == first
    record = json.loads((tiny.best / "model.json").read_text())
    record["refit"] = {"epochs": 2}  # as `--refit --out` may have done
    (tiny.best / "model.json").write_text(json.dumps(record))
    assert "refit" not in find_model(tiny.root).record


def test_a_best_model_that_is_not_the_first_and_cannot_be_written_anew_is_refused(
    tiny: ExperimentFolder,
) -> None:
    first, second = (row.number for row in ranked(read_trials(tiny))[:2])
    write_best(tiny, trial=second, out=tiny.best)
    (tiny.trial(first) / BEST).unlink()
    said = rf"not kept.*best holds the model of trial {second}, which may not be.*name that folder"
    with pytest.raises(InputError, match=said):
        find_model(tiny.root)
    assert find_model(tiny.best).record["trial"] == second


def test_only_a_model_is_replaced_and_only_by_force(
    tiny: ExperimentFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "project"
    mine.mkdir()
    (mine / "README.md").write_text("mine")
    words = ["best", str(tiny.root), "--out", str(mine), "--json"]
    for refused in (words, [*words, "--force"], [*words, "--refit"]):
        assert main(refused) == 2
        assert "is not a model that dann-search wrote" in failed("best", capsys.readouterr().out)
    assert [path.name for path in mine.iterdir()] == ["README.md"]
    assert (mine / "README.md").read_text() == "mine"

    model = tmp_path / "model"
    model.mkdir()  # an empty folder is no obstacle
    first = write_best(tiny, out=model).trial
    with pytest.raises(InputError, match="exists; replace it with --force"):
        write_best(tiny, rank=2, out=model)
    assert load_model(model).record["trial"] == first
    write_best(tiny, rank=2, out=model, force=True)
    assert load_model(model).record["trial"] != first


def test_models_of_the_first_format_are_read(tiny: ExperimentFolder) -> None:
    folder = write_best(tiny).folder
    record = json.loads((folder / "model.json").read_text())
    for name in ("temperature", "validation_ci95", "chosen_by"):
        del record[name]
    (folder / "model.json").write_text(json.dumps({**record, "format": 1}))
    assert load_model(folder).temperature == 1
    assert evaluate_target(folder).temperature == 1


def test_a_model_is_loaded_without_the_packages_that_brought_its_methods(
    tiny: ExperimentFolder,
) -> None:
    folder = write_best(tiny).folder
    record = json.loads((folder / "model.json").read_text())
    record["config"] |= {"method": "not_installed", "extra": "nor_this"}
    (folder / "model.json").write_text(json.dumps(record))
    assert load_model(folder).class_names == record["class_names"]


def test_the_card_says_where_labels_were_used_and_invents_no_licence(
    tiny: ExperimentFolder,
) -> None:
    write_best(tiny)
    card = (tiny.best / "README.md").read_text()
    rows = {
        line.split(" | ")[0] + line.split(" | ")[1]: line
        for line in card.splitlines()
        if " | " in line
    }
    assert "| never read |" in rows["| target (target)train"]
    assert "| chose the model |" in rows["| target (target)val"]
    assert "only read by evaluate and compare" in rows["| target (target)test"]
    assert "## Licence\n\nUnknown." in card


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"rank": 4}, "rank 4 of 3 finished trials"),
        ({"trial": 9}, "no trial 9; there are 0 to 3"),
        ({"trial": 3}, "trial 3 is failed and has no model"),
        ({"trial": 0, "rank": 1}, "--trial 0 names the one trial: leave out --rank"),
        ({"trial": 0, "objective": "bnm"}, "leave out --objective"),
        ({"objective": "infomax"}, "unknown 'infomax'; did you mean 'info_max'"),
        ({"objective": "bnm", "rank": 3}, "rank 3 of 2 finished trials"),
    ],
)
def test_a_trial_without_a_model_is_refused(
    tiny: ExperimentFolder, choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_best(tiny, **choice)


def test_a_rank_or_a_number_chooses_the_trial(tiny: ExperimentFolder, tmp_path: Path) -> None:
    rows = ranked(read_trials(tiny))
    second = write_best(tiny, rank=2, out=tmp_path / "second")
    stopped = write_best(tiny, trial=1, out=tmp_path / "stopped")
    assert second.trial == rows[1].number
    assert stopped.trial == 1


def test_a_torn_checkpoint_is_named(tiny: ExperimentFolder) -> None:
    path = tiny.trial(ranked(read_trials(tiny))[0].number) / BEST
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=BEST):
        write_best(tiny)


def test_a_model_that_was_not_kept_is_named_with_those_there_are(
    tiny: ExperimentFolder,
) -> None:
    first, *others = (row.number for row in finished(read_trials(tiny)))
    (tiny.trial(first) / BEST).unlink()
    there = ", ".join(map(str, sorted(others)))
    told = rf"trial {first} was not kept: .*search\.keep_best.* models of trials: {there}$"
    with pytest.raises(InputError, match=told):
        write_best(tiny)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x80
    path.write_bytes(content)


def test_a_checkpoint_with_a_wrong_bit_becomes_no_model(tiny: ExperimentFolder) -> None:
    path = tiny.trial(ranked(read_trials(tiny))[0].number) / BEST
    flip_a_bit(path)
    with pytest.raises(RunError, match=rf"{BEST}: damaged"):
        write_best(tiny)
    assert not tiny.best.exists()


def test_a_model_with_a_wrong_bit_is_refused_until_it_is_written_again(
    tiny: ExperimentFolder,
) -> None:
    folder = write_best(tiny).folder
    flip_a_bit(folder / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: damaged or replaced"):
        evaluate_target(folder)
    load_model(write_best(tiny).folder)
    record = json.loads((folder / "model.json").read_text())
    del record["sha256"]  # as older versions wrote it
    (folder / "model.json").write_text(json.dumps(record))
    load_model(folder)


def test_a_model_of_a_newer_version_or_without_a_file_is_refused(
    tiny: ExperimentFolder,
) -> None:
    folder = write_best(tiny).folder
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(InputError, match="newer dann-search"):
        load_model(folder)
    (folder / "model.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(InputError, match="not a model's record: it has no class_names"):
        load_model(folder)
    (folder / "model.json").write_text(json.dumps(record))
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        load_model(folder)


def test_loading_a_model_loads_neither_ray_nor_optuna(tiny: ExperimentFolder) -> None:
    import subprocess
    import sys

    folder = write_best(tiny).folder
    code = (
        "import sys; from dann_search import load_model; "
        f"load_model({str(folder)!r}); assert not {{'ray', 'optuna'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_images_of_the_wrong_shape_or_type_are_refused(tiny: ExperimentFolder) -> None:
    model = load_model(write_best(tiny).folder)
    with pytest.raises(InputError, match="uint8"):
        model.predict(torch.zeros(1, 3, 16, 16))
