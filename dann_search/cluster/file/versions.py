"""Whether every node gets this project, and one version of it, Ray, torch and Python."""

import re
from collections.abc import Iterator

from dann_search.cluster.doctor.judge import public
from dann_search.cluster.doctor.probe import installed_versions
from dann_search.cluster.file.launcher_file import CLOUDS, Command, LauncherFile, NodeType
from dann_search.config.source import KeyPath
from dann_search.outputs.cluster import Finding

PIP = "pip install"
PIN = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]*)(?:\[[\w,\s-]*\])?==([\w.+!]+)")
WHEEL = re.compile(r"([A-Za-z]\w*)-(\d[\w.+!]*)-py3-none-any\.whl")
GIT = re.compile(r"git\+\w+://(?:[^@/\s]+@)?[^@\s\"'#]+(@[\w./-]+)?")
RAYS_IMAGE = re.compile(r"(?:^|/)rayproject/ray(?:-ml|-llm)?(?:[:@]|$)")
RAY, PYTHON = re.compile(r":(\d+\.\d+\.\d+)\b"), re.compile(r"-py3(\d+)")
"""Versions in a tag of Ray's images, such as 2.60.0-py311-gpu."""
FROM_A_FILE = re.compile(r"\s(-r|--requirement|-e|--editable)\b|\s[\"']?\.[^\s\d]*(\s|$)")
"""Of ``pip install``: what is installed is written in a file or folder not seen from here."""
NEEDED = ("ray", "torch", "dann-search")


def check_versions(file: LauncherFile) -> Iterator[Finding]:
    """Compare the versions of the head with those of each worker type and of this machine."""
    head = _pins(file.head)
    for one in file.nodes:
        if (image := _rays_image(one)) and not RAY.search(image.text):
            yield file.warning(
                image.path,
                f"must name a version, or a node that joins later gets another; got {image.text}",
            )
        for package, (mine, path) in _pins(one).items():
            theirs, _ = head.get(package, (mine, path))
            if mine != theirs:
                yield file.error(
                    path,
                    f"{package}: the head has {theirs}, {one.name} {mine}; all nodes need the same",
                )
    installed = installed_versions()
    for package in ("ray", "dann-search"):
        here, (there, path) = installed.get(package), head.get(package, (None, ()))
        if here and there and there != public(here):
            yield file.warning(
                path,
                f"installs {package} {there}, and this machine has {public(here)}: use one version",
            )
    for command in file.commands:
        if PIP in command.text and not re.search(r"\s(-c|--constraint)\b", command.text):
            yield from _check_pinned(file, command)
    if file.provider in CLOUDS and "setup_commands" not in file.content:
        yield file.error(("setup_commands",), "is missing: Ray's default installs a nightly Ray")
    yield from _check_project(file)


def _rays_image(node_type: NodeType) -> Command | None:
    image = node_type.image
    return image if image and RAYS_IMAGE.search(image.text) else None


def _pins(node_type: NodeType) -> dict[str, tuple[str, KeyPath]]:
    """Return the versions that a node gets, each with its place in the file."""
    pins = {name: (v, c.path) for c in node_type.setup for name, v in _versions(c).items()}
    if image := _rays_image(node_type):
        if ray := RAY.search(image.text):
            pins.setdefault("ray", (ray[1], image.path))
        if python := PYTHON.search(image.text):
            pins["python"] = (f"3.{python[1]}", image.path)
    return pins


def _versions(command: Command) -> dict[str, str]:
    matches = [*PIN.finditer(command.text), *WHEEL.finditer(command.text)]
    return {match[1].lower().replace("_", "-"): match[2] for match in matches}


def _check_pinned(file: LauncherFile, command: Command) -> Iterator[Finding]:
    pinned, words = _versions(command), command.text.partition("install")[2]
    for package in NEEDED:
        # The package as a word of its own, with or without extras, followed by a range or nothing.
        bare = rf"(?<![\w./-]){package}(\[[\w,\s-]*\])?(?=[\s\"'<>~!]|$)(?!\s*@)"
        if package not in pinned and re.search(bare, words):
            exact = public(installed_versions().get(package, "VERSION"))
            yield file.warning(
                command.path,
                f"{package} has no exact version, so a node that joins later may get another; "
                f"write {package}=={exact}",
            )
    for link in GIT.finditer(command.text):
        if not link[1]:
            yield file.warning(
                command.path,
                f"{link[0]} names no commit, so a node that joins later may get another version; "
                f"write {link[0]}@COMMIT",
            )


def _check_project(file: LauncherFile) -> Iterator[Finding]:
    lacking: dict[KeyPath, list[str]] = {}
    for one in file.nodes:
        installs = [command.text for command in one.setup if PIP in command.text]
        # The user's own image may hold anything, and so may a machine without pip commands.
        unknown = not _rays_image(one) if one.image else not installs
        unknown = unknown or any(FROM_A_FILE.search(text.partition(PIP)[2]) for text in installs)
        if not unknown and not any(re.search(r"dann[-_]search", text) for text in installs):
            lacking.setdefault(one.setup_keys[0], []).append(one.name)
    for path, names in lacking.items():
        yield file.error(
            path,
            f"nothing installs this project on {', '.join(names)}; add its wheel (pip wheel "
            "--no-deps --wheel-dir dist .) and bring it with file_mounts",
        )
