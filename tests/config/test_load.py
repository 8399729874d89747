"""Every bad input gives one InputError that names the place, the rule and the value found."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig, adapting, weighed
from dann_search.errors import InputError

STAGES = {"dann_cnn": 3, "resnet50": 5, "vgg16": 5}
DATA = "data:\n  source: {dataset: digits}\n  target: {dataset: digits-m}\n"
"""Three lines: what a test appends stands from line 4 on."""


def load(folder: Path, text: str, **options: Any) -> tuple[ExperimentConfig, Space]:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path, STAGES, **options)


def message(folder: Path, text: str, **options: Any) -> str:
    """The one line a bad file is answered with, without the name of the test's own folder."""
    with pytest.raises(InputError) as caught:
        load(folder, text, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")


def test_data_alone_is_a_valid_experiment(tmp_path: Path) -> None:
    experiment, space = load(tmp_path, DATA)
    assert experiment.name == "space"
    assert experiment.storage == (Path.cwd() / "runs").resolve()
    assert space.parameters == {}
    assert space.fixed == TrialConfig()


def test_the_documented_file_is_valid(tmp_path: Path) -> None:
    """The example of INTERFACE.md, with its folders and weights in place."""
    for folder in ("amazon", "webcam"):
        (tmp_path / folder).mkdir()
    (tmp_path / "resnet50.safetensors").touch()
    text = """
name: office-a2w
data:
  source: {folder: amazon}
  target: {folder: webcam}
  splits: {train: 0.6, val: 0.2, test: 0.2, seed: 0}
  image_size: 224
training: {method: dann, epochs: 20, batch_size: 32, seed: 0}
search: {trials: 40, sampler: tpe, scheduler: asha, seed: 0, budget: {hours: 2}}
space:
  backbone: {choice: [vgg16, resnet50]}
  unfrozen_depth: {int: [0, 4]}
  lambda_schedule: {choice: [constant, linear, ganin]}
  lambda_max: {uniform: [0.1, 1.0]}
  lambda_gamma: {loguniform: [1, 20], when: {lambda_schedule: ganin}}
  rotation_degrees: {uniform: [0, 30]}
  horizontal_flip: {choice: [0.0, 0.5]}
  learning_rate: {loguniform: [1.0e-4, 3.0e-2]}
  head_lr_factor: {choice: [1, 10]}
weights: {resnet50: resnet50.safetensors}
resources: {workers_per_trial: 1, cpus_per_worker: 1, gpus_per_worker: 0}
storage: kept
"""
    experiment, space = load(tmp_path, text)
    assert experiment.data.sources[0].folder == (tmp_path / "amazon").resolve()
    assert experiment.weights["resnet50"].file == (tmp_path / "resnet50.safetensors").resolve()
    assert experiment.place == str((tmp_path / "kept" / "office-a2w").resolve())
    assert space.backbones == ["vgg16", "resnet50"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("- a\n", "space.yaml: expected a mapping of keys such as 'name:' and 'data:', "
                     "found a list", id="no mapping"),
        pytest.param("", "space.yaml: expected a mapping of keys such as 'name:' and 'data:', "
                     "found an empty file", id="empty"),
        pytest.param("a: [1\nb: 2\n", "space.yaml:2: not valid YAML: expected ',' or ']', "
                     "but got ':'", id="syntax"),
        pytest.param("data: 1\nname: a\ndata: 2\n", "space.yaml:3: duplicate key 'data'",
                     id="duplicate key"),
        pytest.param("name: x\n", "space.yaml: data: is missing: name a source and a target "
                     "domain", id="no data"),
        pytest.param("data: {target: {dataset: digits}}\n", "space.yaml:1: data.source: is missing",
                     id="no source"),
        pytest.param("data: &a {source: *a}\n", "space.yaml:1: an alias repeats the section that "
                     "it is part of", id="cyclic alias"),
        pytest.param("data: !!python/object:os.x {}\n", "space.yaml:1: not valid YAML: could not "
                     "determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.x'",
                     id="python object"),
        pytest.param("[" * 5000, "space.yaml: not valid YAML: nested too deeply", id="deep"),
        pytest.param(
            "a0: &a0 [x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
            "space.yaml: its aliases stand for more than 1,000,000 values", id="many aliases"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path, text) == expected


def test_a_missing_unreadable_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file$"):
        load_experiment(tmp_path / "none.yaml", STAGES)
    with pytest.raises(InputError, match=r"cannot be read: Is a directory$"):
        load_experiment(tmp_path, STAGES)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read: not UTF-8 text$"):
        load_experiment(tmp_path / "binary.yaml", STAGES)


@pytest.mark.parametrize(
    ("text", "key", "unknown", "right"),
    [
        ("trainin: {}", "trainin", "trainin", "training"),
        ("training: {epoch: 5}", "training.epoch", "epoch", "epochs"),
        ("search: {trails: 5}", "search.trails", "trails", "trials"),
        ("search: {budget: {hour: 5}}", "search.budget.hour", "hour", "hours"),
        ("space: {momentum: {choice: [0.5], wen: {method: dann}}}", "space.momentum.wen", "wen",
         "when"),
        ("resources: {worker_per_trial: 1}", "resources.worker_per_trial", "worker_per_trial",
         "workers_per_trial"),
        ("  splits: {trian: 0.6}", "data.splits.trian", "trian", "train"),
        ("  targt: {}", "data.targt", "targt", "target"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_nearest_one(
    tmp_path: Path, text: str, key: str, unknown: str, right: str
) -> None:
    expected = f"space.yaml:4: {key}: unknown key '{unknown}'; did you mean '{right}'?"
    assert message(tmp_path, DATA + text) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{datset: digits}", "data.source.datset: unknown key 'datset'; did you mean 'dataset'?"),
        ("{dataset: digit}", "data.source.dataset: unknown value 'digit'; did you mean 'digits'?"),
        (f"{{folder: {'x' * 300}}}", f"data.source.folder: no such folder: {'x' * 300}"),
        ("{folder: imgs}", "data.source.folder: no such folder: imgs"),
        ("{folder: ., dataset: digits}", "data.source: needs exactly one of: dataset, folder, "
         "manifest, huggingface"),
        ("{}", "data.source: needs exactly one of: dataset, folder, "
         "manifest, huggingface"),
        ("{huggingface: a/b}", "data.source.huggingface: must be a section with keys, got 'a/b'"),
        ("{huggingface: {}}", "data.source.huggingface: needs exactly one of: name, folder"),
        ("{huggingface: {nam: a/b}}", "data.source.huggingface.nam: unknown key 'nam'; did you "
         "mean 'name'?"),
        ("{huggingface: {folder: saved}}", "data.source.huggingface.folder: no such folder: saved"),
        ("{huggingface: {name: ./saved}}", "data.source.huggingface.name: must be a name on the "
         "Hub such as flwrlabs/pacs, got './saved'; a folder that save_to_disk wrote is named "
         "under 'folder'"),
        ("{huggingface: {folder: ., revision: v1}}", "data.source.huggingface.revision: is of a "
         "data set on the Hub, not of a folder; leave it out"),
        ("{huggingface: {name: a/b, where: {domain: 1}}}", "data.source.huggingface.where.domain: "
         "must be text, got 1"),
        ("digits", "data.source: must be a section with keys, got 'digits'"),
        ("{folder: 5}", "data.source.folder: must be text or a path, got 5"),
        ("{manifest: a.csv}", "data.source.manifest: no such file: a.csv"),
        ("{dataset: digits, root: .}", "data.source: root is the folder of a torchvision data set; "
         "name one under dataset"),
        ("{dataset: digits, labelled: false, classes: {a: b}}", "data.source.classes: the target "
         "has no labels, so there is nothing to add this to; leave it out"),
        ("[{folder: imgs}, {dataset: digits}]", "data.source.0.folder: no such folder: imgs"),
        ("[]", "data.source: must be a list with at least one value, got []"),
        ("{dataset: digits, classes: [a]}", "data.source.classes: must be a section with keys, "
         "got ['a']"),
        ("{folder: ~nobody-here/x}", "data.source.folder: not a usable path: '~nobody-here/x' "
         "(Could not determine home directory.)"),
        ('{folder: "a\\0b"}', "data.source.folder: not a usable path: 'a\\x00b' "
         "(embedded null byte)"),
    ],
)  # fmt: skip
def test_a_domain_that_cannot_be_opened_is_refused(
    tmp_path: Path, source: str, expected: str
) -> None:
    text = f"data:\n  source: {source}\n  target: {{dataset: digits-m}}\n"
    assert message(tmp_path, text) == f"space.yaml:2: {expected}"


def test_the_upper_bound_of_compare_is_no_method_of_a_search(tmp_path: Path) -> None:
    said = message(tmp_path, DATA + "training: {method: target_supervised}\n")
    assert said.startswith("space.yaml:4: training.method: unknown value 'target_supervised'; ")
    said = message(tmp_path, DATA + "space: {method: {choice: [dann, target_supervised]}}\n")
    assert "target_supervised" in said


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{folder: ., unlabelled: .}", "a source has labels: 'unlabelled' belongs to the target"),
        (
            "[{dataset: digits}, {dataset: digits}]",
            "the same domain is listed twice among the sources",
        ),
        ("{dataset: digits-m}", "source and target are the same domain"),
        ("[{folder: .}, {dataset: digits-m}]", "source and target are the same domain"),
    ],
)
def test_domains_that_do_not_go_together_are_refused(
    tmp_path: Path, source: str, expected: str
) -> None:
    text = f"data:\n  source: {source}\n  target: {{dataset: digits-m}}\n"
    assert message(tmp_path, text) == f"space.yaml:1: data: {expected}"


def test_all_kinds_of_domains_are_read_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "list.csv").touch()
    text = """data:
  source:
    - {folder: photos, classes: {automobile: car}}
    - {manifest: list.csv}
    - {dataset: cifar10, root: sets}
    - {folder: "s3://bucket/a//b"}
  target: {folder: photos, unlabelled: photos}
"""
    data = load(tmp_path, text)[0].data
    photos, listed, cifar, remote = data.sources
    assert (photos.folder, photos.classes) == (tmp_path / "photos", {"automobile": "car"})
    assert listed.manifest == tmp_path / "list.csv"
    assert cifar.root == tmp_path / "sets"
    assert remote.folder == "s3://bucket/a//b"
    assert data.target.unlabelled == tmp_path / "photos"
    assert [domain.name for domain in data.sources] == ["photos", "list", "cifar10", "b"]
    assert type(data).model_validate_json(data.model_dump_json()) == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  splits: {train: 0.9}", "data.splits: train + val + test must be 1, got 1.3"),
        ("  source_splits: {trian: 0.6}",
         "data.source_splits.trian: unknown key 'trian'; did you mean 'train'?"),
        ("  splits: {train: .nan}", "data.splits.train: must be a finite number, got nan"),
        ("  splits: {train: 1.5, val: -0.7}", "data.splits.train: must be less than 1, got 1.5"),
        ("  image_size: 4", "data.image_size: must be at least 8, got 4"),
        ("training: {epochs: many}", "training.epochs: must be a whole number, got 'many'"),
        ("training: {epochs: 2.5}", "training.epochs: must be a whole number, got 2.5"),
        ("training: {epochs: true}", "training.epochs: must be a number, got true"),
        ("training: {epochs: null}", "training.epochs: must be a whole number, got nothing"),
        ("training: {epochs: 0}", "training.epochs: must be at least 1, got 0"),
        ("training: {pretrained: maybe}", "training.pretrained: must be true or false, "
         "got 'maybe'"),
        ("training: {learning_rate: .nan}", "training.learning_rate: must be a finite number, "
         "got nan"),
        ("training: {lr_schedule: cos}", "training.lr_schedule: unknown value 'cos'; "
         "did you mean 'cosine'?"),
        ("training: 5", "training: must be a section with keys, got 5"),
        ("training: {5: 6}", "training: keys must be text, got 5"),
        ("training: {backbone: vgg61}", "training.backbone: unknown backbone 'vgg61'; "
         "did you mean 'vgg16'?"),
        ("training: {backbone: vgg16, unfrozen_depth: 9}", "training.unfrozen_depth: "
         "must be at most 5 for vgg16, got 9"),
        ("training: {epochs: 3, linear_probe_epochs: 3}", "training.linear_probe_epochs: "
         "must be less than epochs (3), got 3"),
        ("search: {budget: {hours: .inf}}", "search.budget.hours: must be a finite number, "
         "got inf"),
        ("search: {budget: {hours: 0}}", "search.budget.hours: must be more than 0, got 0"),
        ("search: {budget: {gpu_hours: -1}}", "search.budget.gpu_hours: must be more than 0, "
         "got -1"),
        ("search: {budget: {no_improvement: 0}}", "search.budget.no_improvement: must be at "
         "least 1, got 0"),
        ("search: {study: sqlit}", "search.study: unknown value 'sqlit'; did you mean 'sqlite'?"),
        ("search: {trials: 0}", "search.trials: must be at least 1, got 0"),
        ("resources: {gpus_per_worker: x}", "resources.gpus_per_worker: must be a number or "
         "'auto', got 'x'"),
        ("resources: {gpus_per_worker: 2}", "resources.gpus_per_worker: must be at most 1, for a "
         "worker trains on one GPU; a trial gets more of them by workers_per_trial, got 2"),
        ("resources: {max_parallel_trials: 0}", "resources.max_parallel_trials: must be at least "
         "1 or 'auto', got 0"),
        ("resources: {workers_per_trial: 17}", "resources.workers_per_trial: batch_size must be "
         "at least 34, two images for each of 17 workers, got 32"),
        ("weights: {resnet50: w.pt}", "weights.resnet50: no such file: w.pt"),
        (
            "weights: {resnet50: {file: space.yaml, mena: 1}}",
            "weights.resnet50.mena: unknown key 'mena'; did you mean 'mean'?",
        ),
        (
            "weights: {resnet50: {file: space.yaml, mean: [1, 2]}}",
            "weights.resnet50.mean: must be a number or three, one a channel, got [1, 2]",
        ),
        (
            "weights: {resnet50: {file: space.yaml, std: 0}}",
            "weights.resnet50.std: must be more than 0, got 0",
        ),
        ("weights: {resnt50: space.yaml}", "weights.resnt50: unknown backbone 'resnt50'; "
         "did you mean 'resnet50'?"),
        ("name: a/b", "name: must be up to 100 letters, digits, '.', '_' and '-', the first a "
         "letter or digit, got 'a/b'"),
        ("name: 5", "name: must be text, got 5"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_the_rule(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path, DATA + text) == f"space.yaml:4: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rat: {uniform: [1, 2]}", "learning_rat: unknown parameter 'learning_rat'; "
         "did you mean 'learning_rate'?"),
        ("epochs: {int: [1, 2]}", "epochs: 'epochs' is the same for all trials; write it under "
         "training"),
        ("momentum: 0.9", "momentum: must be one of {choice: …}, {uniform: …}, {loguniform: …}, "
         "{int: …}, got 0.9"),
        ("momentum: {unifrom: [0, 0.9]}", "momentum: must be one of {choice: …}, {uniform: …}, "
         "{loguniform: …}, {int: …}, got {'unifrom': [0, 0.9]}"),
        ("momentum: {uniform: [0.9, 0.5]}", "momentum.uniform: low must not exceed high, "
         "got [0.9, 0.5]; write [0.5, 0.9]"),
        ("momentum: {uniform: [0.5]}", "momentum.uniform: must be a pair [low, high], got [0.5]"),
        ("momentum: {uniform: [0, 0.5, 0.9]}", "momentum.uniform: must be a pair [low, high], "
         "got [0, 0.5, 0.9]"),
        ("momentum: {uniform: 0.5}", "momentum.uniform: must be a pair [low, high], got 0.5"),
        ("momentum: {uniform: [a, b]}", "momentum.uniform.0: must be a number, got 'a'"),
        ("momentum: {uniform: [0, .inf]}", "momentum.uniform.1: must be a finite number, got inf"),
        ("momentum: {uniform: [0, 2]}", "momentum.uniform.1: must be less than 1, got 2.0"),
        ("momentum: {uniform: [0, 0.9], step: 0.4}", "momentum.uniform: steps of 0.4 from 0 do not "
         "meet 0.9; write [0, 0.8] or [0, 1.2]"),
        ("learning_rate: {uniform: [1, 4], per_backbone: {vgg16: [3, 1]}}", "learning_rate."
         "per_backbone.vgg16: low must not exceed high, got [3.0, 1.0]; write [1.0, 3.0]"),
        ("unfrozen_depth: {int: [0, 4], per_backbone: {resnet50: [0, 9]}}", "unfrozen_depth."
         "per_backbone.resnet50: must be at most 5, got 9"),
        ("momentum: {choice: []}", "momentum.choice: must be a list with at least one value, "
         "got []"),
        ("momentum: {choice: [0.5, 0.50]}", "momentum.choice: the same value twice in [0.5, 0.5]"),
        ("momentum: {choice: [[1]]}", "momentum.choice.0: must be a single value, got [1]"),
        ("learning_rate: {loguniform: [0, 1]}", "learning_rate.loguniform: a log range needs "
         "low > 0, got [0, 1]; use a small positive low, or uniform"),
        ("batch_size: {int: [64, 32]}", "batch_size.int: low must not exceed high, got [64, 32]; "
         "write [32, 64]"),
        ("batch_size: {int: [8.5, 9]}", "batch_size.int.0: must be a whole number, got 8.5"),
        ("batch_size: {uniform: [16, 64]}", "batch_size.uniform: cannot be searched by uniform; "
         "write it like {choice: [32, 64]}"),
        ("pretrained: {int: [0, 1]}", "pretrained.int: cannot be searched by int; write it like "
         "{choice: […]}"),
        ("lambda_schedule: {choice: [linear, gannin]}", "lambda_schedule.choice.1: unknown value "
         "'gannin'; did you mean 'ganin'?"),
        ("backbone: {choice: [vgg16, resnt50]}", "backbone.choice.1: unknown backbone 'resnt50'; "
         "did you mean 'resnet50'?"),
        ("unfrozen_depth: {int: [0, 9]}", "unfrozen_depth.int: must be at most 5 for resnet50, "
         "got 9"),
        ("linear_probe_epochs: {int: [0, 20]}", "linear_probe_epochs.int: must be less than "
         "epochs (20), got 20"),
        ("unfrozen_depth: {int: [-1, 2]}", "unfrozen_depth.int.0: must be at least 0, got -1"),
        ("unfrozen_depth: {choice: [1, 2]}", "unfrozen_depth.choice: cannot be searched by "
         "choice; write it like {int: [0, 4]}"),
        ("momentum: {choice: [0.5], when: {lambda_shedule: ganin}}", "momentum.when.lambda_shedule:"
         " unknown parameter 'lambda_shedule'; did you mean 'lambda_schedule'?"),
        ("momentum: {choice: [0.5], when: {momentum: 0.5}}", "momentum.when.momentum: 'momentum' "
         "cannot depend on itself"),
        ("momentum: {choice: [0.5], when: {method: dan}}", "momentum.when.method: never 'dan': "
         "method is fixed at 'dann'"),
        ("momentum: {choice: [0.5], when: ganin}", "momentum.when: must be a section with keys, "
         "got 'ganin'"),
        ("momentum: {choice: [0.5], when: {method: []}}", "momentum.when.method: must be a single "
         "value or a list with at least one value, got []"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_refused_with_the_rule(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path, f"{DATA}space:\n  {text}\n") == f"space.yaml:5: space.{expected}"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("{lambda_schedule: gannin}", "lambda_schedule: lambda_schedule is never 'gannin'; "
         "did you mean 'ganin'?"),
        ("{lambda_schedule: [ganin, constant]}", "lambda_schedule: lambda_schedule is never "
         "'constant'; valid: ganin, linear"),
        ("{weight_decay: abc}", "weight_decay: weight_decay is never 'abc', only between "
         "0.0 and 0.1"),
        ("{weight_decay: 0.5}", "weight_decay: weight_decay is never 0.5, only between "
         "0.0 and 0.1"),
        ("{weight_decay: 0.05}", "weight_decay: weight_decay is hardly ever exactly 0.05, for it "
         "has no steps; give it a step, or {choice: […]}"),
    ],
)  # fmt: skip
def test_a_condition_on_a_value_never_taken_is_refused(
    tmp_path: Path, wanted: str, expected: str
) -> None:
    text = f"""{DATA}space:
  lambda_schedule: {{choice: [linear, ganin]}}
  weight_decay: {{uniform: [0, 0.1]}}
  momentum: {{choice: [0.5, 0.9], when: {wanted}}}
"""
    assert message(tmp_path, text) == f"space.yaml:7: space.momentum.when.{expected}"


