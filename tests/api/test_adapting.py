"""From two domains to whether adaptation helps; in this process, no Ray."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from dann_search import Experiment, adapt
from dann_search.api import adapt_plan, adapting, launching, retraining
from dann_search.cli import main
from dann_search.errors import InputError
from dann_search.models.build import build_backbone
from dann_search.outputs.comparison import Adapted
from dann_search.results.reader import read_trials
from dann_search.training.job import Failures, TrainingJob
from tests.experiments import write_tiny_images
from tests.in_process import InProcessExecutor
from tests.json_output import failed, printed
from tests.train_here import train_here

SETS = (
    "data.image_size=16",
    "training.epochs=1",
    "training.bottleneck=8",
    "training.discriminator_width=8",
    "training.batch_size=16",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two domains; what searches and trains does so in this process, with few trials."""
    root = write_tiny_images(tmp_path_factory.mktemp("adapted"), each=10)
    shots = root / "shots"
    shots.mkdir()
    for number, file in enumerate(sorted((root / "target").glob("*/*.png"))):
        shutil.copy(file, shots / f"{number}.png")
    # Pre-trained weights, so that there are frozen features.
    file = root / "dann_cnn.safetensors"
    save_file(build_backbone("dann_cnn", None).state_dict(), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(launching, "RayExecutor", lambda *_: InProcessExecutor())
        patch.setattr(retraining, "_through_ray", lambda *_: train_here)
        patch.setattr(adapting, "FINE_TUNED_TRIALS", 3)
        patch.setattr(adapt_plan, "FINE_TUNED_TRIALS", 2)
        patch.setattr(adapting, "MOST_SEEDS", 2)
        patch.setattr(adapting, "_report", lambda *_: None)
        yield root


def run(images: Path, *sets: str, target: str = "target", **options: Any) -> Adapted:
    """Adapt with a small network and one epoch."""
    options = {"backbones": ["dann_cnn"], "budget": "10m"} | options
    return adapt(images / "source", images / target, sets=[*SETS, *sets], **options)


def too_slow(folder: Any, progress: Any, stop: Any) -> Callable[..., Failures]:
    """Trainings that only the end of the budget ends."""

    def train(jobs: Sequence[TrainingJob], content: Any) -> Failures:
        assert stop.wait(60)
        raise KeyboardInterrupt

    return train


@pytest.fixture(scope="module")
def cut_off(images: Path) -> Adapted:
    """A run whose budget ended before the comparison."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retraining, "_through_ray", too_slow)
        patch.setattr(adapting, "COMPARE_SHARE", 0.0)
        return run(images, f"weights.dann_cnn={images / 'dann_cnn.safetensors'}")


def test_frozen_features_come_first_and_the_best_few_are_fine_tuned(cut_off: Adapted) -> None:
    rows = read_trials(Experiment.open(cut_off.experiment).folder)
    assert [row.config["unfrozen_depth"] for row in rows[:4]] == [0, 0, 1, 1] and len(rows) == 5
    methods = [row.config["method"] for row in rows]
    assert set(methods[:2]) == set(adapt_plan.METHODS) == set(methods[2:4])


def test_a_budget_that_ends_before_the_comparison_leaves_what_is_known(cut_off: Adapted) -> None:
    assert cut_off.comparison is None and cut_off.evaluation
    assert "not known" in cut_off.answer and "95 % interval" in cut_off.answer


def test_the_same_command_goes_on_and_prints_the_answer(
    images: Path, cut_off: Adapted, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = (*SETS, f"weights.dann_cnn={images / 'dann_cnn.safetensors'}")
    sets = [word for one in stated for word in ("--set", one)]
    assert main(["adapt", "source", "target", "--backbones", "dann_cnn", *sets, "--json"]) == 0
    result = printed("adapt", capsys.readouterr().out)
    assert result["search"] == cut_off.search.model_dump(mode="json")
    compared = result["comparison"]
    low, high = compared["methods"]["source_only"]["difference"]["f1_macro"]["ci95"]
    assert f"95 % interval {low:+.3f} to {high:+.3f}" in result["answer"]
    assert result["answer"].startswith(compared["verdict"])
    assert result["evaluation"]["n"] == compared["n_test"]


def test_another_pair_of_domains_does_not_go_on_with_an_experiment(
    images: Path, cut_off: Adapted
) -> None:
    with pytest.raises(InputError, match=r"exists already in .*: --name source-to-target-2"):
        run(images, target="shots", name="source-to-target")


def test_a_target_without_labels_gets_a_model_and_is_told_how_to_measure_it(images: Path) -> None:
    result = run(images, target="shots")
    assert result.evaluation is None and result.comparison is None
    assert "no labels" in result.answer and "evaluate" in result.answer
    assert Experiment.open(result.experiment).model()


def test_few_labels_are_compared_with_their_own_baseline(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noted(folder: Path, *, methods: list[str], **_: Any) -> None:
        asked.extend(methods)

    monkeypatch.setattr(retraining, "compare", noted)
    run(images, "data.target.labels={train: 1}", name="few")
    assert asked[1:] == ["source_only", "source_plus_few", "adabn"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["source", "nowhere"], "nowhere: no such file or folder"),
        (["source", "target", "--budget", "3"], "must be a time such as 90s, 30m or 2h"),
        (["source", "target", "--budget", "10s"], "must be at least 1m"),
        (["source", "target", "--backbones", "dan_cnn"], "did you mean 'dann_cnn'?"),
        (["source", "source"], "source and target are the same domain"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    images: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapt", *words, "--storage", "new", "--json"]) == 2
    assert message in failed("adapt", capsys.readouterr().out)
    assert not Path("new").exists()


def test_images_are_as_large_as_the_budget_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_plan, "cpu_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    seconds = {224: 0.05, 160: 0.025, 128: 0.016, 96: 0.009, 64: 0.004}
    monkeypatch.setattr(adapt_plan, "_seconds_an_image", lambda spec, side: seconds[side])
    size = partial(adapt_plan.fitting_size, ["resnet18"], 100)
    assert size(36_000) == adapt_plan.Size(224, 20)
    # 600 s: 60 s a training, 6.4 s an epoch at 128 pixels, 10 s at 160.
    assert size(600) == adapt_plan.Size(128, 9)
    assert size(60) == adapt_plan.Size(64, 3)
    assert size(600, 224) == adapt_plan.Size(224, 3)
    # Kept features: 5 s an epoch at 224 pixels.
    assert size(600, frozen=True) == adapt_plan.Size(224, 12)
