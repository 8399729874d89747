"""Every command's JSON is described, for programs and for people, and is JSON to any parser."""

import re
import socket
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from typer.main import get_command

from dann_search.cli import main
from dann_search.cli.app import app, json_text
from dann_search.outputs import OUTPUTS, parse_output
from dann_search.outputs.base import Output
from dann_search.outputs.search import Stopped
from docs.make_json_page import EXAMPLES, PAGE, page
from tests.cli.test_json_output import COMMANDS
from tests.json_output import failed, printed, schema_of

TESTS = Path(__file__).parents[1]
REGISTERED: list[str] = list(get_command(app).commands)  # type: ignore[attr-defined]


CONTRACT = {
    "SearchEnded": "experiment trials best elapsed_s stopped_by",
    "TrialCounts": "completed pruned failed",
    "BestTrial": "trial config f1_macro_val",
    "Leaderboard": "trials",
    "LeaderboardTrial": "trial state f1_macro_val epochs config",
    "Evaluation": "split n accuracy precision_macro recall_macro f1_macro ci95 per_class confusion",
    "ClassRow": "class precision recall f1 n",
    "Comparison": "methods",
    "MethodScores": "f1_macro_test accuracy_test",
    "Spread": "mean sd values",
    "SpaceSummary": "parameters samples",
    "SearchedParameter": "name kind range when",
    "Failure": "error",
}
"""Fields that scripts rely on since the first version: others may come, none of these may go."""


def test_no_field_of_the_contract_is_gone() -> None:
    objects = {k: v for command in OUTPUTS for k, v in schema_of(command)["$defs"].items()}
    for name, fields in CONTRACT.items():
        assert set(fields.split()) <= objects[name]["properties"].keys(), name


def test_no_command_lacks_a_schema_and_they_come_in_the_order_of_the_help() -> None:
    assert list(OUTPUTS) == REGISTERED


@pytest.mark.parametrize("command", REGISTERED)
def test_what_a_command_prints_is_held_against_its_schema_somewhere(command: str) -> None:
    if command not in {words.split()[0] for words in COMMANDS}:
        texts = (path.read_text() for path in TESTS.rglob("test_*.py"))
        assert any(f'printed("{command}"' in text for text in texts)


@pytest.mark.parametrize("command", REGISTERED)
def test_a_schema_is_one_and_refuses_what_is_something_else(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", command, "--json"]) == 0
    schema = printed("schema", capsys.readouterr().out)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"error": "no such file"})
    assert not validator.is_valid({}) or command == "schema"
    assert not validator.is_valid([])


@pytest.mark.parametrize("command", REGISTERED)
def test_every_field_is_always_there_and_says_what_it_is(command: str) -> None:
    for name, one in schema_of(command)["$defs"].items():
        if name == "TrialConfig":  # some of its fields an older version did not have
            continue
        assert one["required"] == list(one["properties"]), name
        assert one["description"] != Output.__doc__, name
        assert all(node.get("description") for node in one["properties"].values()), name


def test_the_nearest_command_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "leaderbord", "--json"]) == 2
    assert "did you mean 'leaderboard'?" in failed("schema", capsys.readouterr().out)


def test_what_is_no_number_is_null() -> None:
    content = {"a": [float("nan"), 1.0], "b": {"c": float("inf")}, "d": (-float("inf"), True)}
    assert json_text(content) == '{"a": [null, 1.0], "b": {"c": null}, "d": [null, true]}'


def test_a_taken_port_is_one_failure_before_the_server_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment.yaml").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["tensorboard", str(tmp_path), "--port", str(port), "--json"]) == 1
    assert "try another with --port" in failed("tensorboard", capsys.readouterr().out)


def test_outputs_are_parsed_strictly() -> None:
    assert parse_output("stop", '{"experiment": "a", "stopped": true}') == Stopped(
        experiment="a", stopped=True
    )
    for wrong in ('{"experiment": "a"}', '{"experiment": 1, "stopped": true}', "[]"):
        with pytest.raises(ValidationError):
            parse_output("stop", wrong)


def test_the_page_is_that_of_the_models() -> None:
    assert PAGE.read_text() == page(), "run: python docs/make_json_page.py"


def test_examples_are_what_is_printed_and_every_link_leads_somewhere() -> None:
    for path in EXAMPLES.glob("*.json"):
        if path.stem == "failure":
            failed("launch", path.read_text())
        else:
            printed(path.stem, path.read_text())
    text = page()
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert links and links <= anchors, links - anchors