def test_a_condition_under_which_a_parameter_has_no_effect_is_refused(tmp_path: Path) -> None:
    text = f"""{DATA}space:
  optimizer: {{choice: [sgd, adamw]}}
  momentum: {{choice: [0.5, 0.9], when: {{optimizer: adamw}}}}
"""
    assert message(tmp_path, text) == (
        "space.yaml:6: space.momentum.when.optimizer: 'momentum' has no effect where optimizer is "
        "'adamw', only where it is sgd"
    )
    _, space = load(tmp_path, text.replace("adamw}}", "[adamw, sgd]}}"))
    assert space.parameters["momentum"].when == {"optimizer": ["sgd"]}


def test_a_condition_on_a_parameter_that_is_absent_does_not_hold(tmp_path: Path) -> None:
    text = f"""{DATA}space:
  optimizer: {{choice: [sgd, adamw]}}
  momentum: {{choice: [0.5, 0.9]}}
  batch_norm: {{choice: [joint, separate], when: {{momentum: 0.9}}}}
search:
  start_points: [{{optimizer: adamw, batch_norm: joint}}]
"""
    # An absent momentum has its default of 0.9 in the recipe.
    assert message(tmp_path, text) == (
        "space.yaml:9: search.start_points.0.batch_norm: does not apply: optimizer is 'adamw'"
    )
    _, space = load(tmp_path, text.replace("adamw, batch", "sgd, momentum: 0.9, batch"))
    recipe = {**space.fixed.model_dump(), "optimizer": "adamw"}
    assert set(space.active(recipe)) == {"optimizer"}
    assert set(space.active({**recipe, "optimizer": "sgd"})) == set(space.parameters)


