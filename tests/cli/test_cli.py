"""What a user gets for bad input: one message, exit code 2, nothing started, no traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from dann_search.cli import main
from dann_search.cli.app import app
from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts
from tests.experiments import space_file
from tests.json_output import failed, printed


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting Ray in one of these tests is a failure."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("dann_search.search.executor.ray_session", refuse)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused; its one message."""
    code = main(list(words))
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    assert "Traceback" not in captured.err
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


COMMANDS: list[str] = list(get_command(app).commands)  # type: ignore[attr-defined]
BAD_SPACES: list[tuple[dict[str, Any], list[str]]] = [
    ({"trainin": {}}, ["trainin", "did you mean 'training'?"]),
    ({"search__trails": 3}, ["search.trails", "did you mean 'trials'?"]),
    ({"space__backbone": {"choice": ["resnet81"]}, "training": {}}, ["did you mean 'resnet18'?"]),
    ({"space__unfrozen_depth": {"int": [0, 9]}}, ["must be at most 3 for dann_cnn", "got 9"]),
    ({"space__learning_rate": {"uniform": [0.2, 0.1]}}, ["space.learning_rate", "0.2", "0.1"]),
    ({"space__lambda_schedule": {"choice": []}}, ["space.lambda_schedule.choice", "at least one"]),
    ({"space__learning_rate": {"loguniform": [0, 0.1]}}, ["space.learning_rate", "> 0"]),
    ({"space__learning_rte": {"uniform": [0.1, 0.2]}}, ["did you mean 'learning_rate'?"]),
    ({"space__lambda_max": {"uniform": [0, 1], "when": {"lamda": "x"}}}, ["lamda"]),
    ({"data__source": {"dataset": "digit"}}, ["data.source.dataset", "did you mean 'digits"]),
    ({"data__target": {"folder": "nowhere"}}, ["data.target.folder", "no such folder"]),
    ({"resources__cpus_per_worker": 10_000}, ["cpus_per_worker", "this machine has"]),
    ({"resources__workers_per_trial": 99}, ["resources.workers_per_trial", "batch_size"]),
    ({"weights": {"resnet18": "gone.safetensors"}}, ["weights.resnet18", "no such file"]),
    ({"data__image_size": 8}, ["image_size", "at least 16 for dann_cnn"]),
]


@pytest.mark.parametrize(("changes", "parts"), BAD_SPACES)
def test_a_bad_space_is_refused_with_key_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], parts: list[str]
) -> None:
    message = refused(capsys, "launch", str(space_file(tmp_path, **changes)))
    for part in parts:
        assert part in message, message
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("search", "more", "expected"),
    [
        ("study: 'sqlite:////nowhere/at/all.db'", "", "5: search.study: sqlite:////nowhere/at"),
        ("study: 'sqlite://'", "", "5: search.study: a study in memory is lost"),
        ("study: 'postgresql://me:$DANN_ABSENT@host/x'", "",
         "5: search.study: postgresql://me:***@host/x takes $DANN_ABSENT from the environment"),
        ("warm_start: nobody", "", "5: search.warm_start: no experiment 'nobody'"),
        ("trials: 3", "resources:\n  cpus_per_worker: 10000\n",
         "7: resources.cpus_per_worker: a trial of 1 workers"),
        ("sampler: grid", "space: {translation: {uniform: [0, 0.5], step: 0.001},\n"
         "  erasing: {uniform: [0, 1], step: 0.001}}\n", "5: search.sampler: the grid has 501,501"),
    ],
)  # fmt: skip
def test_what_only_this_machine_knows_is_refused_at_its_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], search: str, more: str, expected: str
) -> None:
    data = "data: {source: {dataset: digits}, target: {dataset: digits-m}, image_size: 16}"
    training = "training: {backbone: dann_cnn, pretrained: false, epochs: 2}"
    text = f"name: small\n{data}\n{training}\nsearch:\n  {search}\n{more}"
    (tmp_path / "space.yaml").write_text(text)
    message = refused(capsys, "launch", "space.yaml")
    assert message.startswith(f"space.yaml:{expected}"), message
    assert not (tmp_path / "runs").exists()


