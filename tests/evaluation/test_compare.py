"""The winner against its baselines."""

import errno
import fcntl
import json
import os
import shutil
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
from dann_search.data.store import open_images, open_labels, pack, read_info
from dann_search.data.target_labels import target_train_labels
from dann_search.errors import InputError, RunError
from dann_search.evaluation.compare import _new_seeds, _steps, compare
from dann_search.evaluation.comparison import notes
from dann_search.evaluation.fairness import fairness
from dann_search.evaluation.runs import plan_runs
from dann_search.outputs.comparison import Comparison
from dann_search.results.reader import open_experiment, read_experiment, read_trials
from dann_search.storage.compare_lock import alone
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST
from dann_search.training.job import Failures, TrainAll, TrainingJob
from tests.data.images import write_domain
from tests.json_output import printed
from tests.train_here import train_here

METHODS = [
    "dann", "source_only", "from_scratch", "adabn", "lambda_0", "frozen_features", "tllib_dann",
    "target_supervised",
]  # fmt: skip


def weights(tiny: ExperimentFolder) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes()[-1000:] for path in tiny.compare.glob(f"*/{BEST}")}


@pytest.fixture(scope="module")
def compared(
    tiny_searched: ExperimentFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExperimentFolder, Comparison]:
    """An experiment and the comparison of many methods; read only."""
    folder = ExperimentFolder(tmp_path_factory.mktemp("compared") / "tiny")
    shutil.copytree(tiny_searched.root, folder.root)
    return folder, compare(folder, train_here, methods=METHODS, seeds=2)


def test_a_comparison_has_every_method_and_names_its_runs(
    compared: tuple[ExperimentFolder, Comparison],
) -> None:
    folder, result = compared
    assert list(result.methods) == METHODS
    content = json.loads((folder.compare / "comparison.json").read_text())
    assert printed("compare", json.dumps(content)) == result.model_dump(mode="json")
    summary = content["methods"]["dann"]["f1_macro_test"]
    assert summary["mean"] == pytest.approx(np.mean(summary["values"]))
    assert summary["sd"] == pytest.approx(np.std(summary["values"], ddof=1))
    # Only recipes that come to the same share their runs.
    same = {name: one.same_as for name, one in result.methods.items() if one.same_as}
    assert same == {"from_scratch": "source_only"}
    runs = {name: content["methods"][name]["runs"] for name in METHODS}
    assert runs["from_scratch"] == runs["source_only"]
    distinct = {run for of_one in runs.values() for run in of_one}
    assert len(distinct) == 2 * (len(METHODS) - 1)
    assert all((folder.compare / run / BEST).is_file() for run in distinct)
    assert all(
        (folder.compare / run / BEST).is_file() for of_one in runs.values() for run in of_one
    )
    trained_as = {name: {run.rsplit("-", 1)[0] for run in of_one} for name, of_one in runs.items()}
    expected = {name: name for name in METHODS} | {
        "from_scratch": "source_only", "lambda_0": "dann", "frozen_features": "source_only",
        "tllib_dann": "dann",
    }  # fmt: skip
    assert trained_as == {name: {f"{one}-seed1", f"{one}-seed2"} for name, one in expected.items()}
    # Nothing but weights and scores is left, of the target's labels too.
    files = {path.name for path in folder.compare.rglob("*") if path.is_file()}
    results = {f"comparison.{suffix}" for suffix in ("json", "csv", "md", "tex")}
    assert files == {"best.safetensors", "last.safetensors", "done", ".lock"} | results
    assert not (folder.data / "target.train.labels.npy").exists()


def test_each_part_of_the_winner_says_what_it_brings(
    compared: tuple[ExperimentFolder, Comparison],
) -> None:
    _, result = compared
    methods, said = result.methods, notes(result)
    adabn = methods["adabn"]
    assert adabn.part and adabn.part.over == "source_only"
    means = [methods[name].f1_macro_test.mean for name in ("adabn", "source_only")]
    assert adabn.part.f1_macro.mean == pytest.approx(means[0] - means[1])
    assert "against source_only" in result.verdict and "against adabn" in result.verdict
    (parts,) = [line for line in said if "each part brings" in line]
    assert "lambda_0 over adabn" in parts and "dann over lambda_0" in parts
    assert set(methods["tllib_dann"].difference) == {"f1_macro", "accuracy"}
    bound = "target_supervised is an upper bound: it was trained on the target's own labels"
    assert bound in said


