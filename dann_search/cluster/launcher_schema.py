"""Ray's own validation of a launcher's file, without asking any cloud."""

import contextlib
import copy
import io
from typing import Any

from dann_search.cluster.file.launcher_file import LauncherFile
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath
from dann_search.errors import nearest
from dann_search.outputs.cluster import Finding
from dann_search.search.ray_private import validate_launcher_file


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