def test_a_missing_package_of_a_sampler_is_said_at_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cmaes" else real(name)
    )
    words = ("launch", str(space_file(tmp_path)), "--set", "search.sampler=cmaes")
    assert refused(capsys, *words).startswith(
        "--set search.sampler=cmaes: search.sampler: cmaes needs the package cmaes"
    )


def test_a_file_that_is_missing_or_no_mapping_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "launch", "nowhere.yaml").startswith("nowhere.yaml")
    wrong = {"[1, 2]": "expected a mapping", "": "empty file", "a: [": "not valid YAML"}
    for text, part in wrong.items():
        (tmp_path / "space.yaml").write_text(text)
        assert part in refused(capsys, "launch", "space.yaml")


def test_a_name_already_used_offers_resume_and_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "small").mkdir(parents=True)
    (tmp_path / "runs" / "small" / "experiment.yaml").write_text("{}")
    message = refused(capsys, "launch", str(space_file(tmp_path)))
    assert "dann-search resume" in message and "--name small-2" in message


def test_a_storage_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    message = refused(capsys, "launch", str(space_file(tmp_path)), "--storage", "file")
    assert "cannot be written" in message and "--storage" in message


@pytest.mark.parametrize(
    "command", ["best", "evaluate", "resume", "leaderboard", "compare", "report"]
)
def test_what_is_no_experiment_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "folder").mkdir()
    assert "no experiment" in refused(capsys, command, "folder")
    assert "no experiment 'missing'" in refused(capsys, command, "missing")


@pytest.mark.parametrize("command", ["best", "evaluate", "compare", "report"])
def test_an_experiment_without_a_finished_trial_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    content = yaml.safe_load(space_file(tmp_path).read_text())
    content["storage"] = str(tmp_path / "runs")
    record = {"experiment": content, "versions": {}, "data": {}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(record))
    assert "no trial has finished" in refused(capsys, command, "small")


def test_an_experiment_that_cannot_be_read_is_no_end_of_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import optuna

    content = yaml.safe_load(space_file(tmp_path).read_text())
    for name in ("broken", "empty", "foreign", "whole"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        record = {"experiment": {**content, "name": name}, "versions": {}, "data": {}}
        (folder / "experiment.yaml").write_text(yaml.safe_dump(record))
    (tmp_path / "runs" / "broken" / "study.db").write_bytes(b"no database" * 1000)
    (tmp_path / "runs" / "empty" / "study.db").touch()
    url = f"sqlite:///{tmp_path}/runs/foreign/study.db"
    optuna.create_study(study_name="x", storage=url)
    assert main(["status", "--json"]) == 0
    shown = printed("status", capsys.readouterr().out)["experiments"]
    found = {one["name"]: one for one in shown}
    assert found["whole"]["error"] is None
    assert "study.db cannot be read: " in found["broken"]["error"]
    assert "study.db cannot be read: no such table" in found["empty"]["error"]
    assert "holds the studies ['x'], not 'foreign'" in found["foreign"]["error"]
    assert main(["status"]) == 0
    assert "unreadable" in capsys.readouterr().out
    for name in ("broken", "empty", "foreign"):
        assert "study.db" in refused(capsys, "status", name)


def test_a_near_miss_of_an_experiments_name_is_offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text("{}")
    assert "did you mean 'small'?" in refused(capsys, "status", "smal")


def test_an_unknown_option_is_one_message_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--tirals" in refused(capsys, "launch", "space.yaml", "--tirals", "3")


def test_json_mode_gives_one_object_for_an_error_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["best", "missing", "--json"]) == 2
    captured = capsys.readouterr()
    assert "no experiment 'missing'" in failed("best", captured.out)


