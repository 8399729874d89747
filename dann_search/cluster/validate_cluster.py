"""Check a cluster launcher's file with Ray's validation and our own, alone or for a search."""

from collections.abc import Sequence
from pathlib import Path

from dann_search.cluster.file.capacity import check_autoscaler, check_capacity, check_spot
from dann_search.cluster.file.launcher_file import LauncherFile
from dann_search.cluster.file.security import check_security
from dann_search.cluster.file.sharing import check_sharing
from dann_search.cluster.file.versions import check_versions
from dann_search.cluster.launcher_schema import check_schema
from dann_search.config.load import load_experiment, read_source
from dann_search.config.source import read_yaml
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from dann_search.outputs.cluster import ClusterFile, Finding


def validate_cluster(
    cluster: Path,
    space: Path | None = None,
    storage: str | None = None,
    sets: Sequence[str] = (),
) -> ClusterFile:
    """Find what is wrong with a launcher's file, errors first.

    Args:
        cluster: the file.
        space: experiment file of the search that the cluster is to carry.
        storage: where its experiments are to lie; by default where the space says.
        sets: overrides of the space such as ``"resources.workers_per_trial=2"``.

    Raises:
        InputError: one of the files cannot be read, or is of another kind.
    """
    source = read_yaml(cluster, keys=("cluster_name", "provider"))
    if "apiVersion" in source.content:
        kind = source.content.get("kind", "without a kind")
        raise InputError(
            f"{cluster}: a Kubernetes manifest ({kind}), not a file for ray up; "
            f"ask the cluster: kubectl apply --dry-run=server -f {cluster}"
        )
    file = LauncherFile(source)
    findings = [*check_file(file), *_check_search(file, space, storage, sets)]
    if complaint := check_schema(file):
        # Ray may complain about what was found already, in words of its own.
        errors = (one.key for one in findings if one.severity == "error")
        if not any(key.startswith(complaint.key) for key in errors):
            findings.append(complaint)
    rank = {"error": 0, "warning": 1}
    # Node types share commands and options, so a check may find the same thing for each of them.
    findings = list(dict.fromkeys(findings))
    findings.sort(key=lambda one: (rank[one.severity], one.file, one.line or 0))
    return ClusterFile(valid=all(one.severity == "warning" for one in findings), findings=findings)


def check_file(file: LauncherFile) -> list[Finding]:
    """Make the checks that need neither Ray nor a search."""
    checks = (check_spot, check_autoscaler, check_security, check_versions)
    return [finding for check in checks for finding in check(file)]


def _check_search(
    file: LauncherFile, space: Path | None, storage: str | None, sets: Sequence[str]
) -> list[Finding]:
    origin = f"--storage {storage}" if storage is not None else None
    if space is None:
        for option in [*([origin] if origin else []), *(f"--set {item}" for item in sets)]:
            raise InputError(f"{option}: is about a search; name its file with --space")
        return []
    experiment, _ = load_experiment(
        space, stage_counts(), sets=sets, storage=storage, check_files=False
    )
    source = read_source(space, sets=sets)
    return [
        *check_capacity(file, experiment.resources),
        *check_sharing(file, source, str(experiment.storage), origin),
    ]
