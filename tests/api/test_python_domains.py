"""The example of docs/data.md: arrays, a search on them, and what comes after it; no Ray."""

import runpy
from pathlib import Path

import pytest

import dann_search
from dann_search.api import launching
from tests.in_process import InProcessExecutor

ROOT = Path(__file__).parents[2]
CI = runpy.run_path(str(ROOT / ".ci" / "quickstart.py"), run_name="listed")


def test_the_example_searches_and_its_domains_serve_resume_and_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = CI["blocks"](ROOT / "docs" / "data.md", "python")
    example = text.replace('"epochs": 5', '"epochs": 1')
    assert example != text
    monkeypatch.setattr(launching, "RayExecutor", lambda *_: InProcessExecutor())
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "data.md", "exec"), {})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = tmp_path / "runs" / "faint"
    again = dann_search.resume(folder, add_trials=1)
    assert again.trials.finished == 3
    assert dann_search.evaluate_target(folder).n == 178  # a fifth of each class
    table = tmp_path / "domains" / "faint" / "faint.csv"
    assert dann_search.evaluate_target(folder, data=table).n == 897
    exec(compile(example.partition("dann_search.launch")[0], "data.md", "exec"), {})