def test_a_cycle_of_conditions_is_refused_and_shown_without_bystanders(tmp_path: Path) -> None:
    text = f"""{DATA}space:
  weight_decay: {{uniform: [0, 1], when: {{momentum: 0.5}}}}
  momentum: {{choice: [0.5, 0.9], when: {{head_lr_factor: 1}}}}
  head_lr_factor: {{choice: [1, 10], when: {{momentum: 0.5}}}}
"""
    assert message(tmp_path, text) == (
        "space.yaml:6: space.momentum.when: "
        "conditions form a cycle: momentum -> head_lr_factor -> momentum"
    )


def test_a_backbone_that_depends_on_its_own_depth_is_a_cycle(tmp_path: Path) -> None:
    text = f"""{DATA}space:
  backbone: {{choice: [vgg16, resnet50], when: {{unfrozen_depth: 2}}}}
  unfrozen_depth: {{int: [0, 3]}}
"""
    assert "cycle: backbone -> unfrozen_depth -> backbone" in message(tmp_path, text)


def test_a_parameter_fixed_and_searched_is_refused(tmp_path: Path) -> None:
    text = f"{DATA}training: {{momentum: 0.5}}\nspace: {{momentum: {{choice: [0.9]}}}}\n"
    assert message(tmp_path, text) == (
        "space.yaml:5: space.momentum: "
        "'momentum' is fixed under training and searched here; keep one"
    )


