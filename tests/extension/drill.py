"""Search with the package in this process, then show it: run by test_extension.py.

python drill.py SPACE FOLDER
"""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from dann_search import load_model
from dann_search.cli.main import main
from tests.experiments import run_search
from tests.in_process import InProcessExecutor
from tests.json_output import printed


def command(folder: Path, name: str, *words: str) -> None:
    """Run a command; keep what it prints."""
    with (folder / f"{name}.txt").open("w") as file, redirect_stdout(file):
        code = main([name, *words])
    assert code == 0, name
    if "--json" in words:
        printed(name, (folder / f"{name}.txt").read_text())


def drill(space: Path, folder: Path) -> None:
    """Everything a user does with entries of their own."""
    command(folder, "space", str(space), "--json")
    outcome, trials = run_search(space, executor=InProcessExecutor())
    command(folder, "schema")
    command(folder, "leaderboard", str(outcome.folder.root), "--json")
    command(folder, "best", str(outcome.folder.root))
    command(folder, "report", str(outcome.folder.root))
    assert load_model(outcome.folder.root / "best").record["backbone"] == "tiny"
    states = [trial.state.name for trial in trials]
    (folder / "drill.json").write_text(json.dumps({"states": states}))


if __name__ == "__main__":
    drill(Path(sys.argv[1]), Path(sys.argv[2]))
