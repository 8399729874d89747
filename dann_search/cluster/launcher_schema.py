"""Ray's own validation of a launcher's file, without asking any cloud."""

import contextlib
import copy
import io
from typing import Any

from dann_search.cluster.file.finding import Notes
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, SourceFile


def ray_says(source: SourceFile) -> list[tuple[KeyPath, str]]:
    """What ``ray up`` would say to the file before it asks a cloud: at most one thing.

    Returns:
        The place and the message, or nothing where Ray accepts the file.
    """
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    printed = io.StringIO()
    try:
        # It prints to standard output, which belongs to the result, and says in an exception
        # what it prints to standard error besides.
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            validate_config(prepare_config(copy.deepcopy(source.content)))
    except jsonschema.ValidationError as exc:
        path = _in_file(tuple(exc.absolute_path), source.content)
        found = "" if isinstance(exc.instance, dict) else f", got {shown(exc.instance)}"
        message = exc.message if found == "" else _rule(exc)
        return [(path, f"Ray: {message}{found}")]
    # Of what is missing or of the wrong kind Ray's code speaks in all ways there are.
    except (Exception, SystemExit) as exc:
        lines = [line.strip() for line in printed.getvalue().splitlines() if line.strip()]
        said = "" if isinstance(exc, SystemExit) else str(exc)
        return [((), f"Ray: {said or (lines[-1] if lines else type(exc).__name__)}")]
    return []


def add_what_ray_says(notes: Notes) -> None:
    """Add Ray's complaint, unless it is about something that was found already."""
    errors = [finding for finding in notes.found if finding.severity == "error"]
    for path, message in ray_says(notes.source):
        key = ".".join(map(str, path))
        if not any(finding.key.startswith(key) for finding in errors):
            notes.error(path, message)


def _in_file(path: KeyPath, content: dict[str, Any]) -> KeyPath:
    """Where it stands in the file: Ray puts the common commands before those of a role."""
    common = content.get("setup_commands")
    if path[:1] not in (("head_setup_commands",), ("worker_setup_commands",)) or not common:
        return path
    index = path[1] if len(path) > 1 and isinstance(path[1], int) else 0
    if index < len(common):
        return ("setup_commands", index, *path[2:])
    return (path[0], index - len(common), *path[2:])


def _rule(exc: Any) -> str:
    """A rule of the schema in words."""
    rule = exc.validator_value
    return {
        "type": f"must be of type {rule}",
        "minimum": f"must be at least {rule}",
        "enum": f"must be one of {rule}",
    }.get(exc.validator, exc.message)