def test_depth_may_exceed_the_stages_of_some_backbones_but_not_of_all(tmp_path: Path) -> None:
    text = DATA + "space: {backbone: {choice: [dann_cnn, vgg16]}, unfrozen_depth: {int: [0, 5]}}\n"
    _, space = load(tmp_path, text)
    assert space.bounds("unfrozen_depth", "dann_cnn") == (0, 3)
    assert space.bounds("unfrozen_depth", "vgg16") == (0, 5)
    assert "must be at most 5 for vgg16, got 6" in message(tmp_path, text.replace("0, 5", "0, 6"))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("x", "--set x: expected KEY=VALUE, such as training.epochs=5"),
        ("extends=other.yaml", "--set extends=other.yaml: only a file can extend another; write it "
         "there"),
        ("=3", "--set =3: expected KEY=VALUE, such as training.epochs=5"),
        ("training.epochs=[", "--set training.epochs=[: not valid YAML: expected the node content, "
         "but found '<stream end>'"),
        ("training.epochs=many", "--set training.epochs=many: training.epochs: must be a whole "
         "number, got 'many'"),
        ("trainin.epochs=3", "--set trainin.epochs=3: trainin: unknown key 'trainin'; "
         "did you mean 'training'?"),
        ("name.x=3", "--set name.x=3: 'name' holds a value, not a section"),
        ("data={source: {dataset: x}}", "--set data={source: {dataset: x}}: data.source.dataset: "
         "unknown value 'x'; valid: cifar10, digits, digits-m, digits-m4, fashion_mnist, mnist, "
         "stl10, svhn, usps"),
    ],
)  # fmt: skip
def test_a_bad_override_is_named_as_it_was_typed(tmp_path: Path, item: str, expected: str) -> None:
    assert message(tmp_path, f"{DATA}name: small\n", sets=[item]) == expected


