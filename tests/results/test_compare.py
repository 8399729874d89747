"""The winner against its baselines."""

import json

import numpy as np
import pytest

from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.results.compare import Comparison, Scores, compare
from dann_search.training.checkpoint import BEST

pytestmark = pytest.mark.slow


def weights(experiment: ExperimentFolder) -> dict[str, bytes]:
    return {
        path.parent.name: path.read_bytes()[-1000:] for path in experiment.compare.glob(f"*/{BEST}")
    }


def test_baselines_share_the_recipe_and_test_labels_change_only_the_scores(
    experiment: ExperimentFolder,
) -> None:
    lines: list[str] = []
    result = compare(experiment, seeds=2, workers=2, progress=lines.append)
    assert list(result.methods) == ["dann", "source_only", "from_scratch"]
    assert result.methods["from_scratch"].same_as == "source_only"
    assert len(lines) == 4  # two methods, two seeds: from_scratch is not trained twice
    recipes = [path.name for path in experiment.compare.iterdir() if path.is_dir()]
    assert sorted(name.rsplit("-", 1)[0] for name in recipes) == [
        "dann-seed1", "dann-seed2", "source_only-seed1", "source_only-seed2",
    ]  # fmt: skip
    content = json.loads((experiment.compare / "comparison.json").read_text())
    assert content == result.to_json()
    summary = content["methods"]["dann"]["f1_macro_test"]
    assert summary["mean"] == pytest.approx(np.mean(summary["values"]))
    assert summary["sd"] == pytest.approx(np.std(summary["values"], ddof=1))
    trained = weights(experiment)

    labels = experiment.data / "target.test.labels.npy"
    np.save(labels, np.zeros_like(np.load(labels)))
    lines.clear()
    again = compare(experiment, seeds=2, workers=2, progress=lines.append)
    assert lines == ["4 of 4 trainings are there from before"]
    assert again.methods["dann"].f1_macro != result.methods["dann"].f1_macro
    assert weights(experiment) == trained

    for path in experiment.compare.glob("*/done"):
        path.unlink()
    for path in experiment.compare.glob("*/*.safetensors"):
        path.unlink()
    compare(experiment, seeds=2, workers=2)
    assert {name: len(content) for name, content in weights(experiment).items()} == {
        name: len(content) for name, content in trained.items()
    }
    assert weights(experiment) == trained


def test_an_unknown_method_is_refused_with_the_nearest(experiment: ExperimentFolder) -> None:
    with pytest.raises(InputError, match="did you mean 'source_only'"):
        compare(experiment, methods=["source-only"])


@pytest.mark.parametrize(
    ("dann", "base", "words"),
    [
        ([0.7, 0.72], [0.5, 0.52], "dann is above source_only: macro-F1 +0.200"),
        ([0.51, 0.55], [0.5, 0.52], "by no more than seeds differ"),
        ([0.4, 0.42], [0.5, 0.52], "adaptation does not help here"),
    ],
)
def test_the_verdict_says_whether_adaptation_helps(
    dann: list[float], base: list[float], words: str
) -> None:
    methods = {"dann": Scores(dann, dann), "source_only": Scores(base, base)}
    assert words in Comparison("dann", 0, [1, 2], methods).verdict()
