"""What TensorBoard itself shows of an experiment, asked over HTTP on the loopback."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dann_search.config.load import experiment_of, recorded_source
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.evaluation.tensorboard_best import write_best_run
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_record, read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.tensorboard import TAGS, TensorBoardWriter
from dann_search.training.checkpoint import LAST, load_checkpoint
from tests.json_output import printed

WAIT_S = 60.0
BEST = "Best F1 (val)"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def watched(
    searched: ExperimentFolder, tmp_path_factory: pytest.TempPathFactory
) -> ExperimentFolder:
    """The finished experiment, with the events that its search and its end would have written."""
    root = tmp_path_factory.mktemp("watched") / "small"
    shutil.copytree(searched.root, root)
    folder = ExperimentFolder(root)
    writer = TensorBoardWriter(folder.tensorboard, space_of(folder))
    for row in read_trials(folder):
        writer.trial_started(row.number, TrialConfig(**row.config), [])
        if row.epochs:
            history = load_checkpoint(folder.trial(row.number) / LAST).history[: row.epochs]
            writer.epochs_done(row.number, [asdict(result) for result in history], 0)
        writer.trial_ended(row.number, row.state, row.error)
    writer.close()
    write_best_run(folder)
    return folder


def space_of(folder: ExperimentFolder) -> Space:
    source = recorded_source(folder.record, read_record(folder)["experiment"], [])
    return experiment_of(source, stage_counts(), is_record=True)[1]


def start(watched: ExperimentFolder) -> tuple[subprocess.Popen[str], str]:
    """The server that ``dann-search tensorboard`` starts, and its address."""
    words = ["tensorboard", str(watched.root), "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dann_search.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert process.stdout
    return process, printed("tensorboard", process.stdout.readline())["url"]


@pytest.fixture(scope="module")
def ask(watched: ExperimentFolder) -> Iterator[Ask]:
    """Ask the server that ``dann-search tensorboard`` starts; it has read all runs."""
    process, url = start(watched)
    try:

        def get(path: str, body: Any = None, **query: Any) -> Any:
            address = f"{url}data/{path}?{urllib.parse.urlencode(query)}"
            request = urllib.request.Request(
                address,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                content = answer.read()
                kind = answer.headers.get_content_type()
            return json.loads(content) if kind == "application/json" else content

        wait_for_all(get)
        yield get
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait_for_all(get: Ask) -> None:
    end = time.monotonic() + WAIT_S
    while True:
        try:
            if "best" in get("plugin/pr_curves/tags") and len(get("runs")) == 6:
                return
        except OSError:
            pass
        assert time.monotonic() < end, "TensorBoard did not find the runs"
        time.sleep(0.1)


def test_the_hparams_api_finds_every_trial_and_every_searched_parameter(
    ask: Ask, watched: ExperimentFolder
) -> None:
    space = space_of(watched)
    columns = ask("plugin/hparams/experiment", {"experimentName": ""})["hparamInfos"]
    first, *others = (column["name"] for column in columns)
    assert first == BEST and set(others) == set(space.parameters)
    assert "lambda_gamma" in space.parameters  # which only Ganin's schedule has
    statuses = [f"STATUS_{name}" for name in ("SUCCESS", "FAILURE", "RUNNING", "UNKNOWN")]
    query = {"experimentName": "", "allowedStatuses": statuses, "startIndex": 0, "sliceSize": 100}
    groups = ask("plugin/hparams/session_groups", query)["sessionGroups"]
    assert all(group["name"].startswith("trial-00") for group in groups)
    found = {int(group["name"].removeprefix("trial-")): group for group in groups}
    rows = {row.number: row for row in read_trials(watched)}
    assert found.keys() == rows.keys()
    for number, row in rows.items():
        values = found[number]["hparams"]
        best = values.pop(BEST, None)
        if row.state == "completed":
            assert best == pytest.approx(row.f1_macro_val)
        assert values.keys() == row.params.keys()
        numbers = {name: one for name, one in row.params.items() if not isinstance(one, str)}
        assert {name: values[name] for name in numbers} == pytest.approx(numbers)
        assert values["lambda_schedule"] == row.params["lambda_schedule"]
        (session,) = found[number]["sessions"]
        failed = session["status"] == "STATUS_FAILURE"
        assert failed == (row.state == "failed")
    gammas = [("lambda_gamma" in row.params) for row in rows.values()]
    assert any(gammas) and not all(gammas)


def test_the_hparams_table_shows_each_trials_best_f1(ask: Ask, watched: ExperimentFolder) -> None:
    query = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "sliceSize": 100}
    groups = ask("plugin/hparams/session_groups", query)["sessionGroups"]
    rows = {row.number: row for row in read_trials(watched) if row.state == "completed"}
    for group in groups:
        if (number := int(group["name"].removeprefix("trial-"))) in rows:
            values = {one["name"]["tag"]: one["value"] for one in group["metricValues"]}
            assert values["best/f1_macro_val"] == pytest.approx(rows[number].f1_macro_val)


def test_every_trial_has_its_curves(ask: Ask, watched: ExperimentFolder) -> None:
    tags = ask("plugin/scalars/tags")
    for row in read_trials(watched):
        run = f"trial-{row.number:04d}"
        if not row.epochs:
            assert run not in tags
            continue
        expected = set(TAGS.values()) - {"train/adaptation_loss"}  # which DANN has not
        assert expected <= tags[run].keys()
        curve = ask("plugin/scalars/scalars", run=run, tag="val/f1_macro")
        assert [step for _, step, _ in curve] == list(range(1, row.epochs + 1))


def test_the_best_trials_pictures_are_images(ask: Ask) -> None:
    tags = ask("plugin/images/tags")["best"]
    assert set(tags) == {"val/confusion", "augmented/source", "augmented/target"}
    for tag in tags:
        (image,) = ask("plugin/images/images", run="best", tag=tag, sample=0)
        content = ask(f"plugin/images/individualImage?{image['query']}&ts=0&")
        assert content.startswith(b"\x89PNG")


def test_each_class_has_a_precision_recall_curve(ask: Ask, watched: ExperimentFolder) -> None:
    names = read_record(watched)["data"]["class_names"]
    assert set(ask("plugin/pr_curves/tags")["best"]) == {f"class/{name}" for name in names}
    (curve,) = ask("plugin/pr_curves/pr_curves", run="best", tag="class/0")["best"]
    assert curve["recall"][0] == 1.0  # at threshold 0 everything is called a zero


def test_the_projector_opens_the_embeddings(ask: Ask, watched: ExperimentFolder) -> None:
    assert ask("plugin/projector/runs") == ["best"]
    (embedding,) = ask("plugin/projector/info", run="best")["embeddings"]
    points, size = embedding["tensorShape"]
    sizes = read_record(watched)["data"]["sizes"]
    assert points == sizes["source"]["val"] + sizes["target"]["val"]
    name = embedding["tensorName"]
    tensor = ask("plugin/projector/tensor", run="best", name=name)
    assert len(tensor) == points * size * 4
    lines = ask("plugin/projector/metadata", run="best", name=name).decode().splitlines()
    assert lines[0].split("\t") == ["domain", "label", "predicted", "right"]
    assert len(lines) == points + 1
    assert ask("plugin/projector/sprite_image", run="best", name=name).startswith(b"\x89PNG")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server_too(number: signal.Signals, watched: ExperimentFolder) -> None:
    process, _ = start(watched)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + WAIT_S
        while not (child := children.read_text()):
            assert time.monotonic() < end, "the server was not started"
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(WAIT_S) == 128 + number
        server = Path(f"/proc/{child.split()[0]}/stat")
        while _is_running(server):
            assert time.monotonic() < end, "the server was left behind"
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _is_running(stat: Path) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet has."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