def test_bad_options_are_named_as_they_were_typed(tmp_path: Path) -> None:
    assert message(tmp_path, DATA, name="a/b").startswith("--name a/b: name: must be up to 100")
    said = message(tmp_path, DATA, trials=0)
    assert said == "--trials 0: search.trials: must be at least 1, got 0"


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    experiment, space = load(
        tmp_path,
        DATA + "name: a\nsearch: {trials: 3}\nstorage: x\n",
        sets=["training.epochs=7", "space.momentum={choice: [0.5]}"],
        name="b",
        trials=5,
        storage=tmp_path / "elsewhere",
    )
    assert experiment.fixed.epochs == 7
    assert list(space.parameters) == ["momentum"]
    assert experiment.search.trials == 5
    assert experiment.place == str((tmp_path / "elsewhere" / "b").resolve())


def test_exponents_without_a_dot_are_numbers_everywhere(tmp_path: Path) -> None:
    """YAML 1.1, which PyYAML reads, takes 1e-3 for text; people and YAML 1.2 do not."""
    text = f"""{DATA}training: {{learning_rate: 1e-3}}
space:
  weight_decay: {{loguniform: [1e-5, 1E-2]}}
  head_lr_factor: {{choice: [1e0, 1e+1]}}
  momentum: {{choice: [0.5, 0.9], when: {{head_lr_factor: 1e1}}}}
"""
    experiment, space = load(tmp_path, text, sets=["training.lambda_max=5e-1"])
    assert experiment.training == {"learning_rate": 0.001, "lambda_max": 0.5}
    assert [list(p.stated.values()) for p in space.parameters.values()] == [
        [1e-5, 1e-2],
        [1.0, 10.0],
        [0.5, 0.9],
    ]
    assert space.parameters["momentum"].holds({"optimizer": "sgd", "head_lr_factor": 10.0})


