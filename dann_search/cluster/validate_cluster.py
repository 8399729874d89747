"""Check a cluster launcher's file with Ray's validation and our own, alone or for a search."""

import contextlib
import copy
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dann_search.cluster.file.capacity import check_autoscaler, check_capacity, check_spot
from dann_search.cluster.file.launcher_file import LauncherFile
from dann_search.cluster.file.security import check_security
from dann_search.cluster.file.sharing import check_sharing
from dann_search.cluster.file.versions import check_versions
from dann_search.config.load import experiment_of, read_source
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, read_yaml
from dann_search.errors import InputError, nearest
from dann_search.models.registry import stage_counts
from dann_search.outputs.cluster import ClusterFile, Finding
from dann_search.search.ray_private import validate_launcher_file


def validate_cluster(
    cluster: Path, space: Path | None = None, storage: str | None = None, sets: Sequence[str] = ()
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
    source = read_source(space, sets=sets, storage=storage)
    experiment, _ = experiment_of(source, stage_counts(), check_files=False)
    return [
        *check_capacity(file, experiment.resources),
        *check_sharing(file, source, str(experiment.storage), experiment.data, origin),
    ]


def check_schema(file: LauncherFile) -> Finding | None:
    """Return the complaint that ``ray up`` would make before it asks a cloud, if any."""
    import jsonschema

    printed = io.StringIO()
    try:
        # Ray prints to standard output, which belongs to our result. What it prints to standard
        # error is in the exception as well.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            validate_launcher_file(copy.deepcopy(file.content))
    except jsonschema.ValidationError as exc:
        path, message = _in_our_words(exc)
        return file.error(_in_file(path, file.content), message)
    # Ray raises errors of all kinds for what is missing or of the wrong type.
    except (Exception, SystemExit) as exc:
        lines = [line.strip() for line in printed.getvalue().splitlines() if line.strip()]
        said = "" if isinstance(exc, SystemExit) else str(exc)
        return file.error((), f"Ray: {said or (lines[-1] if lines else type(exc).__name__)}")
    return None


def _in_our_words(exc: Any) -> tuple[KeyPath, str]:
    """Return the place and the message of a violation of Ray's schema."""
    path, rule = tuple(exc.absolute_path), exc.validator_value
    if exc.validator == "additionalProperties":
        valid = exc.schema["properties"]
        unknown = next(key for key in exc.instance if key not in valid)
        return (*path, unknown), f"unknown key {shown(unknown)}; {nearest(unknown, valid)}"
    rules = {"type": "of type", "minimum": "at least", "enum": "one of"}
    if exc.validator in rules:
        return path, f"must be {rules[exc.validator]} {rule}, got {shown(exc.instance)}"
    return path, f"Ray: {exc.message}"


def _in_file(path: KeyPath, content: dict[str, Any]) -> KeyPath:
    """Return the place in the file: Ray puts the common commands before those of a role."""
    common = content.get("setup_commands")
    if path[:1] not in (("head_setup_commands",), ("worker_setup_commands",)) or not common:
        return path
    index = path[1] if len(path) > 1 and isinstance(path[1], int) else 0
    if index < len(common):
        return ("setup_commands", index, *path[2:])
    return (path[0], index - len(common), *path[2:])
