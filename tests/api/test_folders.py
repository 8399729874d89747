"""The guide of the README: from one's own image folders to the evaluated best model; no Ray."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

import dann_search
from dann_search.api import launching
from dann_search.config.data import DomainConfig
from dann_search.data.open_domain import open_domain
from dann_search.outputs.search import SearchEnded
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import open_experiment, read_trials
from dann_search.storage.layout import ExperimentFolder
from tests.experiments import saved_history, study_trials
from tests.in_process import InProcessExecutor

SPACE = Path(__file__).parents[2] / "search_spaces" / "image_folders.yaml"


def write_folders(root: Path, dataset: str, classes: int, each: int) -> Path:
    """Real JPEGs of an embedded domain, in class folders."""
    domain = open_domain(DomainConfig.model_validate({"dataset": dataset}), root)
    written = [0] * 10
    for index, label in enumerate(domain.labels):
        if label < classes and written[label] < each:
            written[label] += 1
            path = root / domain.class_names[label] / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(domain.decode(index, 28).transpose(1, 2, 0)).save(path, quality=95)
    return root


@dataclass
class Searched:
    """A search of somebody's own image folders, and where its photographs are."""

    result: SearchEnded
    target: Path

    @property
    def folder(self) -> ExperimentFolder:
        return ExperimentFolder.at(self.result.experiment)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """As the guide has it, but that no label of the target chooses, and all trials are whole."""
    place = tmp_path_factory.mktemp("folders")
    source = write_folders(place / "catalogue", "digits", classes=3, each=30)
    target = write_folders(place / "phone", "digits-m", classes=3, each=30)
    sets = [
        f"data.source.folder={source}",
        f"data.target.folder={target}",
        "data.image_size=32",
        "search.objective=bnm",
        "search.scheduler=none",
        "training.epochs=2",
        "training.pretrained=false",
        "space.backbone.choice=[resnet18, dann_cnn]",
        "resources.max_parallel_trials=1",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "RayExecutor", lambda *_: InProcessExecutor())
        result = dann_search.launch(SPACE, storage=place / "runs", trials=3, sets=sets)
    return Searched(result, target)


def test_image_folders_lead_to_an_evaluated_best_model(searched: Searched) -> None:
    assert searched.result.stopped_by == "trials"
    assert searched.result.trials.failed == 0
    folder = open_experiment(searched.folder.root)
    tested = dann_search.evaluate_target(folder.root)
    assert tested.n == 18  # a fifth of 30 in each of 3 classes
    assert [one.name for one in tested.per_class] == ["0", "1", "2"]
    model = dann_search.load_model(folder.best)
    (prediction,) = model.predict([next(searched.target.rglob("*.jpg"))])
    assert prediction.label in {"0", "1", "2"}


def test_a_validator_chooses_epoch_trial_and_model(searched: Searched) -> None:
    """One rule of best wherever it is asked."""
    result, folder = searched.result, searched.folder
    values = {}
    for trial in study_trials(folder):
        history = saved_history(folder, trial.number)
        scores = [epoch["validators"]["bnm"] for epoch in history]
        assert list(trial.intermediate_values.values()) == scores
        assert trial.value == max(scores)
        best = history[scores.index(max(scores))]
        values[trial.number] = (max(scores), best["f1_macro_val"], best["epoch"])
    winner = max(values, key=lambda number: (values[number][0], -number))
    first = ranked(read_trials(folder))[0]
    assert (first.number, first.score, first.f1_macro_val, first.best_epoch) == (
        winner,
        *values[winner],
    )
    assert result.best and result.best.trial == first.number and result.objective == "bnm"
    record = dann_search.load_model(folder.best).record
    assert (record["trial"], record["epoch"], record["objective"]) == (
        winner,
        values[winner][2],
        "bnm",
    )
    rows = list(csv.DictReader(folder.leaderboard.read_text().splitlines()))
    assert int(rows[0]["trial"]) == winner and float(rows[0]["bnm"]) == values[winner][0]