def test_choices_are_what_a_trial_holds(tmp_path: Path) -> None:
    _, space = load(tmp_path, DATA + 'space: {batch_size: {choice: ["32", 64.0]}}\n')
    values = list(space.parameters["batch_size"].stated.values())
    assert values == [32, 64]
    assert all(type(value) is int for value in values)


def test_a_condition_comes_after_what_it_names(tmp_path: Path) -> None:
    text = f"""{DATA}space:
  unfrozen_depth: {{int: [1, 3]}}
  lambda_gamma: {{loguniform: [1, 20]}}
  backbone: {{choice: [vgg16, resnet50], when: {{method: dann}}}}
  lambda_schedule: {{choice: [linear, ganin]}}
  method: {{choice: [dann, source_only]}}
"""
    _, space = load(tmp_path, text)
    order = list(space.parameters)
    assert order == ["method", "backbone", "unfrozen_depth", "lambda_schedule", "lambda_gamma"]
    # An effect it can only have under Ganin's schedule and with a discriminator is implied.
    implied = {"method": weighed(), "lambda_schedule": "ganin"}
    assert set(adapting()) - set(weighed()) == {"adabn"}
    assert space.parameters["lambda_gamma"].when == implied


def test_an_extra_term_and_the_discriminators_options_are_searched_where_they_have_an_effect(
    tmp_path: Path,
) -> None:
    text = f"""{DATA}space:
  extra_weight: {{uniform: [0.1, 2]}}
  extra: {{choice: [none, mcc, afn]}}
  discriminator_norm: {{choice: [none, batch, spectral]}}
  discriminator_gradient_penalty: {{choice: [0, 1]}}
  discriminator_lr_factor: {{loguniform: [0.1, 1]}}
  mdd_margin: {{uniform: [1, 4]}}
  method: {{choice: [dann, mdd, source_only]}}
"""
    _, space = load(tmp_path, text)

    def searched(**values: object) -> set[str]:
        recipe = {name: values.get(name) for name in space.parameters}
        return {name for name in space.parameters if space.applies(name, recipe)} - {"method"}

    options = {name for name in space.parameters if name.startswith("discriminator")}
    assert len(options) == 3
    assert searched(method="dann", extra="none") == {*options, "extra"}
    assert searched(method="dann", extra="mcc") == {*options, "extra", "extra_weight"}
    assert searched(method="mdd", extra="afn") == {"mdd_margin", "extra", "extra_weight"}
    assert searched(method="source_only") == set()
    with pytest.raises(InputError, match="unknown value 'cdan'"):
        load(tmp_path, DATA + "space: {extra: {choice: [none, cdan]}}\n")


