"""One version of everything on every node."""

import re
from importlib.metadata import PackageNotFoundError, version

from dann_search.cluster.file.cluster_file import ClusterFile, Command, NodeType
from dann_search.cluster.file.finding import Notes
from dann_search.config.source import KeyPath

PIN = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]*)(?:\[[\w,\s-]*\])?==([\w.+!]+)")
WHEEL = re.compile(r"([A-Za-z]\w*)-(\d[\w.+!]*)-py3-none-any\.whl")
GIT = re.compile(r"git\+\w+://(?:[^@/\s]+@)?[^@\s\"'#]+(@[\w./-]+)?")
NEEDED = ("ray", "torch", "dann-search")
"""What must not differ between nodes, and is installed by name."""

Pins = dict[str, tuple[str, KeyPath]]


def check_versions(file: ClusterFile, notes: Notes) -> None:
    """Pins of the head against those of each worker type, images likewise."""
    head = _pins(file.head_setup, file.head_image)
    workers: list[NodeType | None] = [*file.workers] or [None]
    for node_type in workers:
        here = _pins(file.worker_setup(node_type), file.worker_image(node_type))
        name = node_type.name if node_type else "the workers"
        for package in sorted(head.keys() & here.keys()):
            (theirs, _), (mine, path) = head[package], here[package]
            if mine != theirs:
                notes.error(
                    path, f"{package}: the head has {theirs}, {name} {mine}; all nodes need one"
                )
    if file.provider in ("aws", "gcp") and "setup_commands" not in file.content:
        notes.error(("setup_commands",), "is missing: Ray's default installs a nightly Ray")
    _check_pinned(file, notes)
    _check_client(head, notes)


def _pins(setup: list[Command], image: tuple[KeyPath, str] | None) -> Pins:
    pins = _pins_of(setup)
    if image:
        path, name = image
        tag = name.partition("@")[0].rpartition(":")[2]
        if (ray := re.match(r"(\d+\.\d+\.\d+)\b", tag)) and "rayproject/" in name:
            pins.setdefault("ray", (ray[1], path))
            if python := re.search(r"-py3(\d+)", tag):
                pins["python"] = (f"3.{python[1]}", path)
    return pins


def _pins_of(commands: list[Command]) -> Pins:
    pins: Pins = {}
    for command in commands:
        for match in (*PIN.finditer(command.text), *WHEEL.finditer(command.text)):
            pins[match[1].lower().replace("_", "-")] = (match[2], command.path)
    return pins


def _check_pinned(file: ClusterFile, notes: Notes) -> None:
    for command in file.all_commands:
        if "pip install" not in command.text or re.search(r"\s(-c|--constraint)\b", command.text):
            continue
        pinned = _pins_of([command])
        for package in NEEDED:
            # A word of its own, with or without extras, and no version or a range behind it.
            bare = rf"(?<![\w./-]){package}(\[[\w,\s-]*\])?(?=[\s\"'<>~!]|$)(?!\s*@)"
            if package not in pinned and re.search(bare, command.text.partition("install")[2]):
                notes.warning(
                    command.path,
                    f"{package} has no exact version: a node that joins later may get another; "
                    f"write {package}=={_installed(package) or 'VERSION'}",
                )
        for link in GIT.finditer(command.text):
            if not link[1]:
                notes.warning(
                    command.path,
                    f"{link[0]} names no commit: a node that joins later may get another; write "
                    f"{link[0]}@COMMIT",
                )


def _check_client(head: Pins, notes: Notes) -> None:
    reasons = {
        "ray": "ray up writes what its own version reads",
        "dann-search": "build the wheel of this one, or the search is another's",
    }
    for package, why in reasons.items():
        here = _installed(package)
        if here and package in head and head[package][0] != here:
            notes.warning(
                head[package][1],
                f"the cluster gets {package} {head[package][0]} and this machine has {here}: {why}",
            )


def _installed(package: str) -> str | None:
    try:
        # Without a build's name: 2.13.0+cpu is not what nodes with GPUs install.
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None
