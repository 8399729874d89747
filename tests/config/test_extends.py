"""A file over the one it extends."""

from pathlib import Path

import pytest

from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts

BASE = """data:
  source: {folder: pictures}
  target: {dataset: digits-m}
training:
  backbone: dann_cnn
  momentum: 0.8
search: {trials: 7, seed: 3}
space:
  learning_rate: {loguniform: [0.001, 0.1]}
  lambda_max: {uniform: [0.1, 1]}
"""


def write(folder: Path, **files: str) -> Path:
    """Write files ``name.yaml`` below ``folder``; the path of the one called ``space``."""
    (folder / "presets").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.replace('__', '/')}.yaml").write_text(text)
    return folder / "space.yaml"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_experiment(path, stage_counts())
    return str(caught.value).replace(f"{path.parent}/", "")


def test_keys_stand_over_those_of_the_extended_file_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "presets" / "pictures").mkdir(parents=True)
    text = """extends: presets/base.yaml
search: {trials: 9}
training: {lambda_max: 0.5, epochs: 2}
space:
  learning_rate: {choice: [0.1, 0.2]}
  momentum: {uniform: [0, 0.9]}
"""
    path = write(tmp_path, presets__base=BASE, space=text)
    experiment, space = load_experiment(path, stage_counts())
    assert (experiment.name, experiment.search.trials, experiment.search.seed) == ("space", 9, 3)
    assert experiment.training == {"backbone": "dann_cnn", "epochs": 2, "lambda_max": 0.5}
    assert {name: p.kind for name, p in space.parameters.items()} == {
        "learning_rate": "choice",
        "momentum": "uniform",
    }
    # A path is relative to the file that states it.
    assert experiment.data.sources[0].folder == tmp_path / "presets" / "pictures"


def test_a_domain_is_replaced_whole(tmp_path: Path) -> None:
    text = "extends: presets/base.yaml\ndata: {source: {dataset: digits}}\n"
    experiment, _ = load_experiment(write(tmp_path, presets__base=BASE, space=text), stage_counts())
    assert experiment.data.sources[0].dataset == "digits"
    assert experiment.data.target.dataset == "digits-m"


def test_an_error_names_the_file_and_line_where_the_key_stands(tmp_path: Path) -> None:
    bad = BASE.replace("momentum: 0.8", "momentum: 8")
    text = "extends: presets/base.yaml\ndata: {source: {dataset: digits}}\n"
    assert refusal(write(tmp_path, presets__base=bad, space=text)).startswith(
        "presets/base.yaml:6: training.momentum: must be less than 1"
    )


def test_a_chain_of_files_is_followed(tmp_path: Path) -> None:
    middle = "extends: presets/base.yaml\nsearch: {seed: 5}\ndata: {source: {dataset: digits}}\n"
    path = write(tmp_path, presets__base=BASE, middle=middle, space="extends: middle.yaml\n")
    experiment, _ = load_experiment(path, stage_counts())
    assert (experiment.search.trials, experiment.search.seed) == (7, 5)


def test_a_cycle_is_shown(tmp_path: Path) -> None:
    path = write(tmp_path, space="extends: a.yaml\n", a="\nextends: b.yaml\n", b="extends: a.yaml")
    assert refusal(path) == (
        "b.yaml:1: extends: the files form a cycle: a.yaml -> b.yaml -> a.yaml"
    )
    itself = write(tmp_path, space="extends: ./space.yaml\n")
    assert "cycle: space.yaml -> space.yaml" in refusal(itself)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: gone.yaml\n", "space.yaml:1: extends: no such file: gone.yaml"),
        ("extends: [a]\n", "space.yaml:1: extends: must be the path of a file, got ['a']"),
        ("extend: a.yaml\ndata: {}\n", "space.yaml:1: extend: unknown key 'extend'; did you mean"),
    ],
)
def test_a_file_that_cannot_be_extended_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert refusal(write(tmp_path, space=text)).startswith(expected)


def test_an_override_fixes_what_the_file_searches(tmp_path: Path) -> None:
    path = write(tmp_path, space=BASE.replace("folder: pictures", "dataset: digits"))
    experiment, space = load_experiment(path, stage_counts(), sets=["training.lambda_max=0.3"])
    assert list(space.parameters) == ["learning_rate"]
    assert experiment.fixed.lambda_max == 0.3
