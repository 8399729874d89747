"""The winner against its baselines."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest

from dann_search.cli import main
from dann_search.config.data import DataConfig
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.open_domain import open_domain
from dann_search.data.store import open_images, pack, read_info
from dann_search.data.target_labels import target_train_labels
from dann_search.errors import InputError, RunError
from dann_search.evaluation.compare import _new_seeds, _steps, compare
from dann_search.evaluation.comparison import notes
from dann_search.evaluation.fairness import fairness
from dann_search.evaluation.runs import plan_runs
from dann_search.results.reader import open_experiment, read_experiment, read_trials
from dann_search.storage.compare_lock import alone
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST
from dann_search.training.job import Failures, TrainAll, TrainingJob
from tests.data.images import write_domain
from tests.json_output import printed
from tests.train_here import train_here

METHODS = ["dann", "source_only", "from_scratch"]


def weights(experiment: ExperimentFolder) -> dict[str, bytes]:
    return {
        path.parent.name: path.read_bytes()[-1000:] for path in experiment.compare.glob(f"*/{BEST}")
    }


def test_baselines_share_the_recipe_and_test_labels_change_only_the_scores(
    experiment: ExperimentFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    train = partial(train_here, progress=lines.append)
    result = compare(experiment, train, methods=METHODS, seeds=2)
    assert list(result.methods) == METHODS
    assert result.methods["from_scratch"].same_as == "source_only"
    assert len(lines) == 4  # two methods, two seeds: from_scratch is not trained twice
    recipes = [path.name for path in experiment.compare.iterdir() if path.is_dir()]
    assert sorted(name.rsplit("-", 1)[0] for name in recipes) == [
        "dann-seed1", "dann-seed2", "source_only-seed1", "source_only-seed2",
    ]  # fmt: skip
    content = json.loads((experiment.compare / "comparison.json").read_text())
    assert printed("compare", json.dumps(content)) == result.model_dump(mode="json")
    runs = content["methods"]["source_only"]["runs"]
    assert content["methods"]["from_scratch"]["runs"] == runs
    assert all((experiment.compare / run / BEST).is_file() for run in runs)
    summary = content["methods"]["dann"]["f1_macro_test"]
    assert summary["mean"] == pytest.approx(np.mean(summary["values"]))
    assert summary["sd"] == pytest.approx(np.std(summary["values"], ddof=1))
    trained = weights(experiment)

    labels = experiment.data / "target.test.labels.npy"
    np.save(labels, np.zeros_like(np.load(labels)))
    words = ["--methods", ",".join(METHODS), "--seeds", "2", "--json"]
    assert main(["compare", str(experiment.root), *words]) == 0  # nothing is left to train
    assert "methods" in printed("compare", capfd.readouterr().out)
    lines.clear()
    again = compare(experiment, train, methods=METHODS, seeds=2)
    assert lines == ["4 of 4 trainings are there from before"]
    assert again.methods["dann"].f1_macro_test.values != result.methods["dann"].f1_macro_test.values
    assert weights(experiment) == trained

    for path in experiment.compare.glob("*/done"):
        path.unlink()
    for path in experiment.compare.glob("*/*.safetensors"):
        path.unlink()
    compare(experiment, train_here, methods=METHODS, seeds=2)
    assert {name: len(content) for name, content in weights(experiment).items()} == {
        name: len(content) for name, content in trained.items()
    }
    assert weights(experiment) == trained


def test_what_one_machine_trained_another_does_not_train_again(
    experiment: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fsspec.filesystem("memory")
    files.put(str(experiment.root), "/compared/small", recursive=True)
    url, names = "memory://compared/small", ["dann", "source_only"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))

    def cut_off(jobs: Sequence[TrainingJob], content: ExperimentConfig) -> Failures:
        train_here(jobs[:2], content)
        # As older versions trained: this machine alone has it.
        train_here([replace(jobs[2], experiment=ExperimentFolder(tmp_path))], content)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(open_experiment(url), cut_off, methods=names, seeds=2)
    assert len(files.glob("/compared/small/compare/*/done")) == 2
    lines: list[str] = []
    train = partial(train_here, progress=lines.append)
    here = compare(open_experiment(url), train, methods=names, seeds=2)
    assert lines[0] == "3 of 4 trainings are there from before"
    assert len(files.glob("/compared/small/compare/*/done")) == 4

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    lines.clear()
    there = compare(open_experiment(url), train, methods=names, seeds=2)
    assert lines == ["4 of 4 trainings are there from before"]
    assert there.methods == here.methods
    files.rm("/compared", recursive=True)


def test_bad_input_is_refused_before_anything_is_trained(experiment: ExperimentFolder) -> None:
    def train(*_: object) -> Failures:
        raise AssertionError("training began")

    with pytest.raises(InputError, match="did you mean 'source_only'"):
        compare(experiment, train, methods=["source-only"])
    with pytest.raises(InputError, match="at least 2 seeds for a deviation, got 1"):
        compare(experiment, train, seeds=1)
    with DriverLock(experiment), pytest.raises(InputError, match="search is still running"):
        compare(experiment, train)
    with (
        alone(experiment),
        pytest.raises(InputError, match="a comparison is already running"),
    ):
        compare(experiment, train)


def test_a_baseline_that_diverges_is_left_out_and_a_winner_that_does_is_an_error(
    experiment: ExperimentFolder,
) -> None:
    def failing(method: str) -> TrainAll:
        def train(jobs: Sequence[TrainingJob], content: ExperimentConfig) -> Failures:
            bad = [job for job in jobs if job.name == f"{method}, seed 2"]
            train_here([job for job in jobs if job not in bad], content)
            return {job.name: "the loss became nan in epoch 1" for job in bad}

        return train

    result = compare(experiment, failing("source_only"), methods=["dann", "source_only"], seeds=2)
    reason = "1 of 2 trainings failed, the first: the loss became nan in epoch 1"
    assert list(result.methods) == ["dann"] and result.failed == {"source_only": reason}
    assert f"source_only is left out: {reason}" in notes(result)
    with pytest.raises(RunError, match="dann: 1 of 2 trainings failed"):
        compare(experiment, failing("dann"), methods=["dann", "source_only"], seeds=2)


def test_seeds_that_confirmed_the_winner_are_not_used_again(
    experiment: ExperimentFolder,
) -> None:
    rows = read_trials(experiment)
    winner = next(row for row in rows if row.state == "completed")
    again = replace(winner, number=9, confirms=winner.number, config=winner.config | {"seed": 2})
    assert _new_seeds(winner, [*rows, again], 3) == [1, 3, 4]


def test_terms_count_the_target_labels_and_trials_that_chose_the_recipe(
    experiment: ExperimentFolder,
) -> None:
    content, rows = read_experiment(experiment), read_trials(experiment)
    winner, info = TrialConfig(**rows[0].config), read_info(experiment.data)
    search = content.search.model_copy(update={"objective": "info_max"})
    label_free = content.model_copy(update={"search": search})
    by_labels, without = (
        fairness(one, rows, winner, ["dann", "source_only"], [1, 2], info).tuned
        for one in (content, label_free)
    )
    assert by_labels.target_val_labels == info.sizes["target"]["val"] > 0
    assert without.target_val_labels == 0
    assert by_labels.trials == 3  # two completed, one pruned; the failed one chose nothing


def test_tllibs_recipe_is_trained_beside_the_winner_and_features_that_stay_as_they_are(
    experiment: ExperimentFolder,
) -> None:
    names = ["dann", "frozen_features", "tllib_dann"]
    result = compare(experiment, train_here, methods=names, seeds=2)
    assert list(result.methods) == names
    assert not any(scores.same_as for scores in result.methods.values())
    runs = {path.name.rsplit("-", 1)[0] for path in experiment.compare.iterdir() if path.is_dir()}
    methods = ("dann", "source_only")
    assert runs == {f"{method}-seed{seed}" for method in methods for seed in (1, 2)}
    assert len(list(experiment.compare.glob("dann-seed1-*"))) == 2  # the winner's, and tllib's
    assert set(result.methods["tllib_dann"].difference) == {"f1_macro", "accuracy"}


def test_each_part_of_the_winner_is_trained_and_says_what_it_brings(
    experiment: ExperimentFolder,
) -> None:
    names = ["dann", "source_only", "adabn", "lambda_0"]
    result = compare(experiment, train_here, methods=names, seeds=2)
    assert not any(scores.same_as for scores in result.methods.values())
    assert {name: {run.rsplit("-", 2)[0] for run in one.runs} for name, one in
            result.methods.items()} == {
        "dann": {"dann"}, "source_only": {"source_only"}, "adabn": {"adabn"}, "lambda_0": {"dann"},
    }  # fmt: skip
    adabn = result.methods["adabn"]
    assert adabn.part and adabn.part.over == "source_only"
    means = [result.methods[name].f1_macro_test.mean for name in ("adabn", "source_only")]
    assert adabn.part.f1_macro.mean == pytest.approx(means[0] - means[1])
    assert "against source_only" in result.verdict and "against adabn" in result.verdict
    (said,) = [line for line in notes(result) if "each part brings" in line]
    assert "lambda_0 over adabn" in said and "dann over lambda_0" in said


def test_tllibs_schedules_count_steps(experiment: ExperimentFolder) -> None:
    winner = TrialConfig(**read_trials(experiment)[0].config)
    sizes = read_info(experiment.data).sizes
    larger = max(sizes[role]["train"] for role in ("source", "target"))
    steps = winner.epochs * (larger // winner.batch_size)
    (run,) = plan_runs(
        experiment, read_experiment(experiment), winner, ["tllib_dann"], [1],
        _steps(winner, experiment.data),
    ).runs["tllib_dann"]  # fmt: skip
    assert run.config.lambda_gamma == run.config.lr_gamma == steps / 1000


def test_the_upper_bound_is_trained_on_the_target_with_its_labels(
    experiment: ExperimentFolder,
) -> None:
    result = compare(experiment, train_here, methods=["source_only", "target_supervised"], seeds=2)
    bound, base = (result.methods[name] for name in ("target_supervised", "source_only"))
    assert bound.f1_macro_test.mean > base.f1_macro_test.mean
    said = "target_supervised is an upper bound: it was trained on the target's own labels"
    assert said in notes(result)
    # Nothing but weights and scores is left of it.
    files = {path.name for path in experiment.compare.rglob("*") if path.is_file()}
    results = {f"comparison.{suffix}" for suffix in ("json", "csv", "md", "tex")}
    assert files == {"best.safetensors", "last.safetensors", "done", ".lock"} | results
    assert not (experiment.data / "target.train.labels.npy").exists()


def test_labels_that_a_killed_comparison_left_go_with_the_next_one(
    experiment: ExperimentFolder,
) -> None:
    experiment.supervised_data.mkdir(parents=True)
    (experiment.supervised_data / "source.train.labels.npy").touch()

    def train(*_: object) -> Failures:
        assert not experiment.supervised_data.exists()
        raise RunError("seen")

    with pytest.raises(RunError, match="seen"):
        compare(experiment, train, methods=["source_only"], seeds=2)


def test_labels_of_the_upper_bound_are_those_of_the_stored_images(
    experiment: ExperimentFolder,
) -> None:
    config = read_experiment(experiment).data
    labels = target_train_labels(config, experiment.data)
    domain = open_domain(config.target, experiment.root)
    label_of = {
        domain.decode(row, 16).tobytes(): int(domain.labels[row]) for row in range(len(domain))
    }
    images = open_images(experiment.data, "target", "train")
    assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_the_upper_bound_is_refused_where_the_images_have_changed(
    experiment: ExperimentFolder,
) -> None:
    info = json.loads((experiment.data / "store.json").read_text())
    info["hashes"]["target"]["train"] = "of other images"
    (experiment.data / "store.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="domain digits-m: its training images are no longer"):
        target_train_labels(read_experiment(experiment).data, experiment.data)


def test_unlabelled_target_images_have_no_upper_bound(tmp_path: Path) -> None:
    write_domain(tmp_path / "amazon", {"bike": 10, "mug": 10}, seed=1)
    write_domain(tmp_path / "webcam", {"bike": 10, "mug": 10}, seed=2)
    write_domain(tmp_path / "more", {"x": 3}, seed=3)
    (tmp_path / "webcam" / "mug" / "broken.jpg").touch()
    target = {"folder": tmp_path / "webcam"}
    config = DataConfig.model_validate(
        {"source": {"folder": tmp_path / "amazon"}, "target": target, "unreadable": "skip"}
    )
    pack(config, 12, tmp_path / "store")
    assert target_train_labels(config, tmp_path / "store").tolist() == [0] * 6 + [1] * 6
    config = DataConfig.model_validate(
        {"source": config.source, "target": target | {"unlabelled": tmp_path / "more"},
         "unreadable": "skip"}
    )  # fmt: skip
    pack(config, 12, tmp_path / "store")
    with pytest.raises(InputError, match="3 of its 15 training images have no label"):
        target_train_labels(config, tmp_path / "store")
