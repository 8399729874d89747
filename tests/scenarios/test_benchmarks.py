"""Each benchmark still runs, in a setting that measures nothing."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

benchmarks = importlib.import_module("benchmarks.__main__")  # its scripts are no package
HERE, NEED_MORE, PAGE, RUNS = (
    benchmarks.HERE,
    benchmarks.NEED_MORE,
    benchmarks.PAGE,
    benchmarks.RUNS,
)
NOT_RUN = {"__main__", "process_tree"}


def test_every_script_is_run_or_says_what_it_needs() -> None:
    scripts = {path.stem for path in HERE.glob("*.py")} - NOT_RUN
    assert scripts == RUNS.keys() | NEED_MORE.keys()
    assert not RUNS.keys() & NEED_MORE.keys()


def test_what_a_script_prints_takes_the_place_between_its_markers() -> None:
    page = "a\n<!-- one -->\nold\n<!-- end of one -->\n<!-- two -->\nkept\n<!-- end of two -->\n"
    changed = benchmarks.with_output(page, "one", "| new |\n")
    assert "old" not in changed and "| new |\n<!-- end of one -->" in changed
    assert changed.startswith("a\n<!-- one -->") and changed.endswith(page[-42:])
    assert benchmarks.with_output(page, "three", "x") == page
    assert "<!-- orchestration -->" in PAGE.read_text(encoding="utf-8")


@pytest.mark.scenario
@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_runs_in_its_tiny_setting(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--tiny"]
    done = subprocess.run(command, cwd=Path(HERE).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 2  # more than its title
