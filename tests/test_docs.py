"""What the docs show can be done: commands parse, examples are valid, versions agree."""

import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.main import get_command

import dann_search
from dann_search.cli.app import app
from dann_search.config.schema import experiment_schema

ROOT = Path(__file__).parents[1]
CI = runpy.run_path(str(ROOT / ".ci" / "quickstart.py"), run_name="listed")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LABELS = {"bash", "text", "yaml", "python", "json", "toml"}
"""What a block may be; one without a label holds commands, too."""
TOOLS = {
    *("aws", "chmod", "head", "jq", "kubectl", "lint-imports", "mkdocs", "mypy", "pip"),
    *("pre-commit", "pytest", "python", "python3", "ray", "ruff", "ssh"),
    *(".", "do", "done", "export", "for"),
}
"""Programs and words of the shell, besides our own commands, that the docs may use."""
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def command_lines(page: Path) -> list[list[str]]:
    """The simple commands of a page's blocks: no assignments, comments and redirections."""
    text = "\n".join(text for label in ("bash", "") for text in CI["blocks"](page, label))
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
        lexer.whitespace_split = True
        commands: list[list[str]] = [[]]
        for word in lexer:
            if set(word) <= set("|&;"):
                commands.append([])
            elif commands[-1] or not re.match(r"\w+=", word):
                commands[-1].append(word)
        found += [words for words in commands if words]
    return found


COMMANDS = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}")
    for page in PAGES
    for words in command_lines(page)
]


def parse(words: list[str]) -> None:
    """Parse a command line as ``dann-search`` does, without running it."""
    group: Any = get_command(app)
    context = group.make_context("dann-search", list(words))
    name, command, rest = group.resolve_command(context, list(words))
    command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_the_docs_can_be_given(words: list[str]) -> None:
    program, *rest = words[: words.index(">")] if ">" in words else words
    files = [
        word.split("::")[0] for word in rest if re.match(r"(\.ci|docs|tests|\w+)/.*\.py", word)
    ]
    files += [word for word in rest if word.startswith("search_spaces/")]
    assert [file for file in files if not (ROOT / file).exists()] == []
    if program == "dann-search":
        parse(rest)
        return
    assert program in TOOLS
    for extras in re.findall(r"(?:\.|dann-search)\[([\w,]+)\]", " ".join(rest)):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_the_docs_have_commands_and_wrong_ones_are_found() -> None:
    assert len(COMMANDS) > 80
    for wrong in ("evaluate quickstart --calibratd", "evaluat quickstart", "best", "best a b"):
        with pytest.raises(Exception, match=r"(?i)no such|missing|unexpected"):
            parse(wrong.split())


def test_every_command_of_the_quickstart_is_run_by_ci() -> None:
    shown = [words[1:] for words in command_lines(CI["PAGES"][0]) if words[0] == "dann-search"]
    run = [*CI["documented"](), CI["LAUNCH"]]
    assert shown and [words for words in shown if words not in run] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    fences = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0
    assert {label for label in fences[::2] if label} <= LABELS
    assert set(fences[1::2]) <= {""}
    for python in CI["blocks"](page, "python"):
        compile(python, str(page), "exec")


def test_the_example_of_an_experiment_file_is_valid() -> None:
    (example,) = CI["blocks"](ROOT / "docs" / "experiment_file.md", "yaml")
    validator = Draft202012Validator(experiment_schema())
    assert [error.message for error in validator.iter_errors(yaml.safe_load(example))] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_one_version_is_named_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(r"^## (\d.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = {citation["version"], released[0], PROJECT["version"], dann_search.__version__}
    assert len(versions) == 1, versions