def test_the_traceback_is_there_for_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["best", "missing", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Example: dann-search {command}" in text
    assert "--json" in text


def test_the_help_of_the_program_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert "Example: dann-search launch" in text


def test_a_space_is_explained_before_its_data_are_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = space_file(
        tmp_path,
        data__source={"folder": "nowhere"},
        space={
            "lambda_schedule": {"choice": ["linear", "ganin"]},
            "lambda_gamma": {"choice": [5, 10, 20]},
            "rotation_degrees": {"uniform": [0, 30], "step": 10},
        },
    )
    assert main(["space", str(path), "--json"]) == 0
    content = printed("space", capsys.readouterr().out)
    assert content["combinations"] == (1 + 3) * 4
    assert len(content["samples"]) == 5
    gamma = content["parameters"][1]
    assert (gamma["name"], gamma["kind"], gamma["range"]) == ("lambda_gamma", "choice", [5, 10, 20])
    assert gamma["when"]["lambda_schedule"] == "ganin"
    assert content["parameters"][2]["step"] == 10
    assert main(["space", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "lambda_schedule is ganin" in shown
    assert "configurations: 16" in shown
    assert "0 to 30 by 10" in shown


def test_completion_knows_the_commands() -> None:
    words = {"COMP_WORDS": "dann-search la", "COMP_CWORD": "1"}
    asked = {**os.environ, **words, "_DANN_SEARCH_COMPLETE": "complete_bash"}
    command = [sys.executable, "-m", "dann_search"]
    done = subprocess.run(command, env=asked, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["launch"]


def test_a_backbone_of_timm_is_found_without_its_prefix(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = space_file(tmp_path, training__backbone="efficientnet_lite0")
    assert "did you mean 'timm/efficientnet_lite0'?" in refused(capsys, "space", str(path))


def test_a_missing_format_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = "--format: missing; valid: hf, onnx, safetensors, torch"
    assert said in refused(capsys, "export", "small")


def test_a_space_is_named_or_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "quickstart"]) == 0
    assert "dann_mnist" in capsys.readouterr().out
    assert main(["space", "--list"]) == 0
    assert "quickstart" in capsys.readouterr().out
    assert "space --list" in refused(capsys, "space")


def test_a_resolved_file_is_one_file_and_says_the_same_from_anywhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = space_file(tmp_path, data__source={"folder": "photos"}, training__epochs=3)
    above = path.with_name("above.yaml")
    above.write_text(f"extends: {path.name}\nname: above\n")
    out = tmp_path / "elsewhere" / "whole.yaml"
    words = ["space", str(above), "--set", "search.trials=7", "--json"]
    assert main([*words, "--resolved", str(out)]) == 2
    assert f"{out}: cannot be written" in capsys.readouterr().out
    out.parent.mkdir()
    assert main([*words, "--resolved", str(out)]) == 0
    explained = printed("space", capsys.readouterr().out)
    assert explained.pop("plan")  # which tells the memory that is free at the moment
    stages = stage_counts()
    whole, _ = load_experiment(out, stages, check_files=False)
    assert whole == load_experiment(above, stages, sets=["search.trials=7"], check_files=False)[0]
    assert whole.name == "above" and whole.search.trials == 7 and whole.training["epochs"] == 3
    assert whole.data.sources[0].folder == tmp_path / "photos"
    assert "extends" not in out.read_text()
    assert main(["space", str(out), "--json"]) == 0
    again = printed("space", capsys.readouterr().out)
    assert again.pop("plan") and again == explained
    assert main([*words, "--resolved", str(out)]) == 2
    assert "File exists" in capsys.readouterr().out


def test_the_licences_of_timms_weights_are_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = space_file(tmp_path, training__backbone="timm/convnextv2_atto")
    assert main(["space", str(path), "--json"]) == 0
    licences = {"timm/convnextv2_atto": "cc-by-nc-4.0"}
    assert printed("space", capsys.readouterr().out)["licences"] == licences
    assert main(["space", str(path)]) == 0
    told = "licences of published weights: timm/convnextv2_atto cc-by-nc-4.0"
    assert told in " ".join(capsys.readouterr().out.split())


def test_a_parameter_that_can_never_apply_is_said_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = space_file(tmp_path, training__method="source_only")
    assert main(["space", str(path)]) == 0
    assert "never: method is source_only" in " ".join(capsys.readouterr().out.split())


def test_a_full_disk_is_told_with_the_file_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/runs/a/best/model.safetensors")

    monkeypatch.setattr("dann_search.inference.best.write_best", full)
    assert main(["best", "any"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(
        "error: /runs/a/best/model.safetensors: No space left on device; make room there"
    )
    assert "dann-search resume" in said and "OSError" not in said
