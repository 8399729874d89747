"""The campaign names tests that there are."""

import ast
from pathlib import Path

from tests.faults.campaign import ROWS
from tests.faults.test_struck_processes import STRIKES

TESTS = Path(__file__).parents[1]


def test_every_fault_has_tests_that_there_are() -> None:
    for row in ROWS:
        assert row.tests
        for test in row.tests:
            file, _, name = test.partition("::")
            defined = {
                node.name
                for node in ast.parse((TESTS / file).read_text()).body
                if isinstance(node, ast.FunctionDef)
            }
            assert not name or name.partition("[")[0] in defined, test


def test_every_process_is_struck_in_the_campaign() -> None:
    struck = [test for row in ROWS for test in row.tests if "test_struck_processes" in test]
    assert {test.partition("[")[2].removesuffix("]") for test in struck} == set(STRIKES)