def test_test_labels_change_only_the_scores_and_trainings_repeat_to_the_last_byte(
    tiny: ExperimentFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    names, lines = ["dann", "source_only", "from_scratch"], list[str]()
    train = partial(train_here, progress=lines.append)
    result = compare(tiny, train, methods=names, seeds=2)
    assert len(lines) == 4  # two methods, two seeds: from_scratch is not trained twice
    trained = weights(tiny)

    labels = tiny.data / "target.test.labels.npy"
    np.save(labels, np.zeros_like(np.load(labels)))
    words = ["--methods", ",".join(names), "--seeds", "2", "--json"]
    assert main(["compare", str(tiny.root), *words]) == 0  # nothing is left to train
    assert "methods" in printed("compare", capfd.readouterr().out)
    lines.clear()
    again = compare(tiny, train, methods=names, seeds=2)
    assert lines == ["4 of 4 trainings are there from before"]
    assert again.methods["dann"].f1_macro_test.values != result.methods["dann"].f1_macro_test.values
    assert weights(tiny) == trained

    for path in (*tiny.compare.glob("*/done"), *tiny.compare.glob("*/*.safetensors")):
        path.unlink()
    compare(tiny, train_here, methods=names, seeds=2)
    assert weights(tiny) == trained


def test_what_one_machine_trained_another_does_not_train_again(
    tiny: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fsspec.filesystem("memory")
    files.put(str(tiny.root), "/compared/small", recursive=True)
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
    done: list[tuple[int, int]] = []
    there = compare(
        open_experiment(url),
        train,
        methods=names,
        seeds=2,
        tell=lines.append,
        scored=lambda *counts: done.append(counts),
    )
    assert done == [(scored, 4) for scored in range(5)]
    assert lines == [
        "4 of 4 trainings are there from before", "scoring 4 runs on the target's test split"
    ]  # fmt: skip
    assert there.methods == here.methods
    files.rm("/compared", recursive=True)


def test_bad_input_is_refused_before_anything_is_trained(tiny: ExperimentFolder) -> None:
    def train(*_: object) -> Failures:
        raise AssertionError("training began")

    with pytest.raises(InputError, match="did you mean 'source_only'"):
        compare(tiny, train, methods=["source-only"])
    with pytest.raises(InputError, match="at least 2 seeds for a deviation, got 1"):
        compare(tiny, train, seeds=1)
    with DriverLock(tiny), pytest.raises(InputError, match="search is still running"):
        compare(tiny, train)
    with (
        alone(tiny),
        pytest.raises(InputError, match="a comparison is already running"),
    ):
        compare(tiny, train)


def test_a_file_system_without_locks_is_named(
    tiny: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match="cannot be locked: No locks available"), alone(tiny):
        pass


def test_a_baseline_that_diverges_is_left_out_and_a_winner_that_does_is_an_error(
    tiny: ExperimentFolder,
) -> None:
    def failing(method: str) -> TrainAll:
        def train(jobs: Sequence[TrainingJob], content: ExperimentConfig) -> Failures:
            bad = [job for job in jobs if job.name == f"{method}, seed 2"]
            train_here([job for job in jobs if job not in bad], content)
            return {job.name: "the loss became nan in epoch 1" for job in bad}

        return train

    result = compare(tiny, failing("source_only"), methods=["dann", "source_only"], seeds=2)
    reason = "1 of 2 trainings failed, the first: the loss became nan in epoch 1"
    assert list(result.methods) == ["dann"] and result.failed == {"source_only": reason}
    assert f"source_only is left out: {reason}" in notes(result)
    with pytest.raises(RunError, match="dann: 1 of 2 trainings failed"):
        compare(tiny, failing("dann"), methods=["dann", "source_only"], seeds=2)


def test_seeds_that_confirmed_the_winner_are_not_used_again(
    tiny: ExperimentFolder,
) -> None:
    rows = read_trials(tiny)
    winner = next(row for row in rows if row.state == "completed")
    again = replace(winner, number=9, confirms=winner.number, config=winner.config | {"seed": 2})
    assert _new_seeds(winner, [*rows, again], 3) == [1, 3, 4]


def test_terms_count_the_target_labels_and_trials_that_chose_the_recipe(
    tiny: ExperimentFolder,
) -> None:
    content, rows = read_experiment(tiny), read_trials(tiny)
    winner, info = TrialConfig(**rows[0].config), read_info(tiny.data)
    search = content.search.model_copy(update={"objective": "info_max"})
    label_free = content.model_copy(update={"search": search})
    by_labels, without = (
        fairness(one, rows, winner, ["dann", "source_only"], [1, 2], info).tuned
        for one in (content, label_free)
    )
    assert by_labels.target_val_labels == info.sizes["target"]["val"] > 0
    assert without.target_val_labels == 0
    assert by_labels.trials == 3  # two completed, one pruned; the failed one chose nothing


def test_tllibs_schedules_count_steps(tiny: ExperimentFolder) -> None:
    winner = TrialConfig(**read_trials(tiny)[0].config)
    sizes = read_info(tiny.data).sizes
    larger = max(sizes[role]["train"] for role in ("source", "target"))
    steps = winner.epochs * (larger // winner.batch_size)
    (run,) = plan_runs(
        tiny, read_experiment(tiny), winner, ["tllib_dann"], [1],
        _steps(winner, tiny.data), tiny.data,
    ).runs["tllib_dann"]  # fmt: skip
    assert run.config.lambda_gamma == run.config.lr_gamma == steps / 1000


def test_labels_that_a_killed_comparison_left_go_with_the_next_one(
    tiny: ExperimentFolder,
) -> None:
    tiny.supervised_data.mkdir(parents=True)
    (tiny.supervised_data / "source.train.labels.npy").touch()

    def train(*_: object) -> Failures:
        assert not tiny.supervised_data.exists()
        raise RunError("seen")

    with pytest.raises(RunError, match="seen"):
        compare(tiny, train, methods=["source_only"], seeds=2)


def test_the_upper_bound_is_trained_on_the_targets_images_and_labels(
    tiny: ExperimentFolder,
) -> None:
    labels = target_train_labels(read_experiment(tiny).data, tiny.data)

    def train(jobs: Sequence[TrainingJob], _: ExperimentConfig) -> Failures:
        (store,) = {job.store for job in jobs if job.name.startswith("target_supervised")}
        (others,) = {job.store for job in jobs if job.name.startswith("source_only")}
        images = open_images(tiny.data, "target", "train")
        assert (open_images(store, "source", "train") == images).all() and others == tiny.data
        assert (open_labels(store, "source", "train") == labels).all()
        raise RunError("seen")

    with pytest.raises(RunError, match="seen"):
        compare(tiny, train, methods=["source_only", "target_supervised"], seeds=2)


def test_labels_of_the_upper_bound_are_those_of_the_stored_images(
    tiny: ExperimentFolder,
) -> None:
    config = read_experiment(tiny).data
    labels = target_train_labels(config, tiny.data)
    domain = open_domain(config.target, tiny.root)
    label_of = {
        domain.decode(row, 16).tobytes(): int(domain.labels[row]) for row in range(len(domain))
    }
    images = open_images(tiny.data, "target", "train")
    assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_the_upper_bound_is_refused_where_the_images_have_changed(
    tiny: ExperimentFolder,
) -> None:
    info = json.loads((tiny.data / "store.json").read_text())
    info["hashes"]["target"]["train"] = "of other images"
    (tiny.data / "store.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="domain target: its training images are no longer"):
        target_train_labels(read_experiment(tiny).data, tiny.data)


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
