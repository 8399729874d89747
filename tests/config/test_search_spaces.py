"""The files that are shipped are valid, sample what trials accept, and name their data in words."""

import json
import shutil
from pathlib import Path

import optuna
import pytest

from dann_search.config.extends import read_extended
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.study.suggest import suggest

SPACES = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(SPACES.glob("*.yaml"))


def put_data_in_place(file: Path) -> None:
    """Empty folders and files where it expects its data."""
    data = read_extended(file).content["data"]
    for role in ("source", "target"):
        if "folder" in data[role]:
            (file.parent / data[role]["folder"]).mkdir(parents=True, exist_ok=True)
        if "manifest" in data[role]:
            (file.parent / data[role]["manifest"]).parent.mkdir(parents=True, exist_ok=True)
            (file.parent / data[role]["manifest"]).touch()


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_shipped_file_is_valid_and_says_what_it_needs(file: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(SPACES, tmp_path / "spaces") / file.name
    put_data_in_place(copy)
    experiment, space = load_experiment(copy, stage_counts())
    assert experiment.name.replace("-", "_") == file.stem
    assert space.backbones
    text = file.read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert "Needs no download" in comment or ("Data:" in comment and "Hardware:" in comment)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_samples_of_a_shipped_file_are_valid_and_survive_json(file: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _, space = load_experiment(file, stage_counts(), check_files=False)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(100 if space.parameters else 1):
        trial = study.ask()
        config = suggest(trial, space)
        again = TrialConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
        assert again == config
        values = config.model_dump()
        sampled = {name.split(".")[0] for name in trial.params}
        assert sampled == {n for n, p in space.parameters.items() if p.holds(values)}
        for name in sampled:
            assert space.contains(name, values[name], config.backbone), (name, values[name])
        assert (config.unfrozen_depth or 0) <= space.stages[config.backbone]
