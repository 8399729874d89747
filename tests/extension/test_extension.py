"""A package of a user's, with one entry of each kind, is part of everything a search shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dann_search.storage.layout import ExperimentFolder
from tests.experiments import study_trials, tiny_space_file

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "extension" / "package"
ENTRIES = ("method", "validator", "augmentation", "sampler", "backbone")
SPACE: dict[str, Any] = {
    "method": {"choice": ["dann", "mean_match"]},
    "mean_match_share": {"uniform": [0.25, 0.75]},
    "haze": {"uniform": [0, 0.5]},
}
ON_ONE_RAY = """
import sys
from dann_search import AugmentationSpec, launch, register_augmentation, resume
from dann_search.search.ray_session import ray_session

WHITE = 1.0

@register_augmentation(AugmentationSpec(name="fog", neutral=0.0, description="fog", words="fog"))
def fog(draws, u, amount):
    draws.then(lambda images: images + (WHITE - images) * amount)

with ray_session(cpus=2):
    launch(sys.argv[1])
    resume("runs/tiny", add_trials=1)
"""


def with_package(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a new process that finds the package."""
    path = os.pathsep.join(map(str, (PACKAGE, ROOT)))
    process = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def space_of(folder: Path, images: Path, **changes: Any) -> Path:
    given = {
        "training__backbone": "tiny",
        "search__sampler": "halton",
        "search__objective": "margin",
        "training__epochs": 2,
        "space": SPACE,
    }
    return tiny_space_file(folder, images, **given | changes)


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory, tiny_images: Path) -> Path:
    """What a search with the package leaves, and what commands print of it."""
    folder = tmp_path_factory.mktemp("extension")
    space = space_of(folder, tiny_images, search__trials=6)
    with_package(str(ROOT / "tests/extension/drill.py"), str(space), str(folder), folder=folder)
    return folder


def output(drilled: Path, command: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((drilled / f"{command}.txt").read_text())
    return content


def test_every_trial_is_trained(drilled: Path) -> None:
    assert json.loads((drilled / "drill.json").read_text())["states"] == ["COMPLETE"] * 6


def test_space_shows_the_dimensions_with_their_conditions(drilled: Path) -> None:
    parameters = {one["name"]: one for one in output(drilled, "space")["parameters"]}
    assert parameters["mean_match_share"]["when"] == {"method": ["mean_match"]}
    assert parameters["haze"]["range"] == [0, 0.5]


def test_the_schema_knows_every_name(drilled: Path) -> None:
    schema = json.loads((drilled / "schema.txt").read_text())["$defs"]
    recipe, search = (schema[name]["properties"] for name in ("TrialConfig", "SearchConfig"))
    assert "mean_match" in recipe["method"]["enum"]
    assert "margin" in search["objective"]["enum"] and "halton" in search["sampler"]["enum"]
    assert (recipe["haze"]["maximum"], recipe["haze"]["default"]) == (0.9, 0)


def test_the_leaderboard_has_their_values_and_the_published_recipes_the_neutral_ones(
    drilled: Path,
) -> None:
    board = output(drilled, "leaderboard")
    assert board["objective"] == "margin"
    for trial in board["trials"]:
        assert trial["score"] == trial["validators"]["margin"]
        method = trial["config"]["method"]
        assert ("mean_match_share" in trial["searched"]) == (method == "mean_match")
    by_origin = {trial["origin"]: trial["searched"] for trial in board["trials"]}
    assert by_origin["DANN paper"] == {"method": "dann", "haze": 0}
    own = [trial["config"] for trial in board["trials"] if trial["origin"] is None]
    assert {config["method"] for config in own} == {"dann", "mean_match"}
    assert len({config["haze"] for config in own}) == len(own)


def test_the_report_tells_of_them(drilled: Path) -> None:
    (page,) = (drilled / "runs" / "tiny").rglob("*.html")
    text = page.read_text()
    best = output(drilled, "leaderboard")["trials"][0]
    assert "haze (share of white)" in text
    assert ("Mean matching: the mean features" in text) == (best["config"]["method"] != "dann")
    assert ("haze of up to " in text.lower()) == (best["config"]["haze"] > 0)


@pytest.mark.ray
@pytest.mark.scenario
def test_rays_workers_find_package_file_and_script_in_a_launch_and_in_a_resume(
    tmp_path: Path, tiny_images: Path
) -> None:
    file = (PACKAGE / "haze" / "backbone.py").read_text().replace('"tiny"', '"minute"')
    (tmp_path / "own.py").write_text(file)
    fixed = {"method": "mean_match", "haze": 0.3, "fog": 0.2, "backbone": "minute"}
    recipe = {f"training__{name}": value for name, value in fixed.items()}
    searched = {"mean_match_share": SPACE["mean_match_share"]}
    changes = {"search__trials": 1, "extensions": ["own.py"], "space": searched}
    space = space_of(tmp_path, tiny_images, **recipe | changes)
    with_package("-c", ON_ONE_RAY, str(space), folder=tmp_path)
    trials = study_trials(ExperimentFolder(tmp_path / "runs" / "tiny"))
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2


def test_the_documentation_shows_the_package() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    files = [(PACKAGE / "haze" / f"{name}.py").read_text() for name in ENTRIES]
    assert shown == files
    for code in files:
        lines = [line for line in code.splitlines() if line.strip()]
        assert len([line for line in lines if "import " not in line]) < 20
    (toml,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (points,) = PACKAGE.glob("*.dist-info/entry_points.txt")
    groups = re.findall(r"\[(dann_search\.\w+)\]\n(\w+) = (\S+)", points.read_text())
    assert toml.splitlines() == [
        line
        for group, name, module in groups
        for line in (f'[project.entry-points."{group}"]', f'{name} = "{module}"')
    ]
