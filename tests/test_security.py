"""Nothing that comes from outside is executed, and no name leads outside."""

import ast
import json
import struct
from pathlib import Path

import fsspec
import pytest

from dann_search.config.load import load_experiment
from dann_search.data.remote import local_copy
from dann_search.errors import InputError
from dann_search.inference.model_files import read_record_of_model
from dann_search.models.registry import stage_counts
from dann_search.models.weights import read_state
from dann_search.training.checkpoint import TornCheckpointError, load_checkpoint
from tests.experiments import space_file

PACKAGE = Path(__file__).parents[1] / "dann_search"
EXECUTE = {
    *("pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load"),
    *("marshal.loads", "shelve.open", "yaml.unsafe_load", "yaml.full_load", "os.system"),
    *("eval", "exec", "shutil.unpack_archive", "pandas.read_pickle", "pd.read_pickle"),
    *("tarfile.open", "zipfile.ZipFile"),
}
ALLOWED = {
    ("search/own_entries.py", "pickle.loads"): "what the driver sent to its own workers",
    ("config/extension_files.py", "exec"): "files that the experiment names",
}


def calls(file: Path) -> set[str]:
    """Calls in a module that may execute what they are given."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        stated = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        unsafe = (
            name in EXECUTE
            or stated.get("shell") == "True"
            or stated.get("allow_pickle") == "True"
            or (name == "torch.load" and stated.get("weights_only") != "True")
            or (name == "yaml.load" and stated.get("Loader") not in ("_Loader", "yaml.SafeLoader"))
        )
        if unsafe:
            found.add(name)
    return found


def test_no_module_executes_what_it_reads() -> None:
    found = {
        (file.relative_to(PACKAGE).as_posix(), name)
        for file in PACKAGE.rglob("*.py")
        for name in calls(file)
    }
    assert found == set(ALLOWED)


def header(content: object, size: int | None = None) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


def tensor(begin: int, end: int) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [4], "data_offsets": [begin, end]}}


@pytest.mark.parametrize(
    "content",
    [
        header({}, 2**63),
        header(tensor(0, 2**60)),
        header(tensor(16, 0)),
        header(tensor(-16, 0)),
        header({"__metadata__": {"record": "[" * 10**5}}),
        header({"__metadata__": {"record": '{"format": 3, "history": [{"epoch": []}]}'}}),
        header({"__metadata__": {"record": '{"format": "x"}'}}),
    ],
    ids=["long", "outside", "reversed", "negative", "deep", "history", "format"],
)
def test_a_hostile_safetensors_header_is_refused_by_the_files_name(
    content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "last.safetensors"
    file.write_bytes(content)
    with pytest.raises(TornCheckpointError, match=r"last\.safetensors: not a readable checkpoint"):
        load_checkpoint(file)
    if b"__metadata__" not in content:
        with pytest.raises(InputError, match=r"last\.safetensors: not a readable weights file"):
            read_state(file)


@pytest.mark.parametrize("content", ["[" * 10**5, "[]", '{"format": {}}', '{"format": 1}', "\0"])
def test_a_hostile_record_of_a_model_is_refused_by_its_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(content)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"model\.json: not a model's record"):
        read_record_of_model(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "a/b", "/tmp/outside", "..", ".hidden", "a\n"])
def test_the_name_of_an_experiment_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    path = space_file(tmp_path, name=name)
    with pytest.raises(InputError, match="name: "):
        load_experiment(path, stage_counts())


def test_a_name_behind_a_url_that_leads_outside_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("memory")
    listed = {"/images/../../outside.png": {"size": 1}}
    monkeypatch.setattr(type(system), "find", lambda *_, **__: listed)
    with pytest.raises(InputError, match="a path that leads outside"):
        local_copy("memory://images", tmp_path)
    assert list(tmp_path.iterdir()) == []
