"""Whether this project is installed on the nodes, from a file that is there."""

import re
from pathlib import PurePosixPath

from dann_search.cluster.file.cluster_file import ClusterFile
from dann_search.cluster.file.finding import Notes
from dann_search.cluster.file.images import is_rays

PIP = "pip install"
WHEEL = re.compile(r"(?:~|\$HOME|\$\{HOME\})/([^\s\"'\[]+\.whl)")
"""In the home folder, where file_mounts puts things; elsewhere an image may have it."""

FROM_ELSEWHERE = re.compile(r"\s(-r|--requirement|-e|--editable)\b|\s[\"']?\.[^\s\d]*(\s|$)")
"""What is installed stands in a file or folder that is not seen from here."""


def check_installing(file: ClusterFile, notes: Notes) -> None:
    """The wheel of this project, or whatever else brings it."""
    _check_project(file, notes)
    _check_mounted(file, notes)


def _check_project(file: ClusterFile, notes: Notes) -> None:
    commands = [c.text for c in file.all_commands]
    installs = [text for text in commands if PIP in text]
    image = file.worker_image(next(iter(file.workers), None))
    # An image of the user's own may hold anything; a machine without pip commands likewise.
    made = not is_rays(image[1]) if image else not installs
    if made or any(FROM_ELSEWHERE.search(text.partition(PIP)[2]) for text in installs):
        return
    if not any(re.search(r"dann[-_]search", text) for text in installs):
        notes.error(
            ("setup_commands",),
            "nothing installs this project; add its wheel "
            "(pip wheel --no-deps --wheel-dir dist .), mounted with file_mounts",
        )


def _check_mounted(file: ClusterFile, notes: Notes) -> None:
    mounts = file.content.get("file_mounts")
    targets = [str(t) for t in mounts] if isinstance(mounts, dict) else []
    others = [c.text for c in file.all_commands if PIP not in c.text]
    for command in file.all_commands:
        for found in WHEEL.finditer(command.text) if PIP in command.text else ():
            wheel = PurePosixPath("~", found[1])
            mounted = any(wheel.is_relative_to(target.rstrip("/")) for target in targets)
            # Or a command fetches it, from a bucket for instance.
            if mounted or any(f"/{wheel.parent.name}" in text for text in others):
                continue
            notes.error(
                command.path,
                f"{wheel} is on no node: add '{wheel.parent}: FOLDER' to file_mounts, "
                f"FOLDER being where {wheel.name} lies here",
            )
