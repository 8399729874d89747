"""Whatever stands anywhere in a cluster file, the checks end with findings."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dann_search.cluster.file.check import check_cluster
from dann_search.config.source import KeyPath, SourceFile, read_yaml
from tests.cluster.file.broken import AWS, GCP, ON_PREMISE

VALUES: list[Any] = [None, -1.5, "x", [], [3], {"a": 1}]


def paths(node: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Of everything in plain content."""
    if not isinstance(node, dict | list):
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        yield from paths(value, (*path, key))


@pytest.mark.parametrize("file", [AWS, GCP, ON_PREMISE], ids=["aws", "gcp", "on premise"])
def test_no_value_of_a_wrong_kind_stops_the_checks(file: Path) -> None:
    source = read_yaml(file)
    places = list(dict.fromkeys(paths(source.content)))
    assert len(places) > 20
    for path in places:
        for value in VALUES:
            content = copy.deepcopy(source.content)
            node: Any = content
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            assert isinstance(check_cluster(SourceFile(file.name, content)).in_order, list)
