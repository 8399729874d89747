"""A plain file beside the experiment registers entries wherever the experiment goes."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dann_search import Experiment, load_model
from dann_search.api.launching import resume
from dann_search.cli.main import main
from dann_search.cluster import jobs, remote_control
from dann_search.config.extension_files import (
    ExtensionFile,
    extensions_in_use,
    read_extension,
    use_extensions,
)
from dann_search.config.extensions import AUGMENTATIONS, METHODS, SAMPLERS, VALIDATORS
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.inference.model_files import RECORD
from dann_search.models.registry import BACKBONES, stage_counts
from dann_search.results.reader import open_experiment, read_experiment, read_trials
from dann_search.results.status import status
from dann_search.search.checks import remarks
from dann_search.storage.layout import EXTENSIONS, ExperimentFolder
from tests.experiments import run_search, tiny_space_file
from tests.extension.test_extension import ENTRIES, PACKAGE, SPACE
from tests.in_process import InProcessExecutor

OWN = "".join((PACKAGE / "haze" / f"{name}.py").read_text() for name in ENTRIES)
"""The examples of docs/extending.md, one after the other."""
RENAMED = OWN.replace('"haze"', '"fog"').replace('"tiny"', '"minute"')


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    use_extensions(())
    yield
    use_extensions(())


def space_with(folder: Path, images: Path, own: str = OWN, **changes: Any) -> Path:
    (folder / "own.py").write_text(own)
    given: dict[str, Any] = {
        "extensions": ["own.py"],
        "training__backbone": "tiny",
        "training__epochs": 1,
        "search__sampler": "halton",
        "search__objective": "margin",
        "search__trials": 3,
        "space": SPACE,
    }
    return tiny_space_file(folder, images, **given | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_images: Path) -> ExperimentFolder:
    """What a search with the file leaves; the file itself is no longer the same."""
    place = tmp_path_factory.mktemp("own")
    outcome, trials = run_search(space_with(place, tiny_images), executor=InProcessExecutor())
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    (place / "own.py").write_text("raise SystemExit('not the copy')")
    return outcome.folder


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


def test_its_entries_are_searched_copied_and_recorded(folder: ExperimentFolder) -> None:
    opened = open_experiment(folder.root)
    best = max(read_trials(opened), key=lambda row: row.score or 0)
    assert best.score == best.validators["margin"] and best.config["backbone"] == "tiny"
    assert (opened.extensions / "own.py").read_text() == OWN
    recorded = yaml.safe_load(opened.record.read_text())
    assert recorded["extensions"] == {"own.py": read_extension(opened.extensions / "own.py").sha256}
    assert Path(recorded["experiment"]["extensions"][0]).name == "own.py"


def test_commands_on_the_experiment_use_its_copy(
    folder: ExperimentFolder, tiny_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, image = str(folder.root), str(next(tiny_images.rglob("*.png")))
    for words in (["best", name], ["evaluate", name], ["predict", name, image], ["report", name]):
        use_extensions(())
        assert main(words) == 0, capsys.readouterr().err
    (page,) = folder.root.rglob("*.html")
    assert "haze (share of white)" in page.read_text()


def test_reading_runs_none_of_its_code(folder: ExperimentFolder) -> None:
    assert read_experiment(folder).search.objective == "margin"
    assert status(folder).best is not None
    assert extensions_in_use() == () and "margin" not in VALIDATORS


def test_a_model_folder_is_loaded_with_consent_alone(
    folder: ExperimentFolder,
    tiny_images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, image = tmp_path / "model", str(next(tiny_images.rglob("*.png")))
    write_best(folder, out=place)
    assert (place / EXTENSIONS / "own.py").read_text() == OWN
    assert "trust_extensions=True" in (place / "README.md").read_text()
    use_extensions(())
    for words in (["predict", str(place), image], ["export", str(place), "--format", "torch"]):
        assert main(words) == 2
        assert "own.py, which loading the model executes" in capsys.readouterr().err
    with pytest.raises(InputError, match="trust_extensions=True"):
        load_model(place)
    assert "tiny" not in BACKBONES
    code = "import sys; from dann_search import load_model; m = load_model(sys.argv[1], True); "
    done = python(code + "print(m.predict([sys.argv[2]])[0].label)", str(place), image)
    assert done.stdout.startswith("class-"), done.stderr
    assert main(["predict", str(place), image, "--trust-extensions"]) == 0
    use_extensions(())
    (place / EXTENSIONS / "own.py").write_text(OWN + "print('more')\n")
    with pytest.raises(InputError, match=r"own\.py: was changed: its SHA-256"):
        load_model(place, trust_extensions=True)


def test_an_export_needs_no_extension(folder: ExperimentFolder, tmp_path: Path) -> None:
    out = tmp_path / "export"
    Experiment.open(folder.root).export("torch", out=out)
    code = "import sys, torch; torch.export.load(sys.argv[1]); assert 'dann_search' not in "
    (program,) = out.glob("*.pt2")
    done = python(code + "sys.modules", str(program))
    assert done.returncode == 0, done.stderr


def test_a_changed_file_is_said_and_a_changed_copy_refused(
    folder: ExperimentFolder, tmp_path: Path, tiny_images: Path
) -> None:
    opened = open_experiment(folder.root)
    experiment = read_experiment(opened)
    _, space = load_experiment(space_with(tmp_path, tiny_images), stage_counts())
    use_extensions(())
    open_experiment(folder.root)
    (said,) = remarks(experiment, space)
    assert "own.py has changed since the launch; this search continues with its own copy" in said
    copy = opened.extensions / "own.py"
    copy.write_text(OWN + "\n")
    try:
        use_extensions(())
        with pytest.raises(InputError, match="put the file back, or launch the changed one under"):
            resume(folder.root)
        copy.unlink()
        with pytest.raises(InputError, match=r"own\.py: cannot be read"):
            resume(folder.root)
    finally:
        copy.write_text(OWN)
    with pytest.raises(InputError, match=r"extensions\S*: cannot change: they are what the search"):
        resume(folder.root, sets=["extensions=[]"])


def test_another_experiment_has_its_own_entries_alone(tmp_path: Path, tiny_images: Path) -> None:
    use_extensions((ExtensionFile("own.py", OWN, "own.py"),))
    assert "haze" in TrialConfig.model_fields and "mean_match" in METHODS
    use_extensions((ExtensionFile("other.py", RENAMED, "other.py"),))
    assert "haze" not in TrialConfig.model_fields and "tiny" not in BACKBONES
    assert TrialConfig.model_validate({"fog": 0.5, "mean_match_share": 0.5})
    names = {"fog", "mean_match_share"}
    load_experiment(tiny_space_file(tmp_path, tiny_images), stage_counts())
    assert not names & TrialConfig.model_fields.keys() and not {"fog"} & AUGMENTATIONS.keys()
    assert "halton" not in SAMPLERS and "minute" not in stage_counts()
    with pytest.raises(ValueError, match="fog"):
        TrialConfig.model_validate({"fog": 0.5})


@pytest.mark.parametrize(
    ("stated", "own", "message"),
    [
        ("own.py", OWN, "must be a list of files, got 'own.py'"),
        (["gone.py"], OWN, r"space\.yaml:\d+: extensions\.0: no such file: .*gone\.py"),
        (["own.txt"], OWN, "must be a Python file such as my_backbone.py, got 'own.txt'"),
        ([3], OWN, "must be a Python file such as my_backbone.py, got 3"),
        (["../own.py"], OWN, "or below, beside the experiment; got '?../own.py"),
        (["own.py", "./own.py"], OWN, r"extensions\.1: two files are called own\.py"),
        (["own.py"], "import torch\n1 / 0\n", r"own\.py:2: ZeroDivisionError"),
        (["own.py"], "import torch\nif:\n", r"own\.py:2: SyntaxError"),
        (["own.py"], "import no_such_package\n", r"own\.py:1: ModuleNotFoundError"),
        (["own.py"], "raise SystemExit(0)\n", r"own\.py:1: ends the program: exit 0"),
        (["own.py"], OWN.replace('"mean_match"', '"dann"'), "method name dann is taken by dann_se"),
        (["own.py", "sub/two.py"], OWN, r"two\.py:\d+: ValueError: the \w+ name \w+ .* own\.py"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, tiny_images: Path, stated: Any, own: str, message: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "two.py").write_text(OWN)
    path = space_with(tmp_path, tiny_images, own, extensions=stated)
    with pytest.raises(InputError, match=message):
        load_experiment(path, stage_counts())
    assert extensions_in_use() == ()


def test_a_worker_is_sent_the_files_text() -> None:
    file = ExtensionFile("own.py", OWN, "/nowhere/own.py")
    code = (
        "import pickle, sys, inspect; files = pickle.loads(bytes.fromhex(sys.argv[1]));"
        "from dann_search.config.extension_files import use_extensions as use; use(files);"
        "from dann_search.models.registry import BACKBONES;"
        "print(inspect.getsource(BACKBONES.code('tiny')))"
    )
    done = python(code, pickle.dumps((file,)).hex())
    assert "def build(state):" in done.stdout, done.stderr


def test_it_goes_with_the_experiment_behind_a_url(
    tmp_path: Path, tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changes: dict[str, Any] = {"training__method": "mean_match", "search__trials": 1, "space": {}}
    path = space_with(tmp_path, tiny_images, storage="memory://own", **changes)
    outcome, _ = run_search(path, executor=InProcessExecutor())
    shutil.rmtree(tmp_path / "cache")
    use_extensions(())
    assert open_experiment("memory://own/tiny") == outcome.folder
    assert "tiny" in BACKBONES and "mean_match" in METHODS


def test_a_job_takes_it_along(tmp_path: Path, tiny_images: Path) -> None:
    path = space_with(tmp_path, tiny_images)
    experiment, _ = load_experiment(path, stage_counts())
    with jobs.bundle_of(experiment) as bundle:
        use_extensions(())
        sent, _ = load_experiment(bundle / jobs.FILE, stage_counts())
        assert sent.extensions == (bundle / EXTENSIONS / "own.py",)
        assert extensions_in_use()[0].text == OWN


def test_a_job_does_not_take_along_what_a_script_registered(
    tmp_path: Path, tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_control, "registered_here", lambda: {"method mcc": "__main__"})
    path = tiny_space_file(tmp_path, tiny_images, training__method="mcc", space={})
    with pytest.raises(InputError, match="method mcc is registered by __main__, which does"):
        remote_control.submit(path, "http://127.0.0.1:9", storage=tmp_path)


def test_space_shows_the_entries(
    tmp_path: Path, tiny_images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", str(space_with(tmp_path, tiny_images)), "--json"]) == 0
    shown = {one["name"] for one in json.loads(capsys.readouterr().out)["parameters"]}
    assert {"haze", "mean_match_share"} <= shown


def test_a_model_of_an_installed_backbone_carries_no_file(experiment: ExperimentFolder) -> None:
    write_best(experiment)
    assert not json.loads((experiment.best / RECORD).read_text())["extensions"]
    assert not (experiment.best / EXTENSIONS).exists()
