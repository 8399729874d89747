"""What counts as shared by all nodes."""

from pathlib import Path

import pytest

from dann_search.cluster.validate_cluster import validate_cluster
from tests.cluster.file.broken import AWS, ON_PREMISE
from tests.experiments import space_file

MOUNT = """
initialization_commands:
  - sudo mount -t nfs4 -o nfsvers=4.1,hard fs-1.efs.us-west-2.amazonaws.com:/ /mnt/efs
"""
BIND = '    - "-v /mnt/efs:/mnt/efs"\n'


def with_efs(folder: Path, *, bound: bool) -> Path:
    """The shipped file with a file system mounted on the hosts, and in the containers or not."""
    text = AWS.read_text() + MOUNT
    path = folder / "cluster.yaml"
    path.write_text(text.replace("  run_options:\n", "  run_options:\n" + BIND * bound))
    return path


@pytest.mark.parametrize(
    ("storage", "bound", "shared"),
    [
        ("/mnt/efs/runs", True, True),
        ("/mnt/efs/runs", False, False),
        ("/mnt/efs2/runs", True, False),
        ("/home/ray/runs", True, False),
    ],
)
def test_a_mount_of_the_host_is_shared_once_the_container_has_it(
    tmp_path: Path, storage: str, bound: bool, shared: bool
) -> None:
    found = validate_cluster(with_efs(tmp_path, bound=bound), space_file(tmp_path), storage)
    assert (found == []) is shared
    if not shared:
        (finding,) = found
        assert f"{storage} is on each node's own disk" in finding.message


def test_data_in_a_mount_or_brought_along_are_seen(tmp_path: Path) -> None:
    path = with_efs(tmp_path, bound=True)
    text = path.read_text().replace("  ~/dist: dist", "  ~/dist: dist\n  /data/target: target")
    path.write_text(text)
    space = space_file(
        tmp_path,
        data__source={"folder": "/mnt/efs/source"},
        data__target={"folder": "/data/target"},
    )
    assert validate_cluster(path, space, "s3://bucket/runs") == []


def test_what_own_machines_mount_by_themselves_is_a_warning(tmp_path: Path) -> None:
    (finding,) = validate_cluster(ON_PREMISE, space_file(tmp_path), "/elsewhere/runs")
    assert finding.severity == "warning"
    assert validate_cluster(ON_PREMISE, space_file(tmp_path), "/shared/runs") == []
