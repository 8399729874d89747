"""Every broken cluster file gets its message, at its line, and no other error."""

from pathlib import Path

import pytest

from dann_search.cluster.validate_cluster import validate_cluster
from tests.cluster.file.broken import NOWHERE, Broken, line_of
from tests.cluster.file.broken_nodes import BROKEN_NODES
from tests.cluster.file.broken_start import BROKEN_START
from tests.experiments import space_file

BROKEN = [*BROKEN_NODES, *BROKEN_START]


@pytest.mark.parametrize("case", BROKEN, ids=[case.why for case in BROKEN])
def test_a_broken_file_gets_the_right_message_at_the_right_line(
    tmp_path: Path, case: Broken
) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(case.text())
    space = None
    if case.space is not None:
        space = space_file(tmp_path, **{"storage": "s3://bucket/runs", **case.space})
    found = validate_cluster(cluster, space)
    listing = "\n".join(map(str, found))
    right = [one for one in found if one.key == case.key]
    assert right, listing
    for part in case.message:
        assert part in right[0].message, listing
    assert right[0].severity == case.severity, listing
    if case.key.startswith(("storage", "data")):
        assert space is not None
        place = f"{space}:{line_of(case.at, space.read_text())}"
    else:
        place = f"{cluster}:{case.line()}" if case.at != NOWHERE else str(cluster)
    assert str(right[0]).startswith(f"{case.severity}: {place}: {case.key}: "), listing
    others = [one for one in found if one.message not in {r.message for r in right}]
    assert not [one for one in others if one.severity in ("error", case.severity)], listing
