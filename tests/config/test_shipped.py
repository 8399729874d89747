"""The experiment files that come with the package."""

from pathlib import Path

import pytest

from dann_search.config.load import load_experiment
from dann_search.config.shipped import named_file, shipped_files, title_of, write_copy
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts

ROOT = Path(__file__).parents[2]
WHOLE = [name for name, file in shipped_files().items() if "\nextends:" not in file.read_text()]


def test_they_are_those_of_the_repository_each_with_a_title() -> None:
    there = {file.stem: file for file in (ROOT / "search_spaces").glob("*.yaml")}
    shipped = shipped_files()
    assert shipped.keys() == there.keys() and "quickstart" in shipped
    for name, file in shipped.items():
        assert file.read_text() == there[name].read_text()
        assert len(title_of(file)) > 20


def test_a_name_is_found_where_no_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path("quickstart")
    assert named_file(name) == shipped_files()["quickstart"]
    name.touch()
    assert named_file(name) == name
    with pytest.raises(InputError, match=r"pasc: no such file.* did you mean 'pacs'"):
        named_file(Path("pasc"))
    # A path is a path: its own message names it.
    assert named_file(Path("pacs.yaml")) == Path("pacs.yaml")
    assert named_file(Path("some/pacs")) == Path("some/pacs")


def test_paths_of_a_named_file_lead_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment, _ = load_experiment(Path("pacs"), stage_counts(), check_files=False)
    assert experiment.data.sources[0].folder == tmp_path / "data" / "PACS" / "photo"
    assert experiment.name == "pacs"


@pytest.mark.parametrize("name", WHOLE)
def test_a_copy_is_valid_and_keeps_all_but_name_and_folders(name: str, tmp_path: Path) -> None:
    source, target, out = tmp_path / "my {cats}", tmp_path / "ph'ones", tmp_path / "mine.yaml"
    source.mkdir()
    target.mkdir()
    write_copy(name, out, source, target)
    stages = stage_counts()
    mine, space = load_experiment(out, stages, check_files=False)
    theirs, same = load_experiment(shipped_files()[name], stages, check_files=False)
    assert mine.name == "mine" and space.parameters == same.parameters
    assert (mine.data.sources[0].folder, mine.data.target.folder) == (source, target)
    assert mine.training == theirs.training and mine.search == theirs.search
    kept = [line for line in shipped_files()[name].read_text().splitlines() if "# " in line]
    assert sum(line in out.read_text() for line in kept) >= len(kept) - 4


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("office13", None, "--from office13: .*did you mean 'office31'"),
        ("pacs", None, "dann-search space pacs --resolved .*mine.yaml"),
        ("office31", "nowhere", "--source .*nowhere: no such folder"),
    ],
)
def test_what_cannot_be_copied_is_said_and_nothing_is_written(
    name: str, source: str | None, message: str, tmp_path: Path
) -> None:
    out = tmp_path / "mine.yaml"
    with pytest.raises(InputError, match=message):
        write_copy(name, out, source and tmp_path / source, None)  # type: ignore[arg-type]
    assert not out.exists()


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    out.write_text("mine")
    with pytest.raises(InputError, match="cannot be written: File exists"):
        write_copy("office31", out, None, None)
    assert out.read_text() == "mine"