def test_paths_on_the_command_line_are_the_working_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("files/data/source", "here/catalogue", "here/phone"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "files" / "more.safetensors").touch()
    text = """data:
  source: {folder: data/source}
  target: {folder: data/target}
weights: {vgg16: more.safetensors}
"""
    monkeypatch.chdir(tmp_path / "here")
    experiment, _ = load(
        tmp_path / "files",
        text,
        sets=["data.source.folder=catalogue", "data.target={folder: phone}", "storage=kept"],
    )
    assert experiment.data.sources[0].folder == (tmp_path / "here" / "catalogue").resolve()
    assert experiment.data.target.folder == (tmp_path / "here" / "phone").resolve()
    assert experiment.storage == (tmp_path / "here" / "kept").resolve()
    assert experiment.weights["vgg16"].file == (tmp_path / "files" / "more.safetensors").resolve()


def test_a_relative_database_is_the_files(tmp_path: Path) -> None:
    text = DATA + "search: {study: 'sqlite:///studies.db'}\n"
    assert load(tmp_path, text)[0].search.study == f"sqlite:///{tmp_path.resolve()}/studies.db"
    sets = ["search.study=sqlite:///studies.db"]
    assert load(tmp_path, DATA, sets=sets)[0].search.study == f"sqlite:///{Path.cwd()}/studies.db"


def test_an_experiment_to_learn_from_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "experiment.yaml").touch()
    found = load(tmp_path, DATA + "search: {warm_start: old}\n")[0].search.warm_start
    assert found == tmp_path.resolve() / "old"
    named = load(tmp_path, DATA + "search: {warm_start: other}\n")[0].search.warm_start
    assert named == Path("other")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  sampler: TPE", "5: search.sampler: unknown value 'TPE'; did you mean 'tpe'?"),
        ("  sampler: bayes", "5: search.sampler: unknown value 'bayes'; valid: cmaes, gp, grid, "
         "qmc, random, tpe"),
        ("  objective: f1", "5: search.objective: unknown value 'f1'; did you mean 'f1_macro'?"),
        ("  objective: accuracy", "5: search.objective: unknown value 'accuracy'; did you mean "
         "'f1_macro'? It is what target labels choose by; source_accuracy is measured on source "
         "images"),
        ("  trials: 3\n  budget:\n    hours: 2\n    target: 90", "8: search.budget.target: "
         "macro-F1 lies between 0 and 1, got 90; write 0.9"),
    ],
)  # fmt: skip
def test_a_bad_search_is_refused_at_its_own_line(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path, f"{DATA}search:\n{text}\n") == f"space.yaml:{expected}"


