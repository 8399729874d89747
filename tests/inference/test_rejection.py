"""How many images a model is too unsure of, by a rule that source images set."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dann_search.cli import main
from dann_search.data.training_data import as_tensor
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.inference.best import write_best
from dann_search.inference.model import load_model
from dann_search.inference.rejection import rejection_rule, sureness
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import noise
from tests.inference.models import write_random_model
from tests.json_output import printed


def test_sureness_is_the_largest_probability_however_large_logits_are() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 3
    expected = torch.from_numpy(logits).softmax(1).amax(1).numpy()
    np.testing.assert_allclose(sureness(logits), expected)
    assert sureness(np.array([[1e4, 0.0]])).tolist() == [1]


def test_the_rule_rejects_five_per_cent_of_the_images_that_set_it() -> None:
    logits = np.random.default_rng(1).normal(size=(1000, 4))
    rule = rejection_rule(logits)
    assert rule["source_share"] == pytest.approx(0.05, abs=0.001)
    assert (sureness(logits) < rule["threshold"]).mean() == rule["source_share"]


def test_evaluate_and_predict_count_the_images_below_it(
    experiment: ExperimentFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_best(experiment).folder
    model = load_model(folder)
    with torch.no_grad():
        source, target = (
            model(as_tensor(experiment.data, role, split)).softmax(1).amax(1).double().numpy()
            for role, split in (("source", "val"), ("target", "test"))
        )
    threshold = float(np.quantile(source, 0.05))
    found = evaluate_target(experiment.root).rejection
    assert found is not None
    assert found.threshold == pytest.approx(threshold, abs=1e-6)
    assert found.rejected == (target < threshold).sum()
    assert found.share == found.rejected / len(target)
    # A fitted temperature changes probabilities, not the rule.
    again = evaluate_target(experiment.root, calibrated=True).rejection
    assert again == found
    for number in range(3):
        noise(number).save(tmp_path / f"{number}.png")
    capsys.readouterr()
    assert main(["predict", str(folder), str(tmp_path), "--json"]) == 0
    told = printed("predict", capsys.readouterr().out)
    sure = [float(row.softmax(0).max()) for row in _logits(folder, tmp_path)]
    assert told["rejection"]["rejected"] == sum(one < found.threshold for one in sure)
    assert main(["evaluate", str(experiment.root)]) == 0
    assert "of the source's validation images are: perhaps of other classes" in " ".join(
        capsys.readouterr().out.split()
    )


def _logits(folder: Path, images: Path) -> list[torch.Tensor]:
    model = load_model(folder)
    with torch.no_grad():
        return list(model(model.batch(sorted(images.glob("*.png")))))


def test_a_model_without_the_rule_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models of earlier versions, and those that were trained on all of the source's images."""
    folder = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    assert "rejection" not in json.loads((folder / "model.json").read_text())
    noise(1).save(tmp_path / "a.png")
    assert main(["predict", str(folder), str(tmp_path / "a.png"), "--json"]) == 0
    told = printed("predict", capsys.readouterr().out)
    assert told["rejection"] is None
