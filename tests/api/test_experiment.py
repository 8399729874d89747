"""An experiment from Python: what its methods give."""

from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image

import dann_search
from dann_search.api.experiment import Experiment
from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.models.registry import stage_counts
from dann_search.outputs.base import Failure
from dann_search.results.reader import read_experiment
from dann_search.storage.layout import ExperimentFolder
from tests.experiments import space_file


def test_the_leaderboard_is_a_table_with_a_column_for_each_searched_parameter(
    searched: ExperimentFolder,
) -> None:
    experiment = dann_search.Experiment.open(searched.root)
    table = experiment.leaderboard()
    rows = experiment.trials()
    assert table.index.tolist() == [row.number for row in rows]
    assert table["state"].tolist() == ["completed", "completed", "pruned", "failed"]
    assert list(table.columns[-4:]) == list(read_experiment(searched).space)
    for row in rows:
        values = table.loc[row.number]
        assert values["learning_rate"] == row.params["learning_rate"]
        assert pd.isna(values["lambda_gamma"]) == ("lambda_gamma" not in row.params)
    assert table["f1_macro_val"].iloc[0] == rows[0].f1_macro_val
    assert table["lambda_gamma"].isna().any() and table["lambda_gamma"].notna().any()


def test_a_notebook_shows_an_experiment_and_its_results_as_tables(
    searched: ExperimentFolder,
) -> None:
    experiment = Experiment(searched)
    shown = experiment._repr_html_()
    assert f"<p>{searched.root.name}: done</p>" in shown
    rows = ElementTree.fromstring(f"<div>{shown}</div>").findall("table/tbody/tr")
    assert len(rows) == min(10, len(experiment.trials()))
    status = ElementTree.fromstring(experiment.status()._repr_html_())
    fields = {row.findtext("th"): row.findtext("td") for row in status.iter("tr")}
    assert fields["name"] == searched.root.name and fields["error"] == "–"
    hostile = Failure(error="<script>alert(1)</script>" + "x" * 500)._repr_html_()
    assert "<script>" not in hostile and len(hostile) < 400


def test_the_curves_are_of_the_best_trial_or_of_one_by_number(searched: ExperimentFolder) -> None:
    experiment = Experiment.open(searched.root)
    best = experiment.trials()[0]
    curves = experiment.curves()
    assert curves.index.tolist() == [1, 2]
    assert curves["f1_macro_val"].max() == best.f1_macro_val
    assert {"label_loss", "domain_accuracy", "lambda_", "entropy"} <= set(curves.columns)
    other = experiment.trials()[1].number
    assert not experiment.curves(other)["label_loss"].equals(curves["label_loss"])
    with pytest.raises(InputError, match="no trial 9"):
        experiment.curves(9)


def test_its_model_predicts_and_is_evaluated_as_on_the_command_line(
    experiment: ExperimentFolder,
) -> None:
    opened = Experiment.open(experiment.root)
    image = Image.new("RGB", (20, 30), "white")
    (prediction,) = opened.predict([image])
    assert prediction.label in opened.model().class_names
    assert opened.best().folder == experiment.best
    assert opened.best(rank=2, out=experiment.root / "second").trial == 0
    assert opened.evaluate() == evaluate_target(experiment.root)
    assert opened.evaluate(calibrated=True).temperature != 1
    export = opened.export("safetensors", out=experiment.root / "shipped")
    assert export.model == experiment.best and (export.folder / "model.py").is_file()
    assert opened.status().state == "done"


def test_a_search_may_be_described_by_a_dict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = {
        "data": {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}},
        "training": {"backbone": "dann_cnn", "pretrained": False},
        "space": {"learning_rate": {"loguniform": [0.01, 0.1]}},
        "storage": "here",
    }
    before = repr(space)
    experiment, found = load_experiment(space, stage_counts(), sets=["training.epochs=2"])
    assert experiment.name == "experiment"
    assert experiment.place == str(tmp_path / "here" / "experiment")
    assert (found.fixed.epochs, list(found.parameters)) == (2, ["learning_rate"])
    assert repr(space) == before
    space["space"] = {"learning_rte": {"loguniform": [0.01, 0.1]}}
    with pytest.raises(InputError, match=r"experiment: space.learning_rte: .*'learning_rate'"):
        dann_search.launch(space)
    from_file, _ = load_experiment(space_file(tmp_path), stage_counts())
    assert from_file.name == "small"


def test_what_is_no_experiment_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no experiment"):
        Experiment.open(tmp_path / "nowhere")