def test_a_password_on_the_command_line_is_not_repeated(tmp_path: Path) -> None:
    said = message(tmp_path, DATA, sets=["search.study=postgresql://me:pass/word@host/x"])
    assert said.startswith("--set search.study=…: search.study: must hold no password")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
NAMES = st.sampled_from(
    [*ExperimentConfig.model_fields, *TrialConfig.model_fields, "source", "target", "splits",
     "folder", "dataset", "choice", "uniform", "loguniform", "int", "when", "hours", "train"]
)  # fmt: skip
NESTED: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.sampled_from(["dann", "digits", "digits-m", "vgg16", "auto", "~x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
ONE_FOLDER = [HealthCheck.function_scoped_fixture]


def load_or_refuse(folder: Path, text: str) -> None:
    try:
        experiment, space = load(folder, text)
    except InputError as exc:
        assert "\n" not in str(exc) and len(str(exc)) < 1000
    else:
        assert isinstance(experiment, ExperimentConfig) and isinstance(space, Space)


@settings(max_examples=60, suppress_health_check=ONE_FOLDER, derandomize=True)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_an_experiment_or_refused(tmp_path: Path, text: str) -> None:
    load_or_refuse(tmp_path, text)
    load_or_refuse(tmp_path, DATA + text)


@settings(max_examples=100, suppress_health_check=ONE_FOLDER, derandomize=True)
@given(
    section=st.sampled_from(list(ExperimentConfig.model_fields)),
    name=NAMES,
    content=NESTED,
    deep=st.booleans(),
)
def test_any_structure_is_an_experiment_or_refused(
    tmp_path: Path, section: str, name: str, content: Any, deep: bool
) -> None:
    whole = yaml.safe_load(DATA)
    whole[section] = {**(whole.get(section) or {}), name: content} if deep else content
    load_or_refuse(tmp_path, yaml.safe_dump(whole, allow_unicode=True))


@settings(max_examples=25, suppress_health_check=ONE_FOLDER, derandomize=True)
@given(key=st.text(max_size=12), value=st.text(max_size=12))
def test_any_override_is_taken_or_refused(tmp_path: Path, key: str, value: str) -> None:
    try:
        load(tmp_path, DATA, sets=[f"training.{key}={value}"])
    except InputError as exc:
        assert str(exc)


def test_variables_of_the_environment_are_replaced_in_every_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path / "fast"))
    monkeypatch.setenv("BUCKET", "images")
    (tmp_path / "fast" / "a").mkdir(parents=True)
    (tmp_path / "$5").mkdir()
    (tmp_path / "$kept").mkdir()
    text = """data:
  source: [{folder: $SCRATCH/a}, {folder: $5}, {folder: $kept}]
  target: {folder: 's3://${BUCKET}/b'}
storage: ${SCRATCH}/runs
"""
    experiment, _ = load(tmp_path, text)
    here = tmp_path.resolve()
    assert [one.folder for one in experiment.data.sources] == [
        here / "fast" / "a", here / "$5", here / "$kept"]  # fmt: skip
    assert experiment.data.target.folder == "s3://images/b"
    assert experiment.storage == here / "fast" / "runs"
    experiment, _ = load(tmp_path, text, sets=["storage=s3://$BUCKET/runs"])
    assert experiment.storage == "s3://images/runs"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("SCRATCH", raising=False)
    if value is not None:
        monkeypatch.setenv("SCRATCH", value)
    for key, text in (
        ("storage", DATA + "storage: $SCRATCH/runs\n"),
        ("storage", DATA + "storage: s3://$SCRATCH/runs\n"),
        ("data.target.folder", DATA.replace("dataset: digits-m", "folder: $SCRATCH/target")),
    ):
        said = rf":\d+: {key}: not a usable .*takes \$SCRATCH from the environment"
        with pytest.raises(InputError, match=said):
            load(tmp_path, text)


def test_words_that_yaml_reads_as_true_are_told_of_as_keys(tmp_path: Path) -> None:
    text = DATA.replace("digits}", "digits, classes: {yes: a, 2: b}}")
    said = (
        r"data\.source\.classes: keys must be text, got true, as which YAML reads yes, .* into "
        r"quotes, 2: write it in quotes, '2'"
    )
    with pytest.raises(InputError, match=said):
        load(tmp_path, text)
