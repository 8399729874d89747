"""What validate-cluster prints, and its exit codes."""

from pathlib import Path

import pytest

from dann_search.cli import main
from tests.cluster.file.shipped import AWS, line_of
from tests.experiments import space_file
from tests.json_output import printed

LINE = line_of("max_workers: 8", AWS.read_text())


def broken(folder: Path) -> Path:
    text = AWS.read_text().replace("max_workers: 8 ", "max_worker: 8 ", 1)
    path = folder / "cluster.yaml"
    path.write_text(text.replace("torch==2.13.0", "torch>=2.13"))
    return path


def test_all_findings_are_listed_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken(tmp_path)
    assert main(["validate-cluster", str(path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["error", "warning"]
    assert lines[0].startswith(f"error: {path}:{LINE}: max_worker: unknown key 'max_worker'")
    assert lines[-1] == f"{path}: 1 error, 1 warning"


def test_the_json_has_the_same_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken(tmp_path)
    assert main(["validate-cluster", str(path), "--json"]) == 2
    content = printed("validate-cluster", capsys.readouterr().out)
    assert content["valid"] is False
    first = content["findings"][0]
    assert (first["severity"], first["file"], first["line"]) == ("error", str(path), LINE)
    assert first["key"] == "max_worker"
    assert "did you mean 'max_workers'?" in first["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping of keys such as 'cluster_name:' and 'provider:', found an empty"),
        ("- a\n", "such as 'cluster_name:' and 'provider:', found a list"),
        ("provider:\n\ttype: aws\n", "cluster.yaml:2: not valid YAML: found character '\\t' that "
         "cannot start any token; indent with spaces"),
        ("max_workers: 1\nmax_workers: 2\n", "cluster.yaml:2: duplicate key 'max_workers'"),
        ("apiVersion: ray.io/v1\nspec: {}\n", "a Kubernetes manifest (without a kind)"),
    ],
)  # fmt: skip
def test_what_is_no_launchers_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    assert main(["validate-cluster", str(path)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_warnings_alone_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(AWS.read_text().replace("torch==2.13.0", "torch>=2.13"))
    assert main(["validate-cluster", str(path)]) == 0
    assert "0 errors, 1 warning" in capsys.readouterr().out


def test_options_about_a_search_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate-cluster", str(AWS), "--storage", "s3://bucket/runs"]) == 2
    assert "--storage s3://bucket/runs: is about a search" in capsys.readouterr().err


def test_a_storage_on_the_command_line_is_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = str(space_file(tmp_path))
    assert main(["validate-cluster", str(AWS), "--space", space, "--storage", "/runs"]) == 2
    assert "--storage /runs: /runs is on each node's own disk" in capsys.readouterr().out
    url = ["--storage", "s3://bucket/runs"]
    assert main(["validate-cluster", str(AWS), "--space", space, *url]) == 0


def test_overrides_reach_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--space", str(space_file(tmp_path)), "--storage", "s3://bucket/runs"]
    assert main(["validate-cluster", str(AWS), *words, "--set", "resources.cpus_per_worker=8"]) == 2
    assert "it needs 8 CPUs and 1 GPU, and it has 4 CPUs and 1 GPU" in capsys.readouterr().out


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate-cluster", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: no such file" in capsys.readouterr().err
