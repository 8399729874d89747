"""What a command imports: no more than it uses, since its user waits for it."""

import subprocess
import sys

import pytest

from dann_search.storage.layout import ExperimentFolder

HEAVY = {"torch", "ray", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib", "plotly", "PIL"}
NOT_FOR_HELP = HEAVY | {"optuna", "sqlalchemy", "numpy", "pydantic", "yaml"}
LOOK = "from dann_search.cli import main; main(sys.argv[1:])"
PYTHON = (
    "import dann_search; experiment = dann_search.Experiment.open(sys.argv[1]); "
    "experiment.leaderboard(); experiment.status(); experiment.history(); experiment.curves()"
)


def imported(code: str, *words: str) -> set[str]:
    """The modules that a new process has imported once it has run the code."""
    code = f"import sys; {code}; print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_imports_none_of_what_commands_need(option: str) -> None:
    assert not NOT_FOR_HELP & imported(LOOK, option)


@pytest.mark.parametrize("command", ["status", "leaderboard"])
def test_a_look_imports_nothing_that_it_does_not_use(
    searched: ExperimentFolder, command: str
) -> None:
    found = imported(LOOK, command, str(searched.root))
    unused = {"optuna", "sqlalchemy", "alembic", "numpy", "rich.live", "dann_search.api"}
    assert not (HEAVY | unused) & found


def test_reading_from_python_imports_nothing_that_trains(searched: ExperimentFolder) -> None:
    assert not {"torch", "ray", "sklearn"} & imported(PYTHON, str(searched.root))
